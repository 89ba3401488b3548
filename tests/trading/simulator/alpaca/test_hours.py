"""The exchange's calendar and hours, and what orders do when it is closed."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.simulator.core import nyse
from trading.simulator.core.bars import point_at
from trading.simulator.core.numbers import moment

from .support import Desk

# As the exchange published them: every weekday of these years on which it was, or will be, closed, and its half days.
CLOSED = {
    2010: "01-01 01-18 02-15 04-02 05-31 07-05 09-06 11-25 12-24",
    2011: "01-17 02-21 04-22 05-30 07-04 09-05 11-24 12-26",
    2012: "01-02 01-16 02-20 04-06 05-28 07-04 09-03 10-29 10-30 11-22 12-25",
    2018: "01-01 01-15 02-19 03-30 05-28 07-04 09-03 11-22 12-05 12-25",
    2021: "01-01 01-18 02-15 04-02 05-31 07-05 09-06 11-25 12-24",
    2022: "01-17 02-21 04-15 05-30 06-20 07-04 09-05 11-24 12-26",
    2025: "01-01 01-09 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25",
    2026: "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25",
    2027: "01-01 01-18 02-15 03-26 05-31 06-18 07-05 09-06 11-25 12-24",
    2028: "01-17 02-21 04-14 05-29 06-19 07-04 09-04 11-23 12-25",
}
HALF = {
    2010: "11-26", 2012: "07-03 11-23 12-24", 2013: "07-03 11-29 12-24", 2019: "07-03 11-29 12-24",
    2021: "11-26", 2023: "07-03 11-24", 2025: "07-03 11-28 12-24", 2026: "11-27 12-24", 2027: "11-26",
    2028: "07-03 11-24",
}  # fmt: skip


@pytest.mark.parametrize("year", CLOSED)
def test_the_exchange_is_closed_on_its_holidays(year: int) -> None:
    assert " ".join(f"{day:%m-%d}" for day in sorted(nyse.holidays(year))) == CLOSED[year]


@pytest.mark.parametrize("year", HALF)
def test_it_closes_early_on_its_half_days(year: int) -> None:
    days = (date(year, 1, 1) + timedelta(days=number) for number in range(365))
    sessions = (found for day in days if (found := nyse.session(day)) is not None)
    early = [one.day for one in sessions if one.closes - one.opens == timedelta(hours=3, minutes=30)]
    assert " ".join(f"{day:%m-%d}" for day in early) == HALF[year]


def test_trades_settle_in_fewer_and_fewer_days() -> None:
    assert nyse.trades_settled_on(date(2017, 9, 1)) == date(2017, 9, 7)
    assert nyse.trades_settled_on(date(2024, 5, 24)) == date(2024, 5, 29)
    assert nyse.trades_settled_on(date(2024, 5, 28)) == date(2024, 5, 29)
    assert nyse.trades_settled_on(date(2026, 7, 2)) == date(2026, 7, 6)


@given(st.integers(0, 20 * 365 * 86_400), st.integers(0, 400_000))
def test_the_next_and_the_last_open_moments_are_next_and_last(seconds: int, span: int) -> None:
    hours, now = nyse.ShareHours(), moment("2010-01-01T00:00:00Z") + timedelta(seconds=seconds)
    opens, last = hours.next_open(now), hours.last_open(now)
    assert last <= now <= opens and hours.is_open(opens) and hours.is_open(last)
    if not hours.is_open(now):
        assert not hours.is_open(last + timedelta(microseconds=1)) and not hours.is_open(opens - timedelta(seconds=1))
    stretches = hours.overlap(now, now + timedelta(seconds=span))
    assert all(low < high and hours.is_open(low) for low, high in stretches)
    assert hours.day_ends(now, extended=False) > now and hours.day_ends(now, extended=True) > now


def test_a_daily_bar_of_a_share_is_traded_in_its_session() -> None:
    day, half = timedelta(days=1), moment("2025-12-24T05:00:00Z")
    assert point_at("AAPL", moment("2026-01-05T05:00:00Z"), day, 0) == moment("2026-01-05T14:30:00Z")
    assert point_at("AAPL", moment("2026-07-06T00:00:00Z"), day, 0) == moment("2026-07-06T13:30:00Z")
    assert nyse.ShareHours().is_open(point_at("AAPL", half, day, 3))
    assert point_at("EUR_USD", half, day, 1) == half + timedelta(hours=6)
    assert point_at("AAPL", moment("2026-01-10T05:00:00Z"), day, 0) == moment("2026-01-10T05:00:00Z"), "a Saturday"


def closed(at: str, **settings: Any) -> Desk:
    found = Desk(**settings)
    found.control("clock", now=at)
    found.share("99.99", "100.01")
    return found


def test_an_order_of_the_evening_waits_for_the_opening_price() -> None:
    desk = closed("2026-01-05T23:00:00Z")
    order = desk.buy("10")
    assert order["status"] == "accepted" and order["expires_at"].startswith("2026-01-06T21:00:00")
    assert desk.events(order) == ["accepted"] and desk.status(order) == "accepted"
    bar = {"start": "2026-01-06T05:00:00Z", "open": "105", "high": "106", "low": "104", "close": "105.5"}
    desk.control("bars", instrument="AAPL", bars=[{**bar, "interval": 86400}])
    assert desk.read(order)["filled_avg_price"] == "105.01" and desk.events(order)[1:] == ["new", "fill"]
    assert desk.fills()[0]["transaction_time"].startswith("2026-01-06T14:30:00")


def test_without_a_new_price_it_fills_at_the_last_one() -> None:
    desk = closed("2026-01-05T23:00:00Z")
    order, limit = desk.buy("10"), desk.buy("1", type="limit", limit_price="50")
    desk.control("clock", now="2026-01-06T14:29:59Z")
    assert desk.status(order) == "accepted"
    desk.control("clock", now="2026-01-06T14:31:00Z")
    assert desk.status(order) == "filled" and desk.status(limit) == "new"


def test_the_walk_fills_waiting_orders_at_the_opening() -> None:
    desk = Desk()
    desk.control("clock", now="2026-01-05T23:00:00Z")
    order = desk.buy("1", symbol="SPY")
    desk.control("clock", now="2026-01-06T14:31:00Z")
    assert desk.read(order)["filled_at"].startswith("2026-01-06T14:30:00")


def test_orders_of_the_day_expire_with_it_and_others_go_on() -> None:
    desk = closed("2026-01-05T20:00:00Z")
    day = desk.buy("1", type="limit", limit_price="50")
    good = desk.buy("1", type="limit", limit_price="50", time_in_force="gtc")
    desk.control("clock", now="2026-01-05T21:00:01Z")
    assert desk.status(day) == "expired" and desk.events(day)[-1] == "expired" and desk.read(day)["expired_at"]
    assert desk.status(good) == "done_for_day"
    desk.control("clock", now="2026-01-06T14:31:00Z")
    assert desk.status(good) == "new" and desk.events(good) == ["pending_new", "new", "done_for_day", "new"]
    desk.share("49.00", "49.02")
    assert desk.status(good) == "filled"


def test_a_good_till_cancelled_order_ends_after_ninety_days() -> None:
    desk = closed("2026-01-05T20:00:00Z")
    order = desk.buy("1", type="limit", limit_price="50", time_in_force="gtc")
    assert order["expires_at"].startswith("2026-04-06T20:00:00"), "the first session after ninety days"
    desk.control("clock", now="2026-04-06T20:01:00Z")
    assert desk.status(order) == "expired"


def test_extended_hours_fill_only_orders_that_want_them() -> None:
    desk = closed("2026-01-05T22:00:00Z")
    plain = desk.buy("1", type="limit", limit_price="101")
    extended = desk.buy("1", type="limit", limit_price="101", extended_hours=True)
    assert extended["status"] == "pending_new" and desk.status(extended) == "filled"
    waiting = desk.buy("1", type="limit", limit_price="99", extended_hours=True)
    assert waiting["expires_at"].startswith("2026-01-06T01:00:00")
    desk.share("98.00", "98.02")
    assert desk.status(waiting) == "filled" and desk.status(plain) == "accepted"
    night = closed("2026-01-06T08:00:00Z")
    order = night.buy("1", type="limit", limit_price="101", extended_hours=True)
    assert order["status"] == "accepted"
    night.control("clock", now="2026-01-06T09:01:00Z")
    assert night.status(order) == "filled", "at four in the morning"


def test_on_the_open_and_on_the_close() -> None:
    desk = closed("2026-01-06T00:30:00Z")
    at_open = desk.buy("1", time_in_force="opg")
    low = desk.buy("1", type="limit", limit_price="50", time_in_force="opg")
    at_close = desk.buy("2", time_in_force="cls")
    assert [one["status"] for one in (at_open, low, at_close)] == ["accepted"] * 3
    desk.control("clock", now="2026-01-06T14:31:00Z")
    assert [desk.status(one) for one in (at_open, low, at_close)] == ["filled", "expired", "accepted"]
    desk.control("clock", now="2026-01-06T20:45:00Z")
    desk.share("103.00", "103.02")
    desk.control("clock", now="2026-01-06T21:00:01Z")
    assert desk.read(at_close)["filled_avg_price"] == "103.02"


def test_at_once_orders_do_not_wait() -> None:
    desk = closed("2026-01-05T23:00:00Z")
    order = desk.buy("1", time_in_force="ioc")
    assert desk.status(order) == "canceled"


def test_an_always_open_market_fills_on_a_sunday() -> None:
    desk = closed("2026-01-04T12:00:00Z", always_open=True)
    order = desk.buy("1")
    assert desk.status(order) == "filled" and order["expires_at"].startswith("2026-01-04T21:00:00")
    assert desk.good("GET", "/clock")["is_open"] is True


def test_the_clock_knows_the_holiday() -> None:
    desk = Desk()
    desk.control("clock", now="2026-01-16T21:30:00Z")
    clock = desk.good("GET", "/clock")
    assert clock["is_open"] is False and clock["next_open"] == "2026-01-20T09:30:00-05:00"
    assert clock["next_close"] == "2026-01-20T16:00:00-05:00"
