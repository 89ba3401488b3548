"""Celery's doors into trading: parse, one engine verb, report. Rows are the work list; these only look at it."""

from __future__ import annotations

import logging

from celery import shared_task

from trading.brokers.registry import BadConnection, MissingCredentials
from trading.domain.broker import BrokerUnreachable
from trading.engine.desk import live_setups
from trading.engine.live import evaluate_due
from trading.engine.sender import send_order
from trading.engine.settling import settle_all
from trading.engine.watcher import watch_once
from trading.failpoints import failpoint
from trading.services import heartbeats, snapshots

log = logging.getLogger(__name__)


@shared_task(name="signals.tick")  # type: ignore[untyped-decorator]
def tick() -> int:
    """Ask every live account whether bars have closed, and act on them."""
    heartbeats.beat("signals")
    done = 0
    for setup in live_setups():
        try:
            done += evaluate_due(setup)
        except (BrokerUnreachable, MissingCredentials, BadConnection) as error:
            log.warning("%s: no bars: %s", setup.account.name, error)
    return done


@shared_task(name="orders.send")  # type: ignore[untyped-decorator]
def send(order_id: int) -> str:
    """Send one planned order; what happened is on the order."""
    state = str(send_order(order_id=order_id).state)
    failpoint("before_ack")
    return state


@shared_task(name="orders.watch")  # type: ignore[untyped-decorator]
def watch() -> dict[str, int]:
    """One round over everything unfinished at the brokers."""
    heartbeats.beat("orders")
    return watch_once()


@shared_task(name="slow.settle")  # type: ignore[untyped-decorator]
def settle() -> int:
    """Settle what is due, on each account's own clock; returns how many fills."""
    return settle_all()


@shared_task(name="slow.snapshot")  # type: ignore[untyped-decorator]
def snapshot() -> int:
    """Once a day, keep what every ledger account has come to; returns how many."""
    return snapshots.take_nightly()
