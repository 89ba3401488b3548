"""The data interface: bars that were given come back, in pages and in both directions."""

from __future__ import annotations

from typing import Any

import pytest

from trading.simulator.alpaca.timeframes import bucket, timeframe
from trading.simulator.core.numbers import at_second, iso, moment, seconds_of

from .support import Desk, Wire


def bars(desk: Desk, query: str, symbol: str = "AAPL") -> list[Wire]:
    found: list[Wire] = desk.good("GET", f"/stocks/{symbol}/bars?{query}")["bars"]
    return found


def daily(day: str, price: float) -> Wire:
    return {
        "start": f"{day}T05:00:00Z", "interval": 86400, "volume": 1000, "open": str(price), "high": str(price + 2),
        "low": str(price - 1), "close": str(price + 1),
    }  # fmt: skip


DAYS = ("2014-06-02", "2014-06-03", "2014-06-04", "2014-06-05", "2014-06-06")


@pytest.fixture
def played() -> Desk:
    """Five days of AAPL, played; New York's midnight is at four in summer."""
    desk = Desk()
    desk.control("clock", now="2014-06-01T12:00:00Z")
    rows = [{**daily(day, 600 + number), "start": f"{day}T04:00:00Z"} for number, day in enumerate(DAYS)]
    desk.control("bars", instrument="AAPL", bars=rows)
    return desk


def test_daily_bars_come_back_as_they_were_given(played: Desk) -> None:
    found = bars(played, "timeframe=1Day&start=2014-06-01&end=2014-06-30")
    assert [one["t"] for one in found] == [f"{day}T04:00:00Z" for day in DAYS]
    assert [(one["o"], one["h"], one["l"], one["c"], one["v"]) for one in found][:2] == [
        (600.0, 602.0, 599.0, 601.0, 1000), (601.0, 603.0, 600.0, 602.0, 1000),
    ]  # fmt: skip
    week = bars(played, "timeframe=1Week&start=2014-06-01")
    assert [(one["t"], one["o"], one["h"], one["c"], one["v"]) for one in week] == [
        ("2014-06-02T04:00:00Z", 600.0, 606.0, 605.0, 5000)
    ]
    (month,) = bars(played, "timeframe=1Month&start=2014-06-01")
    assert month["l"] == 599.0


def test_pages_add_up_in_both_directions(played: Desk) -> None:
    played.control("bars", instrument="SPY", bars=[{**daily("2014-06-09", 190), "start": "2014-06-09T04:00:00Z"}])
    whole = played.good("GET", "/stocks/bars?symbols=SPY,AAPL&timeframe=1Day&start=2014-06-02")["bars"]
    assert list(whole) == ["AAPL", "SPY"] and len(whole["AAPL"]) == 5
    for sort in ("asc", "desc"):
        query, token, found = "symbols=AAPL,SPY&timeframe=1D&start=2014-06-02&limit=2", "", []
        while True:
            page = played.good("GET", f"/stocks/bars?{query}&sort={sort}{token}")
            found += [(name, row["t"]) for name, rows in page["bars"].items() for row in rows]
            assert sum(len(rows) for rows in page["bars"].values()) <= 2
            if not page["next_page_token"]:
                break
            token = f"&page_token={page['next_page_token']}"
        wanted = [
            (name, row["t"]) for name, rows in whole.items() for row in (rows if sort == "asc" else reversed(rows))
        ]
        assert found[:5] == wanted[:5] and len(found) == len(set(found)) == len(wanted)


def test_minutes_are_given_once_they_are_over() -> None:
    desk = Desk()
    desk.control("clock", now="2026-01-05T15:00:00Z")
    rows: list[Any] = [
        {"start": f"2026-01-05T15:{minute:02d}:00Z", "interval": 60, "open": "100", "high": "101", "low": "99",
         "close": str(100 + minute / 10), "volume": 5}
        for minute in range(7)
    ]  # fmt: skip
    desk.control("bars", instrument="AAPL", bars=rows)
    found = bars(desk, "timeframe=1Min&start=2026-01-05T15:00:00Z")
    assert [one["c"] for one in found] == [100.0, 100.1, 100.2, 100.3, 100.4, 100.5, 100.6]
    assert [one["t"] for one in bars(desk, "timeframe=5Min&start=2026-01-05T15:00:00Z")] == ["2026-01-05T15:00:00Z"]
    assert bars(desk, "timeframe=1Min&start=2026-01-05T15:02:00Z&end=2026-01-05T15:03:00Z") == found[2:4]
    desk.control("clock", step="30")
    desk.share("100.00", "100.02")
    assert bars(desk, "timeframe=1Min&start=2026-01-05T15:00:00Z") == found, "the running minute is no bar yet"
    day = bars(desk, "timeframe=1Day&start=2026-01-05&limit=1")
    assert day[0]["c"] == 100.01 and day[0]["v"] > 35, "the running day is one"


def test_scheduled_days_are_history_first_and_then_traded_in_their_session() -> None:
    desk = Desk()
    desk.control("clock", now="2014-06-05T12:00:00Z")
    rows = [{**daily(day, 600 + number), "start": f"{day}T04:00:00Z"} for number, day in enumerate(DAYS)]
    desk.control("schedule", instrument="AAPL", bars=rows)
    assert len(bars(desk, "timeframe=1Day&start=2014-06-01")) == 3
    order = desk.buy("1")
    desk.control("clock", now="2014-06-05T13:29:59Z")
    assert desk.status(order) == "accepted"
    desk.control("clock", now="2014-06-05T13:30:00Z")
    assert desk.read(order)["filled_avg_price"] == "603.01", "the day's open"
    desk.control("clock", now="2014-06-07T00:00:00Z")
    assert [one["c"] for one in bars(desk, "timeframe=1Day&start=2014-06-05")] == [604.0, 605.0]


def test_minutes_before_the_session_are_bars_too() -> None:
    desk = Desk()
    desk.control("clock", now="2014-06-05T08:00:00Z")
    rows = [
        {"start": f"2014-06-05T{at}:00Z", "interval": 60, "open": "644", "high": "645", "low": "643", "close": "644.5"}
        for at in ("08:15", "13:29", "13:30", "23:59")
    ]
    desk.control("bars", instrument="AAPL", bars=rows)
    found = bars(desk, "timeframe=1Min&start=2014-06-05")
    assert [one["t"] for one in found] == [row["start"] for row in rows]
    assert bars(desk, "timeframe=1Min&start=2014-06-05&sort=desc") == found[::-1]


@pytest.mark.parametrize(
    ("frame", "at", "start", "end"),
    [
        ("1Min", "2026-01-05T15:07:31Z", "2026-01-05T15:07:00Z", "2026-01-05T15:08:00Z"),
        ("15T", "2026-01-05T15:07:31Z", "2026-01-05T15:00:00Z", "2026-01-05T15:15:00Z"),
        ("1Hour", "2026-07-05T15:07:31Z", "2026-07-05T15:00:00Z", "2026-07-05T16:00:00Z"),
        ("1Day", "2026-03-08T05:30:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"),
        ("1W", "2026-01-04T15:00:00Z", "2025-12-29T05:00:00Z", "2026-01-05T05:00:00Z"),
        ("3Month", "2026-02-10T15:00:00Z", "2026-01-01T05:00:00Z", "2026-04-01T04:00:00Z"),
    ],
)
def test_a_bar_covers_its_stretch(frame: str, at: str, start: str, end: str) -> None:
    low, high = bucket(timeframe(frame), seconds_of(moment(at)))
    assert (iso(at_second(low)), iso(at_second(high))) == (iso(moment(start)), iso(moment(end)))


def test_what_the_data_interface_refuses() -> None:
    desk = Desk()
    for query in ("timeframe=0Min", "timeframe=60Min", "", "timeframe=1Day&limit=0", "timeframe=1Day&page_token=x",
                  "timeframe=1Day&sort=up", "timeframe=1Day&start=2026-01-05&end=2026-01-04"):  # fmt: skip
        assert desk.ask("GET", f"/stocks/AAPL/bars?{query}")[0] == 400
    assert bars(desk, "timeframe=1Day&start=2030-01-01") == [], "nothing of the future"
    assert desk.ask("GET", "/stocks/bars?timeframe=1Day")[0] == 400
    assert desk.good("GET", "/stocks/bars?timeframe=1Day&symbols=ZZZZ") == {"bars": {}, "next_page_token": None}
    assert desk.ask("GET", "/stocks/ZZZZ/quotes/latest")[0] == 400
