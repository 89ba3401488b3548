"""The watcher: one round over everything that is unfinished at the brokers.

What always holds: it only moves forward what the facts allow, so running it twice at once, or never being woken,
costs time and nothing else. Each piece of work is counted in PostgreSQL before it begins; past the limit it is dead
and a person must look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from trading.brokers.registry import MissingCredentials
from trading.domain.broker import BrokerUnreachable
from trading.domain.orders import OrderState
from trading.models import Account, Order
from trading.selectors.orders import has_unfinished_orders
from trading.services import attempts

from .connections import broker_for
from .inflow import catch_up
from .resolver import expire_lease, needing_work, resolve_unknown
from .sender import send_order

log = logging.getLogger(__name__)


def watch_once() -> dict[str, int]:
    """Send what is unsent, resolve what is unknown, fetch events of accounts with unfinished orders.

    Returns how many of each it touched. An unreachable broker stops nothing for the others.
    """
    done = {"sent": 0, "expired": 0, "resolved": 0, "polled": 0}
    for order in needing_work():
        if order.state == OrderState.PLANNED:
            done["sent"] += _work(f"orders.send:{order.pk}:{order.attempt}", _send(order))
        elif order.state == OrderState.SENDING:
            done["expired"] += expire_lease(order_id=order.pk)
        else:
            done["resolved"] += _work("", _resolve(order))
    for account in Account.objects.filter(is_active=True).exclude(broker=Account.Broker.PAPER):
        if has_unfinished_orders(account):
            done["polled"] += _work("", _poll(account))
    return done


def _send(order: Order) -> Callable[[], object]:
    return lambda: send_order(order_id=order.pk)


def _resolve(order: Order) -> Callable[[], object]:
    return lambda: resolve_unknown(order_id=order.pk)


def _poll(account: Account) -> Callable[[], object]:
    def poll() -> None:
        broker = broker_for(account)
        try:
            catch_up(account=account, broker=broker)
        finally:
            broker.close()

    return poll


def _work(key: str, work: Callable[[], object]) -> bool:
    """Do a piece of work; with a key it is counted first and left alone once dead."""
    if key and not attempts.begin(key=key):
        return False
    try:
        work()
    except (BrokerUnreachable, MissingCredentials) as error:
        log.warning("%s: %s", key or "watch", error)
        if key:
            attempts.end(key=key)  # the broker's absence is not the work's fault
        return False
    if key:
        attempts.end(key=key)
    return True
