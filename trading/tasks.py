"""Celery's doors into trading: parse, one engine verb, report. Rows are the work list; these only look at it."""

from __future__ import annotations

import logging

from celery import shared_task

from trading.brokers.registry import BadConnection, MissingCredentials
from trading.domain.broker import BrokerUnreachable
from trading.domain.orders import OrderState
from trading.engine.desk import live_setups
from trading.engine.instruments import read_all
from trading.engine.live import evaluate_due
from trading.engine.oco import send_and_cover
from trading.engine.postbacks import read_on
from trading.engine.settling import settle_all
from trading.engine.watcher import watch_once
from trading.failpoints import failpoint
from trading.models import Order
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
    """Send a planned order, with it what else of its account may leave, and cover what fills: the orders say how."""
    order = Order.objects.get(pk=order_id)
    if order.state == OrderState.PLANNED:
        send_and_cover(account_id=order.account_id)
        order.refresh_from_db(fields=["state"])
    failpoint("before_ack")
    return str(order.state)


@shared_task(name="orders.watch")  # type: ignore[untyped-decorator]
def watch() -> dict[str, int]:
    """One round over everything unfinished at the brokers."""
    heartbeats.beat("orders")
    return watch_once()


@shared_task(name="orders.read")  # type: ignore[untyped-decorator]
def read(account_id: int) -> int:
    """Read one account's history, because its broker says that something has happened; returns what was new."""
    try:
        return read_on(account_id).stored
    except (BrokerUnreachable, MissingCredentials, BadConnection) as error:
        log.warning("account %s: its history is read later: %s", account_id, error)
        return 0


@shared_task(name="slow.settle")  # type: ignore[untyped-decorator]
def settle() -> int:
    """Settle what is due, on each account's own clock; returns how many fills."""
    return settle_all()


@shared_task(name="slow.instruments")  # type: ignore[untyped-decorator]
def instruments() -> int:
    """Once in each account's trading day, read what its broker says of our instruments; returns how many were read."""
    return read_all()


@shared_task(name="slow.snapshot")  # type: ignore[untyped-decorator]
def snapshot() -> int:
    """Once a day, keep what every ledger account has come to; returns how many."""
    return snapshots.take_nightly()
