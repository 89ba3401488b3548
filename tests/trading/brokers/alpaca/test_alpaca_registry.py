"""Which Alpaca the environment names, and that no key goes where it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trading.brokers.alpaca import AlpacaBroker
from trading.brokers.registry import (
    BadConnection,
    Connection,
    HalfCredentials,
    MissingCredentials,
    credentials_from_environment,
    open_broker,
)

PAPER = {"ALPACA_API_KEY": "the-key", "ALPACA_SECRET_KEY": "the-secret"}


def found(**environ: str) -> Connection | None:
    return credentials_from_environment("alpaca", environ)


def test_a_key_and_its_secret_are_the_paper_environment_and_the_key_names_the_account() -> None:
    connection = found(**PAPER)
    assert connection is not None
    assert (connection.environment, connection.url) == ("practice", "https://paper-api.alpaca.markets")
    assert connection.account_id == ""


@pytest.mark.parametrize("word", ["false", "False", "0", "no"])
def test_live_must_be_named(word: str) -> None:
    connection = found(**PAPER, ALPACA_PAPER=word)
    assert connection is not None
    assert (connection.environment, connection.url) == ("live", "https://api.alpaca.markets")


@pytest.mark.parametrize("missing", ["ALPACA_API_KEY", "ALPACA_SECRET_KEY"])
def test_half_of_a_pair_is_refused_and_never_the_simulator(missing: str) -> None:
    with pytest.raises(HalfCredentials) as caught:
        found(**{**PAPER, missing: ""})
    assert isinstance(caught.value, BadConnection) and isinstance(caught.value, MissingCredentials)
    assert "ALPACA_API_KEY and ALPACA_SECRET_KEY must be set" in str(caught.value)
    assert f"({missing} is missing)" in str(caught.value) and "nothing was sent" in str(caught.value)
    assert "the-" not in str(caught.value)


@pytest.mark.parametrize("missing", ["ALPACA_API_KEY", "ALPACA_SECRET_KEY"])
def test_beside_a_simulator_that_is_named_the_missing_half_is_the_simulators(missing: str) -> None:
    connection = found(**{**PAPER, missing: "", "SIMULATOR_URL": "http://127.0.0.1:9100"})
    assert connection is not None and connection.environment == "simulator"


def test_without_both_there_is_no_connection() -> None:
    assert found() is None


def test_missing_credentials_say_exactly_what_must_be_set() -> None:
    assert str(MissingCredentials("alpaca")) == "ALPACA_API_KEY and ALPACA_SECRET_KEY must be set"
    with pytest.raises(MissingCredentials, match="ALPACA_SECRET_KEY"):
        open_broker(Connection("alpaca", "practice", "https://paper-api.alpaca.markets", "", {"key": "k"}))


@pytest.mark.fault("F-034", broker="alpaca")
@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"ALPACA_URL": "https://paper-api.alpaca.markets/v2"}, "without /v2"),
        ({"ALPACA_URL": "https://paper-api.alpaca.markets/v2/"}, "without /v2"),
        ({"ALPACA_URL": "https://api.alpaca.markets"}, "live host, but the environment is practice"),
        ({"ALPACA_URL": "https://paper-api.alpaca.markets", "ALPACA_PAPER": "false"}, "practice host"),
        ({"ALPACA_PAPER": "maybe"}, "must be true or false"),
        ({"ALPACA_URL": "http://example.com"}, "clear text"),
        ({"ALPACA_URL": "example.com"}, "no address"),
        ({"ALPACA_URL": "https://user:pass@example.com"}, "bare address"),
        ({"SIMULATOR_URL": "http://127.0.0.1:9100", "ALPACA_PAPER": "false"}, "unset one of them"),
        ({"SIMULATOR_URL": "http://127.0.0.1:9100", "ALPACA_URL": "https://example.com"}, "name different brokers"),
        ({"SIMULATOR_URL": "http://127.0.0.1"}, "must name the control port"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadConnection, match=sentence):
        found(**{**PAPER, **environ})


def test_the_simulator_speaks_alpaca_two_ports_after_its_control_port() -> None:
    connection = found(SIMULATOR_URL="http://127.0.0.1:9200/")
    assert connection is not None
    assert (connection.environment, connection.url) == ("simulator", "http://127.0.0.1:9202")
    assert connection.account_id == "SIMALPACA"
    assert connection.credentials == {"key": "SIMKEY", "secret": "sim-alpaca-secret"}


def test_the_environment_may_name_another_account_of_the_simulator() -> None:
    connection = found(SIMULATOR_URL="http://127.0.0.1:9200", **PAPER, ALPACA_URL="http://127.0.0.1:9202")
    assert connection is not None
    assert connection.account_id == "" and connection.credentials["key"] == "the-key"


def test_a_connection_never_shows_its_keys() -> None:
    shown = repr(found(**PAPER)) + str(found(**PAPER))
    assert "the-key" not in shown and "the-secret" not in shown


@pytest.mark.parametrize(
    ("url", "data_url"),
    [
        ("https://paper-api.alpaca.markets", "https://data.alpaca.markets"),
        ("http://127.0.0.1:9102", "http://127.0.0.1:9102"),
    ],
)
def test_market_data_of_the_vendor_has_a_host_of_its_own(url: str, data_url: str) -> None:
    connection = found(**PAPER)
    assert connection is not None
    broker = open_broker(replace(connection, url=url))
    assert isinstance(broker, AlpacaBroker) and broker.name == "alpaca"
    assert broker._client._data_url == data_url
    broker.close()
