"""The watcher: one round over everything that is unfinished at the brokers.

What always holds: it only moves forward what the facts allow, so running it twice at once, or never being woken,
costs time and nothing else; the trouble of one order or account never keeps the others waiting: an error is logged
and the round goes on, and a broker that does not answer is asked once a round.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from celery.exceptions import SoftTimeLimitExceeded

from trading.brokers.registry import MissingCredentials
from trading.domain.broker import BrokerNeedsLogin, BrokerUnreachable
from trading.domain.orders import OrderState
from trading.failpoints import failpoint
from trading.models import Account, Order
from trading.selectors.orders import has_unfinished_orders
from trading.services import leases, logins

from .answers import LOGIN_WAIT
from .canceller import cancel_order, half_cancelled, overdue_entries
from .chaser import chase
from .connections import connected
from .inflow import catch_up, holder
from .oco import look_after
from .protection import mind
from .resolver import expire_lease, needing_work, resolve_unknown
from .sender import send_order

log = logging.getLogger(__name__)


def watch_once() -> dict[str, int]:
    """Send what is unsent, resolve what is unknown, fetch events of accounts with unfinished orders.

    Returns how many of each it touched.
    """
    done = {"sent": 0, "expired": 0, "resolved": 0, "cancelled": 0, "polled": 0}
    silent = _locked_out()
    for order in needing_work():
        kind, work = _work_on(order)
        if kind == "expired" or order.account_id not in silent:
            done[kind] += _do(f"order {order.client_order_id}", work, order.account_id, silent)
    for order in (*half_cancelled(), *overdue_entries()):
        if order.account_id not in silent:
            work = partial(_cancel, order)
            done["cancelled"] += _do(f"cancel of {order.client_order_id}", work, order.account_id, silent)
    for account in Account.objects.filter(is_active=True).exclude(broker=Account.Broker.PAPER):
        if account.pk not in silent and has_unfinished_orders(account):
            done["polled"] += _do(f"events of {account.name}", _poll(account), account.pk, silent)
        if account.pk not in silent:
            _do(f"groups of {account.name}", partial(look_after, account), account.pk, silent)
            _do(f"chase of {account.name}", partial(chase, account), account.pk, silent)
        _do(f"protection of {account.name}", partial(mind, account), account.pk, silent)
    return done


def _locked_out() -> set[int]:
    """The accounts that wait for a login; each is asked once in a while whether its broker lets us in again.

    No more than that: brokers shut out who goes on knocking with a key that they have refused.
    """
    silent: set[int] = set()
    for account in logins.waiting():
        knock = leases.acquire(key=f"login:{account.pk}", holder=holder(), seconds=int(LOGIN_WAIT.total_seconds()))
        if knock is None or not _do(f"login of {account.name}", _poll(account), account.pk, silent):
            silent.add(account.pk)
        else:
            logins.let_in(account)
    return silent


def _work_on(order: Order) -> tuple[str, Callable[[], object]]:
    """What an order needs, by the name it is counted under."""
    if order.state == OrderState.PLANNED:
        return "sent", partial(_send, order)
    if order.state == OrderState.SENDING:
        return "expired", lambda: expire_lease(order_id=order.pk)
    return "resolved", lambda: resolve_unknown(order_id=order.pk)


def _send(order: Order) -> None:
    """Send it and cover what filled at once: the round may end before it comes to the account's groups."""
    with connected(order.account) as broker:
        if send_order(order_id=order.pk, broker=broker).attempt > order.attempt:
            look_after(order.account, broker)


def _cancel(order: Order) -> None:
    """Ask again for a cancel that is under way; end an order whose time is over, where the broker does not."""
    with connected(order.account) as broker:
        if order.state == OrderState.CANCELLING or not broker.capabilities.good_till:
            cancel_order(order_id=order.pk, reason="its time is over", broker=broker)


def _poll(account: Account) -> Callable[[], object]:
    def poll() -> None:
        with connected(account) as broker:
            catch_up(account=account, broker=broker)

    return poll


def _do(what: str, work: Callable[[], object], account_id: int, silent: set[int]) -> bool:
    """Do a piece of work; False when it failed. An account whose broker cannot be asked becomes silent."""
    try:
        failpoint("swept")
        work()
    except SoftTimeLimitExceeded:
        raise  # the round has taken too long: the next one goes on
    except (BrokerUnreachable, MissingCredentials) as error:
        log.warning("%s: %s", what, error)
        silent.add(account_id)
        if isinstance(error, BrokerNeedsLogin):
            logins.turned_away(Account.objects.get(pk=account_id), error)
        return False
    except Exception:
        log.exception("%s: the work on it failed; its state stands, and the next round tries again", what)
        return False
    return True
