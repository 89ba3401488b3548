"""Say in one sentence that the simulator of an account is not running, instead of how its port refused.

What always holds: only simulators are asked, by opening a connection and nothing more; a real broker's own reason is
never replaced.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from trading.brokers.registry import (
    SIMULATOR,
    BadConnection,
    Connection,
    MissingCredentials,
    credentials_from_environment,
)
from trading.domain.broker import BrokerUnreachable
from trading.engine.connections import connection_for
from trading.models import Account

NOT_RUNNING = (
    "The simulator of this desk is not running, so nothing could be compared; books and positions stay as they are. "
    "Start it with make run."
)
NO_BARS = "The simulator of this desk is not running. Start it with make run; the engine goes on when it answers."
BROKERS = ("oanda", "alpaca", "kite")
SECONDS = 1.0


def is_stopped(connection: Connection) -> bool:
    """Whether the connection is to a simulator at whose address nobody listens."""
    if connection.environment != SIMULATOR:
        return False
    parts = urlsplit(connection.url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=SECONDS).close()
    except OSError:
        return True
    return False


def named_simulator_is_stopped(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a simulator (SIMULATOR_URL) that is not running."""
    try:
        named = [credentials_from_environment(broker, environ) for broker in BROKERS]
    except BadConnection:
        return False
    return any(found is not None and is_stopped(found) for found in named)


def simulator_is_stopped(account: Account) -> bool:
    """Whether the account is at a simulator that is not running."""
    if account.environment != Account.Environment.SIMULATOR:
        return False
    try:
        return is_stopped(connection_for(account))
    except (BrokerUnreachable, MissingCredentials, BadConnection):
        return False
