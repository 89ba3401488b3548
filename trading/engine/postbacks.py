"""What a broker posts to us: heard, checked, and taken for news that wake the reading of the history.

What always holds: nothing of a postback is booked or stored; who cannot prove to be the broker changes nothing but one
message to people a day; a broker that repeats itself, or somebody who repeats it, makes nothing be read twice.
"""

from __future__ import annotations

from trading.brokers import kite_postback
from trading.brokers.errors import BadData
from trading.brokers.registry import BadConnection, MissingCredentials
from trading.clock import wall_now
from trading.domain.broker import BrokerUnreachable
from trading.models import Account, BrokerEvent
from trading.services.inbox import Received
from trading.services.notifications import note
from trading.wake import wake

from .connections import connected, connection_for
from .inflow import catch_up

MOST_BYTES = kite_postback.MOST_BYTES
READ_TASK, WATCH_TASK, RECONCILE_TASK = "orders.read", "orders.watch", "reconciliation.tick"


class NotTheBroker(Exception):
    """A postback that is not believed; the text says why."""


def heard(*, account_name: str, body: bytes) -> None:
    """Take a postback for an account at Kite. Raises `NotTheBroker` for one that is not Kite's about this account."""
    account = Account.objects.filter(name=account_name, broker=Account.Broker.KITE, is_active=True).first()
    if account is None:
        raise NotTheBroker("no active account at Kite has that name")
    try:
        told = kite_postback.read(body, connection_for(account).credentials.get("secret", ""))
        if told.user_id != account.external_id:
            raise BadData(f"it is about user {told.user_id!r:.40}")
    except (BadData, MissingCredentials, BadConnection, BrokerUnreachable) as error:
        _tell(account, str(error))
        raise NotTheBroker(str(error)) from error
    if not BrokerEvent.objects.filter(account=account, external_id=told.event_id).exists():
        wake(READ_TASK, account.pk)


def read_on(account_id: int) -> Received:
    """Read the account's history from its cursor, and wake those who act on what has happened.

    Raises BrokerUnreachable or MissingCredentials when it cannot be read now; the sweeps read it later.
    """
    account = Account.objects.get(pk=account_id)
    with connected(account) as broker:
        received = catch_up(account=account, broker=broker)
    if received.stored:
        wake(WATCH_TASK)
    if received.posted_fills:
        wake(RECONCILE_TASK)
    return received


def _tell(account: Account, why: str) -> None:
    note(
        key=f"postback-refused:{account.pk}:{wall_now():%Y%m%d}",
        level="WARNING",
        text=(
            f"{account.name}: a postback was not believed: {why[:300]}. Nothing is lost by that, news are also read "
            "without postbacks. If Kite sends them, put the secret of the application into KITE_API_SECRET; else "
            "somebody else knows the address, and the audit trail has where it came from (access.denied)."
        ),
    )
