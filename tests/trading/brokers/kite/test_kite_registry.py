"""Which Kite the environment names, and that no token goes where it must not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trading.brokers.kite import KiteBroker
from trading.brokers.registry import (
    BadConnection,
    Connection,
    HalfCredentials,
    MissingCredentials,
    credentials_from_environment,
    kite_ticker_url,
    open_broker,
)

LIVE = {"KITE_API_KEY": "the-key", "KITE_ACCESS_TOKEN": "the-token"}
SIMULATED = {"SIMULATOR_URL": "http://127.0.0.1:9100"}


def found(**environ: str) -> Connection | None:
    return credentials_from_environment("kite", environ)


def test_a_key_and_a_token_are_the_live_environment_because_there_is_no_other() -> None:
    connection = found(**LIVE)
    assert connection is not None and connection.account_id == ""
    assert (connection.environment, connection.url) == ("live", "https://api.kite.trade")
    assert isinstance(open_broker(connection), KiteBroker)
    assert "the-" not in repr(connection)


@pytest.mark.parametrize("missing", list(LIVE))
def test_half_of_a_pair_is_refused_and_never_the_simulator(missing: str) -> None:
    with pytest.raises(HalfCredentials, match="KITE_API_KEY and KITE_ACCESS_TOKEN must be set"):
        found(**{**LIVE, missing: ""})


def test_without_both_there_is_no_connection() -> None:
    assert found() is None
    with pytest.raises(MissingCredentials, match="KITE_ACCESS_TOKEN"):
        open_broker(Connection("kite", "live", "https://api.kite.trade", "", {"key": "k"}))


def test_the_simulators_own_account_is_taken_where_it_is_named() -> None:
    connection = found(**SIMULATED)
    assert connection is not None
    assert (connection.environment, connection.url) == ("simulator", "http://127.0.0.1:9103")
    assert (connection.account_id, dict(connection.credentials)) == (
        "SIMKITE",
        {"key": "simkitekey", "access_token": "sim-kite-token", "secret": "sim-kite-secret"},
    )


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"KITE_URL": "https://api.kite.trade/v3"}, "without a path"),
        ({"KITE_URL": "http://example.com"}, "clear text"),
        ({"KITE_URL": "example.com"}, "no address"),
        ({"KITE_URL": "https://user:pass@example.com"}, "bare address"),
        ({**SIMULATED, "KITE_URL": "https://example.com"}, "name different brokers"),
    ],
)
def test_an_address_that_contradicts_itself_is_refused(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadConnection, match=sentence):
        found(**LIVE, **environ)


@pytest.mark.fault("F-034", broker="kite")
def test_the_live_host_never_gets_a_simulators_token() -> None:
    keys = {"key": "simkitekey", "access_token": "sim-kite-token"}
    with pytest.raises(BadConnection, match="trades with money"):
        open_broker(Connection("kite", "simulator", "https://api.kite.trade", "SIMKITE", keys))


def test_the_ticker_is_on_its_own_host_or_on_the_next_port() -> None:
    assert kite_ticker_url("https://api.kite.trade") == "wss://ws.kite.trade"
    assert kite_ticker_url("http://127.0.0.1:9103") == "ws://127.0.0.1:9104"
    assert kite_ticker_url("http://[::1]:9103") == "ws://[::1]:9104"


def test_the_sdk_and_its_reactor_are_loaded_only_where_a_connection_is_opened() -> None:
    code = (
        "import sys; import trading.brokers.registry, trading.brokers.kite; "
        "sys.exit('kiteconnect' in sys.modules or 'twisted' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_orders_are_placed_as_the_environment_says_or_as_the_adapter_does() -> None:
    for environ in (LIVE, SIMULATED, {**SIMULATED, **LIVE}):
        for product in ("", "CNC", "MIS", "NRML"):
            connection = found(**environ, KITE_PRODUCT=product)
            assert connection is not None and connection.product == product
        with pytest.raises(BadConnection, match="KITE_PRODUCT is 'mis'"):
            found(**environ, KITE_PRODUCT="mis")


def test_the_secret_of_postbacks_is_no_part_of_what_is_needed_and_never_shown() -> None:
    connection = found(**LIVE, KITE_API_SECRET="the-secret")
    assert connection is not None and connection.credentials["secret"] == "the-secret"
    assert "the-secret" not in repr(connection)
    plain = found(**LIVE)
    assert plain is not None and "secret" not in plain.credentials
