"""A live engine on the account that the environment names."""

from __future__ import annotations

from trading.brokers.registry import SIMULATOR, Connection, open_broker
from trading.domain.broker import AccountIdentity
from trading.domain.session import SessionConfig
from trading.models import Account
from trading.services.setup import ensure_account

from .accounts import session_account
from .live import LiveSetup


def account_from_connection(connection: Connection, *, mirror_of: Account | None = None) -> Account:
    """The row of the account that a connection reaches, made on first use. Raises BrokerUnreachable."""
    return _row(connection, _identity(connection), mirror_of, like=mirror_of)


def setup_from_environment(session: SessionConfig, connection: Connection, *, mirrored: bool) -> LiveSetup:
    """A paper account beside the broker's account, fed by its candles; mirrored to it if asked.

    Raises BrokerUnreachable, and then neither account was made.
    """
    identity = _identity(connection)
    paper = session_account(session, name=f"paper-{identity.account_id}")
    feed = _row(connection, identity, paper if mirrored else None, like=paper)
    return LiveSetup(session=session, account=paper, feed_account=feed, mirrored=mirrored)


def _identity(connection: Connection) -> AccountIdentity:
    broker = open_broker(connection)
    try:
        return broker.identity()
    finally:
        broker.close()


def _row(
    connection: Connection, identity: AccountIdentity, mirror_of: Account | None, *, like: Account | None
) -> Account:
    """The account's row; a new one keeps the days and the policy of the account that it is like."""
    environments = {
        SIMULATOR: Account.Environment.SIMULATOR,
        "practice": Account.Environment.PRACTICE,
        "live": Account.Environment.LIVE,
    }
    return ensure_account(
        name=f"{connection.broker}-{identity.account_id}",
        broker=connection.broker.upper(),
        environment=environments[connection.environment],
        external_id=identity.account_id,
        currency=identity.currency,
        endpoint=connection.url,
        mirror_of=mirror_of,
        time_zone=like.time_zone if like is not None else "UTC",
        policy=like.policy if like is not None else None,
    )
