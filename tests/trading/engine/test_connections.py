"""Which credentials an account is reached with: its own, the environment's first, never another account's."""

from __future__ import annotations

import pytest

from trading.brokers.registry import MissingCredentials
from trading.domain.broker import BrokerUnreachable
from trading.engine.connections import connection_for
from trading.models import Account

KEYS = {"ALPACA_API_KEY": "the-key", "ALPACA_SECRET_KEY": "the-secret"}


def account(broker: str, environment: str, external_id: str) -> Account:
    return Account(
        name="A", broker=broker, environment=environment, external_id=external_id, endpoint="http://127.0.0.1:1"
    )


def test_a_key_that_names_no_account_is_bound_to_the_account_that_is_asked() -> None:
    connection = connection_for(account("ALPACA", "PRACTICE", "PA123"), KEYS)
    assert (connection.account_id, connection.environment) == ("PA123", "practice")
    assert connection.credentials == {"key": "the-key", "secret": "the-secret"}


def test_a_live_account_is_not_asked_with_a_paper_key() -> None:
    with pytest.raises(BrokerUnreachable, match="names an account that is practice, not PA123"):
        connection_for(account("ALPACA", "LIVE", "PA123"), KEYS)
    live = connection_for(account("ALPACA", "LIVE", "PA123"), {**KEYS, "ALPACA_PAPER": "false"})
    assert (live.environment, live.account_id) == ("live", "PA123")


def test_a_live_account_is_not_asked_through_the_simulator() -> None:
    with pytest.raises(BrokerUnreachable, match="nothing was asked of either"):
        connection_for(account("ALPACA", "LIVE", "PA123"), {**KEYS, "SIMULATOR_URL": "http://127.0.0.1:9100"})


@pytest.mark.parametrize(
    ("broker", "external_id", "credentials"),
    [
        ("OANDA", "101-001-1000001-001", {"token": "sim-oanda-token"}),
        ("ALPACA", "SIMALPACA", {"key": "SIMKEY", "secret": "sim-alpaca-secret"}),
    ],
)
def test_the_desks_simulator_is_reached_with_its_own_keys(
    broker: str, external_id: str, credentials: dict[str, str]
) -> None:
    connection = connection_for(account(broker, "SIMULATOR", external_id), {})
    assert (connection.url, connection.account_id) == ("http://127.0.0.1:1", external_id)
    assert connection.credentials == credentials


def test_a_real_account_without_credentials_says_what_must_be_set() -> None:
    with pytest.raises(MissingCredentials, match="ALPACA_API_KEY and ALPACA_SECRET_KEY must be set"):
        connection_for(account("ALPACA", "PRACTICE", "PA123"), {})
