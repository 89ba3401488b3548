"""Which broker the environment names, and that no key goes where it must not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trading.brokers.oanda import OandaBroker
from trading.brokers.registry import (
    BadConnection,
    Connection,
    HalfCredentials,
    MissingCredentials,
    credentials_from_environment,
    open_broker,
)

PRACTICE = {"OANDA_API_KEY": "the-key", "OANDA_ACCOUNT_ID": "101-001-123-001"}


def found(**environ: str) -> Connection | None:
    return credentials_from_environment("oanda", environ)


def test_a_key_and_an_account_are_the_practice_environment() -> None:
    connection = found(**PRACTICE)
    assert connection is not None
    assert (connection.environment, connection.url) == ("practice", "https://api-fxpractice.oanda.com")
    assert connection.account_id == "101-001-123-001"


def test_live_must_be_named() -> None:
    connection = found(OANDA_API_KEY="k", OANDA_ACCOUNT_ID="001-001-123-001", OANDA_ENV="live")
    assert connection is not None
    assert (connection.environment, connection.url) == ("live", "https://api-fxtrade.oanda.com")


@pytest.mark.parametrize("missing", ["OANDA_API_KEY", "OANDA_ACCOUNT_ID"])
def test_half_of_a_pair_is_refused_and_never_the_simulator(missing: str) -> None:
    with pytest.raises(HalfCredentials) as caught:
        found(**{**PRACTICE, missing: ""})
    assert isinstance(caught.value, BadConnection) and isinstance(caught.value, MissingCredentials)
    assert "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set" in str(caught.value)
    assert f"({missing} is missing)" in str(caught.value) and "nothing was sent" in str(caught.value)
    assert "the-" not in str(caught.value)


@pytest.mark.parametrize("missing", ["OANDA_API_KEY", "OANDA_ACCOUNT_ID"])
def test_beside_a_simulator_that_is_named_the_missing_half_is_the_simulators(missing: str) -> None:
    connection = found(**{**PRACTICE, missing: "", "SIMULATOR_URL": "http://127.0.0.1:9100"})
    assert connection is not None and connection.environment == "simulator"


def test_without_both_there_is_no_connection() -> None:
    assert found() is None


@pytest.mark.parametrize("others", [{}, {"SIMULATOR_URL": "http://127.0.0.1:9100"}])
def test_an_environment_that_nobody_knows_is_refused_whatever_else_is_set(others: dict[str, str]) -> None:
    with pytest.raises(BadConnection, match="must be practice or live"):
        found(OANDA_ENV="prod", **others)


def test_missing_credentials_say_exactly_what_must_be_set() -> None:
    assert str(MissingCredentials("oanda")) == "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set"


@pytest.mark.fault("F-034", broker="oanda")
@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"OANDA_URL": "https://api-fxpractice.oanda.com/v3"}, "without /v3"),
        ({"OANDA_URL": "https://api-fxpractice.oanda.com/v3/"}, "without /v3"),
        ({"OANDA_URL": "https://api-fxtrade.oanda.com"}, "live host, but the environment is practice"),
        ({"OANDA_URL": "https://api-fxpractice.oanda.com", "OANDA_ENV": "live"}, "practice host"),
        ({"OANDA_ENV": "live"}, "is no live account"),
        ({"OANDA_ACCOUNT_ID": "001-001-123-001"}, "is no practice account"),
        ({"OANDA_ENV": "LIVE"}, "practice or live"),
        ({"OANDA_URL": "http://example.com"}, "clear text"),
        ({"OANDA_URL": "example.com"}, "no address"),
        ({"OANDA_URL": "https://user:pass@example.com"}, "bare address"),
        ({"OANDA_URL": "http://127.0.0.1:99999"}, "no usable port"),
        ({"SIMULATOR_URL": "http://127.0.0.1:9100", "OANDA_ENV": "live"}, "unset one of them"),
        ({"SIMULATOR_URL": "http://127.0.0.1:9100", "OANDA_URL": "https://example.com"}, "name different brokers"),
        ({"SIMULATOR_URL": "http://127.0.0.1"}, "must name the control port"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadConnection, match=sentence):
        found(**{**PRACTICE, **environ})


def test_an_own_url_is_used_and_plain_http_only_on_this_machine() -> None:
    connection = found(**PRACTICE, OANDA_URL="http://127.0.0.1:9101/")
    assert connection is not None and connection.url == "http://127.0.0.1:9101"


def test_the_simulator_speaks_oanda_next_to_its_control_port() -> None:
    connection = found(SIMULATOR_URL="http://127.0.0.1:9200/")
    assert connection is not None
    assert (connection.environment, connection.url) == ("simulator", "http://127.0.0.1:9201")
    assert connection.account_id == "101-001-1000001-001" and connection.credentials["token"] == "sim-oanda-token"


def test_the_environment_may_name_another_account_of_the_simulator() -> None:
    connection = found(SIMULATOR_URL="http://127.0.0.1:9200", **PRACTICE, OANDA_URL="http://127.0.0.1:9201")
    assert connection is not None
    assert connection.account_id == "101-001-123-001" and connection.credentials["token"] == "the-key"


def test_a_connection_never_shows_its_key() -> None:
    assert "the-key" not in repr(found(**PRACTICE)) + str(found(**PRACTICE))


def test_opening_sends_nothing_and_gives_the_adapter() -> None:
    connection = found(**PRACTICE)
    assert connection is not None
    broker = open_broker(connection)
    assert isinstance(broker, OandaBroker) and broker.name == "oanda"
    assert "the-key" not in repr(vars(broker))
    broker.close()


def test_a_broker_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(BadConnection, match="'ibkr'"):
        open_broker(Connection("ibkr", "practice", "https://example.com", "1", {}))


def test_opening_without_a_key_says_what_is_missing() -> None:
    with pytest.raises(MissingCredentials):
        open_broker(Connection("oanda", "practice", "https://api-fxpractice.oanda.com", "101-1", {}))


def test_the_sdk_is_loaded_only_when_a_broker_is_opened() -> None:
    code = "import sys, trading.brokers.registry, trading.brokers.oanda; sys.exit('oandapyV20' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
