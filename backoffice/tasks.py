"""Celery's doors into what needs both apps: parse, one verb, report. Rows are the work list; these only look at it."""

from __future__ import annotations

from datetime import date

from celery import shared_task

from backoffice.digest.due import due_days
from backoffice.digest.making import make_daily, make_intraday
from trading.services import heartbeats
from trading.services.audit import Actor

ACTOR = Actor.system("digest", via="task")


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
