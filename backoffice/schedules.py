"""What beat asks for, how often, and which queue each task travels in.

What always holds here: beat ticks in wall time and only asks what is due; the tasks look at each account's own clock.
A tick that waited longer than its own period is dropped, so that ticks never pile up behind a busy worker.
"""

from __future__ import annotations

from typing import Any

QUEUES = ("orders", "signals", "reconciliation", "slow")
ROUTES = {f"{queue}.*": {"queue": queue} for queue in QUEUES}


def every(task: str, seconds: float, queue: str) -> dict[str, Any]:
    """One entry of the schedule."""
    return {"task": task, "schedule": seconds, "options": {"queue": queue, "expire_seconds": int(seconds)}}


SCHEDULE = {
    "bars and exits": every("signals.tick", 2.0, "signals"),
    "orders to send and to watch": every("orders.watch", 2.0, "orders"),
    "reconciliations that are due": every("reconciliation.tick", 5.0, "reconciliation"),
    "reconciliations that nobody runs": every("slow.overdue", 15.0, "slow"),
    "alerts to people": every("slow.alerts", 15.0, "slow"),
    "digests of days that are over": every("slow.digest", 30.0, "slow"),
    "payments that are due": every("slow.settle", 30.0, "slow"),
    "anchors of the books": every("slow.anchor", 60.0, "slow"),
    "ticks and freeze quantities of the day": every("slow.instruments", 600.0, "slow"),
    "balances of the night": every("slow.snapshot", 600.0, "slow"),
}


def task_queues() -> list[Any]:
    """The queues for Celery; a task for any other is an error, not a new queue that nobody reads."""
    from kombu.entity import Queue

    return [Queue(name, routing_key=name) for name in QUEUES]  # type: ignore[no-untyped-call]
