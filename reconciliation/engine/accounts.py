"""Which accounts a reconciliation from the command line is about.

What always holds: without a name these are all active accounts at brokers of the desk's own world, and the accounts
that the environment names; an account of a replay's world only by name or when the environment points at its broker.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciliation.engine.due import reconcilable
from trading.brokers.registry import Connection, MissingCredentials, credentials_from_environment
from trading.engine.live_accounts import account_from_connection
from trading.models import Account

BROKERS = ("oanda", "alpaca", "kite")
KEYS = {"oanda": "OANDA_API_KEY", "alpaca": "ALPACA_API_KEY", "kite": "KITE_API_KEY"}


class UnknownAccount(LookupError):
    """No account of that name can be reconciled."""


def named(name: str) -> Account:
    """The active account of that name. Raises UnknownAccount."""
    accounts = Account.objects.filter(is_active=True).exclude(broker=Account.Broker.PAPER)
    found = accounts.filter(name=name).first()
    if found is None:
        known = ", ".join(accounts.order_by("name").values_list("name", flat=True)) or "none yet"
        raise UnknownAccount(
            f"There is no active account {name!r} at a broker. Known are: {known}. Nothing was compared."
        )
    return found


def to_reconcile(environ: Mapping[str, str]) -> list[Account]:
    """Every account to reconcile now.

    Raises MissingCredentials when there is none and the environment names none; BrokerUnreachable or BadConnection
    when the one that it names cannot be identified.
    """
    accounts = reconcilable()
    given = [found for found in (credentials_from_environment(name, environ) for name in BROKERS) if found is not None]
    if not given and not accounts:
        raise MissingCredentials(BROKERS[0])
    for connection in given:
        meant = _of(connection)
        if meant is None and connection.broker != BROKERS[0] and not environ.get(KEYS[connection.broker]):
            continue  # a simulator speaks every protocol; nobody asked for an account at this one
        if meant is None:
            meant = account_from_connection(connection)
        same = (meant.broker, meant.external_id)
        accounts = [*(row for row in accounts if (row.broker, row.external_id) != same), meant]
    return accounts


def _of(connection: Connection) -> Account | None:
    """The row that the environment means: same broker and account, at that address if several worlds have one."""
    rows = Account.objects.filter(
        is_active=True,
        broker=connection.broker.upper(),
        environment=connection.environment.upper(),
        external_id=connection.account_id,
    )
    there = rows.filter(endpoint=connection.url).order_by("-id").first()
    return there or rows.filter(scope="").first()
