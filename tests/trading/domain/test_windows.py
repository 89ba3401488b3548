"""Windows, the weekend, the trading day."""

from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.domain.making import at
from trading.domain.windows import (
    EXCHANGES,
    Window,
    in_any_window,
    is_trading_bar,
    trading_day,
    window_end_after,
)

MORNING = Window(time(7), time(10))


@pytest.mark.parametrize(
    ("clock", "inside"), [("06:59", False), ("07:00", True), ("09:55", True), ("10:00", False), ("00:00", False)]
)
def test_a_window_counts_its_start_and_not_its_end(clock: str, inside: bool) -> None:
    assert MORNING.contains(at(f"2014-05-01 {clock}")) is inside


@pytest.mark.parametrize(
    ("moment", "inside"),
    [("2014-05-01 21:55", False), ("2014-05-01 22:00", True), ("2014-05-02 01:55", True), ("2014-05-02 02:00", False)],
)
def test_a_window_across_midnight_works(moment: str, inside: bool) -> None:
    assert Window(time(22), time(2)).contains(at(moment)) is inside


@pytest.mark.scenario("S-67")
def test_daylight_saving_moves_a_window_in_utc() -> None:
    london = Window(time(8), time(11), "Europe/London")
    assert london.contains(at("2014-01-15 08:00"))
    assert not london.contains(at("2014-01-15 07:00"))
    assert london.contains(at("2014-07-15 07:00"))
    assert not london.contains(at("2014-07-15 10:00"))


@pytest.mark.scenario("S-67")
def test_a_window_across_midnight_belongs_to_the_weekday_and_the_holiday_on_which_it_starts() -> None:
    thursday_night = Window(time(22), time(2), weekdays=(3,))
    assert thursday_night.contains(at("2014-05-02 01:00"))
    assert not thursday_night.contains(at("2014-05-01 01:00"))
    closed = Window(time(22), time(2), holidays=(date(2014, 5, 1),))
    assert not closed.contains(at("2014-05-02 01:00"))
    assert closed.contains(at("2014-05-02 22:00"))


def test_the_end_of_the_window_that_holds_a_moment_is_known_for_the_timer_of_live_exits() -> None:
    windows = (MORNING, Window(time(9), time(11)), Window(time(22), time(2)))
    assert window_end_after(windows, at("2014-05-01 08:00")) == at("2014-05-01 10:00")
    assert window_end_after(windows, at("2014-05-01 09:30")) == at("2014-05-01 11:00")
    assert window_end_after(windows, at("2014-05-01 23:00")) == at("2014-05-02 02:00")
    assert window_end_after(windows, at("2014-05-02 01:00")) == at("2014-05-02 02:00")
    assert window_end_after(windows, at("2014-05-01 12:00")) is None


@given(
    st.times().map(lambda moment: moment.replace(microsecond=0)),
    st.times().map(lambda moment: moment.replace(microsecond=0)),
    st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_a_window_and_its_complement_share_the_day_between_them(start: time, end: time, moment: datetime) -> None:
    if start != end:
        assert Window(start, end).contains(moment) != Window(end, start).contains(moment)
        assert in_any_window((Window(start, end), Window(end, start)), moment)


@pytest.mark.parametrize(
    ("moment", "trading"),
    [
        ("2014-05-02 20:55", True),
        ("2014-05-02 21:00", False),
        ("2014-05-03 12:00", False),
        ("2014-05-04 20:55", False),
        ("2014-05-04 21:00", True),
        ("2014-01-03 21:55", True),
        ("2014-01-03 22:00", False),
        ("2014-01-05 21:55", False),
        ("2014-01-05 22:00", True),
    ],
)
def test_the_weekend_runs_from_friday_to_sunday_five_in_the_afternoon_of_new_york(moment: str, trading: bool) -> None:
    assert is_trading_bar(at(moment)) is trading


def test_the_trading_day_comes_from_the_time_given_and_begins_at_midnight_of_the_zone() -> None:
    assert trading_day(at("2014-05-01 23:55")) == date(2014, 5, 1)
    assert trading_day(at("2014-05-02 00:00")) == date(2014, 5, 2)
    assert trading_day(at("2014-05-02 03:00"), "America/New_York") == date(2014, 5, 1)


def test_a_window_from_midnight_to_midnight_is_all_day_and_ends_with_each_day_of_its_zone() -> None:
    all_day = Window(time(0), time(0), "America/New_York")
    assert all_day.ends_at == "24:00" and MORNING.ends_at == "10:00"
    for moment in ("2014-05-01 03:59", "2014-05-01 04:00", "2014-05-01 16:00"):
        assert all_day.contains(at(moment))
    assert window_end_after((all_day,), at("2014-05-01 03:59")) == at("2014-05-01 04:00")
    assert window_end_after((all_day,), at("2014-05-01 04:00")) == at("2014-05-02 04:00")


@pytest.mark.parametrize(
    ("venue", "moment", "trading"),
    [
        ("ALPACA", "2014-05-01 13:30", True),
        ("ALPACA", "2014-01-02 13:30", False),
        ("ALPACA", "2014-01-02 14:30", True),
        ("KITE", "2019-07-09 03:44", False),
        ("KITE", "2019-07-09 03:45", True),
        ("KITE", "2019-07-09 09:59", True),
        ("KITE", "2019-07-09 10:00", False),
        ("KITE", "2019-07-13 05:00", False),
    ],
)
@pytest.mark.scenario("S-67")
def test_an_exchange_trades_between_its_bells_on_weekdays_of_its_own_clock(
    venue: str, moment: str, trading: bool
) -> None:
    assert EXCHANGES[venue].is_trading(at(moment), daily=False) is trading
    assert EXCHANGES[venue].is_trading(at(moment), daily=True) is (at(moment).weekday() < 5)
    assert not EXCHANGES[venue].is_trading(at(moment), daily=True, holidays=(at(moment).date(),))
