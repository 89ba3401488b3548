"""Open the adapter of an account: from the environment first, else from what the desk knows.

What always holds: credentials in the environment win; a real account never gets the simulator's credentials, and an
account is never asked through credentials that name another one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TypeVar

from trading.brokers.registry import (
    SIMULATOR,
    SIMULATOR_ALPACA_KEY,
    SIMULATOR_ALPACA_SECRET,
    SIMULATOR_KITE_KEY,
    SIMULATOR_KITE_SECRET,
    SIMULATOR_KITE_TOKEN,
    SIMULATOR_OANDA_TOKEN,
    Connection,
    MissingCredentials,
    credentials_from_environment,
    kite_product,
    open_broker,
)
from trading.domain.broker import Broker, BrokerUnreachable, OrderPort
from trading.models import Account

Port = TypeVar("Port", bound=OrderPort)

# The keys of the accounts that the simulator has by itself.
SIMULATED = {
    "oanda": {"token": SIMULATOR_OANDA_TOKEN},
    "alpaca": {"key": SIMULATOR_ALPACA_KEY, "secret": SIMULATOR_ALPACA_SECRET},
    "kite": {"key": SIMULATOR_KITE_KEY, "access_token": SIMULATOR_KITE_TOKEN, "secret": SIMULATOR_KITE_SECRET},
}


def connection_for(account: Account, environ: Mapping[str, str] | None = None) -> Connection:
    """Where and as whom to reach the account's broker.

    Raises MissingCredentials, or BrokerUnreachable when the environment names another account than this.
    """
    env = os.environ if environ is None else environ
    broker = account.broker.lower()
    found = credentials_from_environment(broker, env)
    if found is not None and not found.account_id and found.environment.upper() == account.environment:
        found = replace(found, account_id=account.external_id)  # the adapter checks that the key is this account's
    simulated = account.environment == Account.Environment.SIMULATOR
    if found is not None and found.account_id == account.external_id and (found.environment == SIMULATOR) == simulated:
        return found
    if simulated:
        if not account.endpoint:
            raise BrokerUnreachable(
                f"{account.name}: no simulator is known for it. Start the desk, or set SIMULATOR_URL."
            )
        product = kite_product(env) if broker == "kite" else ""
        return Connection(broker, SIMULATOR, account.endpoint, account.external_id, SIMULATED[broker], product)
    if found is None:
        raise MissingCredentials(broker)
    named = f"account {found.account_id}" if found.account_id else f"an account that is {found.environment}"
    raise BrokerUnreachable(
        f"The environment names {named}, not {account.external_id} ({account.name}); nothing was asked of either. Set "
        "the credentials of this account, or deactivate it."
    )


def broker_for(account: Account, environ: Mapping[str, str] | None = None) -> Broker:
    """An open adapter for the account. The caller closes it."""
    return open_broker(connection_for(account, environ))


@contextmanager
def connected(account: Account, broker: Port | None = None) -> Iterator[Port | Broker]:
    """The caller's adapter, left open; or one of our own, closed in the end. Raises as `connection_for` does."""
    if broker is not None:
        yield broker
        return
    with closing(broker_for(account)) as own:
        yield own
