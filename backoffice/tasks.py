"""Celery's doors into what needs both apps: parse, one verb, report. Rows are the work list; these only look at it."""

from __future__ import annotations

import logging
import os
from datetime import date

from celery import shared_task

from backoffice.alerts.deliver import deliver
from backoffice.digest.due import due_days
from backoffice.digest.making import make_daily, make_intraday
from backoffice.proof.anchoring import anchor_now
from trading.engine.anchors import AnchorRefused
from trading.services import heartbeats
from trading.services.anchors import record_contradiction
from trading.services.audit import Actor

ACTOR = Actor.system("digest", via="task")
log = logging.getLogger(__name__)


@shared_task(name="slow.digest")  # type: ignore[untyped-decorator]
def digest(day: str = "", account: str = "") -> dict[str, dict[str, str]]:
    """Make the digests that are due, or that of one day; what each channel's message came to, by day."""
    heartbeats.beat("slow")
    days = [date.fromisoformat(day)] if day else due_days()
    return {
        wanted.isoformat(): make_daily(account=account, day=wanted, by_hand=False, actor=ACTOR).sent for wanted in days
    }


@shared_task(name="slow.digest_now")  # type: ignore[untyped-decorator]
def digest_now(hours: int = 6, account: str = "") -> dict[str, str]:
    """Make the digest of the last hours; what each channel's message came to."""
    heartbeats.beat("slow")
    return make_intraday(hours=hours, account=account, by_hand=False, actor=ACTOR).sent


@shared_task(name="slow.alerts")  # type: ignore[untyped-decorator]
def alerts() -> dict[str, int]:
    """Give every channel what people must know; how many messages left, by channel."""
    heartbeats.beat("slow")
    return deliver(os.environ)


@shared_task(name="slow.anchor")  # type: ignore[untyped-decorator]
def anchor() -> int:
    """Write the chain's head down outside the database if it has moved; the number of the block, 0 for none."""
    heartbeats.beat("slow")
    actor = Actor.system("anchor", via="task")
    try:
        line = anchor_now(actor)
    except AnchorRefused as error:
        if record_contradiction(reason=str(error), actor=actor) is not None:
            log.critical("%s", error)
        return 0
    except OSError as error:
        log.error("The anchors cannot be written (%s); the next minute tries again.", error)
        return 0
    return line.number if line is not None else 0
