"""The Celery workers of the crash matrix: the desk's own application, with failpoints that come with a message.

What always holds here: a message without the header strikes nothing; a point strikes once, so that a message that
Celery delivers again passes; whoever is struck has left its process id, and whoever came through it leaves a mark.
"""

from __future__ import annotations

import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.signals import task_postrun, task_prerun

from backoffice.celery import app
from trading.failpoints import failpoint

__all__ = ["app"]

# A process stands still from its strike until all others of its batch are struck, however slow the machine is: Celery
# must not kill it before it is woken.
app.conf.task_soft_time_limit, app.conf.task_time_limit = 600, 660


@task_prerun.connect  # type: ignore[untyped-decorator]
def arm(task: Any, **_more: Any) -> None:
    """Switch the message's failpoint on."""
    wanted, once = _failpoint_of(task)
    os.environ["FAILPOINTS"] = wanted
    os.environ["FAILPOINT_ONCE"] = once
    if once and not Path(once).exists():
        Path(f"{once}.pid").write_text(str(os.getpid()))


@task_postrun.connect  # type: ignore[untyped-decorator]
def disarm(task: Any, **_more: Any) -> None:
    """Switch it off again, and say that the work has ended."""
    once = _failpoint_of(task)[1]
    os.environ.pop("FAILPOINTS", None)
    os.environ.pop("FAILPOINT_ONCE", None)
    if once:
        Path(f"{once}.ended").touch()


def _failpoint_of(task: Any) -> tuple[str, str]:
    headers = task.request.headers or {}
    return str(headers.get("failpoint") or ""), str(headers.get("once") or "")


@shared_task(name="matrix.decide")  # type: ignore[untyped-decorator]
def decide(account_id: int, place_name: str, now: str, type: str, entry: str) -> int:
    """Decide as the portfolio loop does."""
    from tests.faults.places import BY_NAME
    from tests.faults.world import decide_entry
    from trading.domain.broker import OrderType
    from trading.domain.session import load_session
    from trading.models import Account

    place = BY_NAME[place_name]
    decision = decide_entry(
        account=Account.objects.get(pk=account_id),
        place=place,
        session=load_session(place.profile),
        now=datetime.fromisoformat(now),
        type=OrderType(type),
        entry=Decimal(entry),
    )
    return int(decision.pk)


@shared_task(name="matrix.leave")  # type: ignore[untyped-decorator]
def leave(entry_id: int, at: str) -> int:
    """Plan the exit of what an entry holds, as the portfolio loop does."""
    from tests.faults.matrix.work import plan_leaving

    return int(plan_leaving(entry_id, datetime.fromisoformat(at)).pk)


@shared_task(name="matrix.cancel")  # type: ignore[untyped-decorator]
def cancel(order_id: int) -> str:
    """Cancel as the mirror does."""
    from trading.engine.canceller import cancel_order

    state = str(cancel_order(order_id=order_id, reason="the matrix").state)
    failpoint("before_ack")
    return state
