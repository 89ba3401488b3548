"""Instruments, quotes and candles, through the client that Zerodha publishes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from io import StringIO

import pytest
from kiteconnect import KiteConnect
from kiteconnect.exceptions import InputException, TokenException

from ..support import Process
from .support import FUTURE, INFY, TOKEN, client, fresh, get, price

COLUMNS = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,instrument_type,"
    "segment,exchange"
)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    # Not always open: Monday, 11:30 in India; the market opened at 9:15 and was shut at the weekend.
    found = Process(tmp_path_factory.mktemp("kite"), "--speed", "0", "--start", "2026-01-05T06:00:00Z")
    yield found
    assert found.stop() == 0


@pytest.fixture
def kite(process: Process) -> KiteConnect:
    fresh(process)
    return client(process)


def test_the_dump_is_csv_with_the_columns_of_the_documents(process: Process) -> None:
    answer = get(process, "/instruments")
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/csv")
    assert answer.text.splitlines()[0] == COLUMNS
    rows = list(csv.DictReader(StringIO(answer.text)))
    assert {row["exchange"] for row in rows} == {"NSE", "NFO"}
    assert all(int(row["exchange_token"]) == int(row["instrument_token"]) >> 8 for row in rows)


def test_the_client_reads_the_dump_of_an_exchange(kite: KiteConnect) -> None:
    shares = {row["tradingsymbol"]: row for row in kite.instruments("NSE")}
    assert {"INFY", "RELIANCE", "YESBANK"} <= set(shares)
    share = shares["INFY"]
    assert (share["instrument_token"], share["tick_size"], share["lot_size"]) == (INFY, 0.05, 1)
    assert (share["instrument_type"], share["segment"], share["expiry"], share["strike"]) == ("EQ", "NSE", "", 0.0)
    derivatives = {row["instrument_type"]: row for row in kite.instruments("NFO")}
    assert set(derivatives) == {"FUT", "CE"} and derivatives["FUT"]["lot_size"] > 1
    assert isinstance(derivatives["CE"]["expiry"], date) and derivatives["CE"]["strike"] == 26000
    assert len(kite.instruments()) == len(shares) + len(derivatives)
    with pytest.raises(InputException):
        kite.instruments("NASDAQ")


def test_a_quote_has_the_day_the_depth_and_the_limits(kite: KiteConnect) -> None:
    quote = kite.quote("NSE:INFY")["NSE:INFY"]
    assert (quote["instrument_token"], quote["last_price"]) == (INFY, 1500.05)
    assert str(quote["timestamp"]) == "2026-01-05 11:30:00" and isinstance(quote["last_trade_time"], datetime)
    assert quote["depth"]["buy"][0]["price"] == 1500 and quote["depth"]["sell"][0]["price"] == 1500.1
    assert [level["price"] for level in quote["depth"]["buy"]] == [1500, 1499.95, 1499.9, 1499.85, 1499.8]
    assert quote["buy_quantity"] == sum(level["quantity"] for level in quote["depth"]["buy"])
    day = quote["ohlc"]
    assert day["low"] <= min(day["open"], 1500.05) and day["high"] >= max(day["open"], 1500.05)
    assert quote["lower_circuit_limit"] < day["close"] < quote["upper_circuit_limit"]


def test_quotes_are_asked_for_by_name_or_token_and_what_does_not_exist_is_absent(kite: KiteConnect) -> None:
    found = kite.ltp(["NSE:INFY", "NFO:NIFTY27DECFUT", "NSE:NOSUCH", str(FUTURE), "INFY"])
    assert set(found) == {"NSE:INFY", "NFO:NIFTY27DECFUT", str(FUTURE)}
    assert found["NSE:INFY"] == {"instrument_token": INFY, "last_price": 1500.05}
    assert set(kite.ohlc("NSE:INFY")["NSE:INFY"]) == {"instrument_token", "last_price", "ohlc"}
    with pytest.raises(InputException):
        kite.ltp([])


def test_the_day_follows_the_prices_that_are_set(process: Process, kite: KiteConnect) -> None:
    price(process, "2000.00", "2000.10")
    price(process, "1000.00", "1000.10")
    day = kite.ohlc("NSE:INFY")["NSE:INFY"]["ohlc"]
    assert (day["high"], day["low"]) == (2000.05, 1000.05)


def test_candles_begin_at_the_opening_and_include_the_running_one(kite: KiteConnect) -> None:
    begin, end = "2026-01-02 09:15:00", "2026-01-05 11:30:00"
    hours = kite.historical_data(738561, begin, end, "60minute")
    times = [(one["date"].day, one["date"].hour, one["date"].minute) for one in hours]
    assert times == [(2, hour, 15) for hour in range(9, 16)] + [(5, hour, 15) for hour in (9, 10, 11)]
    assert all(one["low"] <= min(one["open"], one["close"]) <= max(one["open"], one["close"]) <= one["high"]
               for one in hours)  # fmt: skip
    assert hours[0]["date"].utcoffset() == timedelta(hours=5, minutes=30)
    minutes = kite.historical_data(738561, "2026-01-05 09:15:00", "2026-01-05 10:14:00", "minute", oi=True)
    assert len(minutes) == 60 and minutes[0]["open"] == hours[7]["open"] and minutes[-1]["close"] == hours[7]["close"]
    assert minutes[0]["oi"] == 0
    days = kite.historical_data(738561, date(2026, 1, 1), date(2026, 1, 5), "day")
    assert [one["date"].day for one in days] == [1, 2, 5], "no weekend"
    assert days[1]["open"] == hours[0]["open"]


@pytest.mark.parametrize(
    ("token", "begin", "end", "interval"),
    [
        (999, "2026-01-05 09:15:00", "2026-01-05 10:00:00", "minute"),
        (INFY, "2026-01-05 09:15:00", "2026-01-05 10:00:00", "2minute"),
        (INFY, "2025-10-05 09:15:00", "2026-01-05 10:00:00", "minute"),
        (INFY, "2026-01-05 10:15:00", "2026-01-05 10:00:00", "minute"),
        (INFY, "yesterday", "2026-01-05 10:00:00", "minute"),
        (INFY, "9999-12-31 23:59:59", "9999-12-31 23:59:59", "minute"),
        (10**400, "2026-01-05 09:15:00", "2026-01-05 10:00:00", "minute"),
        (INFY, "2026-13-05 09:15:00", "2026-01-05 10:00:00", "minute"),
    ],
)
def test_candles_that_cannot_be_given_are_refused(
    kite: KiteConnect, token: int, begin: str, end: str, interval: str
) -> None:
    with pytest.raises(InputException) as refused:
        kite.historical_data(token, begin, end, interval)
    assert refused.value.code == 400


def test_without_a_session_there_are_no_prices(process: Process) -> None:
    stranger = client(process)
    stranger.set_access_token(TOKEN[:-1])
    with pytest.raises(TokenException) as refused:
        stranger.quote("NSE:INFY")
    assert refused.value.code == 403
