"""Which accounts a reconciliation from the command line is about.

What always holds: without a name these are all active accounts at brokers of the desk's own world, and the account
that the environment names; an account of a replay's world only by name or when the environment points at its broker.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciliation.engine.due import reconcilable
from trading.brokers.registry import Connection, MissingCredentials, credentials_from_environment
from trading.engine.live_accounts import account_from_connection
from trading.models import Account


class UnknownAccount(LookupError):
    """No account of that name can be reconciled."""


def named(name: str) -> Account:
    """The active account of that name. Raises UnknownAccount."""
    accounts = Account.objects.filter(is_active=True).exclude(broker=Account.Broker.PAPER)
    found = accounts.filter(name=name).first()
    if found is None:
        known = ", ".join(accounts.order_by("name").values_list("name", flat=True)) or "none yet"
        raise UnknownAccount(f"There is no active account {name!r} at a broker. Known are: {known}.")
    return found


def to_reconcile(environ: Mapping[str, str]) -> list[Account]:
    """Every account to reconcile now.

    Raises MissingCredentials when there is none and the environment names none; BrokerUnreachable or BadConnection
    when the one that it names cannot be identified.
    """
    accounts = reconcilable()
    connection = credentials_from_environment("oanda", environ)
    if connection is None:
        if not accounts:
            raise MissingCredentials("oanda")
        return accounts
    meant = _of(connection)
    if meant is None:
        meant = account_from_connection(connection)
    others = [account for account in accounts if account.external_id != meant.external_id]
    return [*others, meant]


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
