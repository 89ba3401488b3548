"""Time, prices, bars and candles of the simulator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.simulator.core import matching
from trading.simulator.core.bars import bar_path
from trading.simulator.core.candles import GRANULARITIES, bucket
from trading.simulator.core.hours import Hours
from trading.simulator.core.instruments import INSTRUMENTS
from trading.simulator.core.market import Quote
from trading.simulator.core.model import LIMIT, STOP, Order
from trading.simulator.core.numbers import EPOCH, iso, moment, number, seconds_of, unix
from trading.simulator.core.walk import Walk

from .support import MONDAY, SATURDAY, Inside

LATER = datetime(2029, 1, 1, tzinfo=UTC)


def _bar(start: datetime, opened: str, high: str, low: str, close: str, interval: int = 300) -> dict[str, Any]:
    return {"start": iso(start), "open": opened, "high": high, "low": low, "close": close, "interval": interval}


def test_the_walk_depends_on_seed_instrument_and_time_alone() -> None:
    item, other = INSTRUMENTS["EUR_USD"], INSTRUMENTS["GBP_USD"]
    seconds = [seconds_of(MONDAY) + 5 * step for step in range(0, 30_000, 977)]
    forwards = [Walk(7, item).mid(second) for second in seconds]
    fresh = Walk(7, item)
    assert [fresh.mid(second) for second in reversed(seconds)] == forwards[::-1]
    assert [Walk(8, item).mid(second) for second in seconds] != forwards
    assert [Walk(7, other).mid(second) for second in seconds] != forwards
    assert all(Decimal("0.8") < price < Decimal("1.5") for price in forwards)


def test_the_walk_goes_on_without_a_jump_at_midnight() -> None:
    walk, midnight = Walk(3, INSTRUMENTS["EUR_USD"]), seconds_of(datetime(2026, 1, 7, tzinfo=UTC))
    prices = [walk.mid(midnight + 5 * step) for step in range(-50, 50)]
    moves = [abs(b - a) for a, b in pairwise(prices)]
    assert max(moves) < Decimal("0.0005") and len(set(prices)) > 10


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-01-09T21:58:59Z", True),
        ("2026-01-09T21:59:00Z", False),
        ("2026-01-11T22:04:59Z", False),
        ("2026-01-11T22:05:00Z", True),
        ("2026-07-10T20:58:59Z", True),
        ("2026-07-10T20:59:00Z", False),
        ("2026-07-12T21:05:00Z", True),
    ],
)
def test_the_market_follows_new_york_also_in_summer(at: str, is_open: bool) -> None:
    assert Hours().is_open(moment(at)) is is_open
    assert Hours(always_open=True).is_open(moment(at))


@given(st.datetimes(MONDAY.replace(tzinfo=None), LATER.replace(tzinfo=None)))
def test_the_next_opening_and_the_last_open_moment_are_open(at: datetime) -> None:
    hours, moment_at = Hours(), at.replace(tzinfo=UTC)
    opens, last = hours.next_open(moment_at), hours.last_open(moment_at)
    assert hours.is_open(opens) and hours.is_open(last) and last <= moment_at <= opens
    assert opens - moment_at < timedelta(days=2, hours=1, minutes=10)


@given(st.sampled_from(sorted(GRANULARITIES)), st.integers(seconds_of(MONDAY), seconds_of(MONDAY) + 400 * 86_400))
def test_buckets_hold_their_second_and_tile_time(granularity: str, second: int) -> None:
    low, high = bucket(granularity, second)
    assert low <= second < high
    assert bucket(granularity, high - 1) == (low, high) and bucket(granularity, high)[0] == high


def test_candles_of_the_walk_are_true_and_add_up() -> None:
    sim = Inside()
    _, answer = sim.call("GET", "/v3/instruments/GBP_USD/candles?granularity=M5&count=3000")
    candles = answer["candles"]
    assert len(candles) == 3000 and [c["time"] for c in candles] == sorted({c["time"] for c in candles})
    assert not any(datetime.fromisoformat(c["time"]).weekday() == 5 for c in candles), "nothing is traded on a Saturday"
    assert [c["complete"] for c in candles[-2:]] == [True, False]
    some = sim.call(
        "GET", "/v3/instruments/GBP_USD/candles?granularity=M1&from=2026-01-05T12:00:00Z&to=2026-01-05T12:15:00Z"
    )
    minutes = some[1]["candles"]
    [whole] = sim.call("GET", "/v3/instruments/GBP_USD/candles?granularity=M15&from=2026-01-05T12:00:00Z&count=1")[1][
        "candles"
    ]
    assert len(minutes) == 15 and whole["volume"] == sum(c["volume"] for c in minutes)
    assert whole["mid"] == {
        "o": minutes[0]["mid"]["o"],
        "h": max(c["mid"]["h"] for c in minutes),
        "l": min(c["mid"]["l"] for c in minutes),
        "c": minutes[-1]["mid"]["c"],
    }


@pytest.mark.parametrize("granularity", ["S5", "M1", "M5", "M15", "H1", "H4", "D", "W", "M"])
def test_every_granularity_is_served_and_never_shows_the_future(granularity: str) -> None:
    sim = Inside()
    _, answer = sim.call("GET", f"/v3/instruments/EUR_USD/candles?granularity={granularity}&count=4&price=MBA")
    assert len(answer["candles"]) == 4
    for candle in answer["candles"]:
        assert moment(candle["time"]) <= MONDAY and {"bid", "mid", "ask"} <= set(candle)
        assert Decimal(candle["bid"]["c"]) < Decimal(candle["mid"]["c"]) < Decimal(candle["ask"]["c"])
        for key in "bid", "mid", "ask":
            prices = candle[key]
            assert Decimal(prices["l"]) <= min(map(Decimal, prices.values())) <= Decimal(prices["h"])


def test_a_running_candle_knows_only_what_was_traded_so_far() -> None:
    sim = Inside(MONDAY + timedelta(seconds=100))
    where = "/v3/instruments/GBP_USD/candles?granularity=M5&count=1"
    [early] = sim.call("GET", where)[1]["candles"]
    sim.control("clock", step="190")
    [late] = sim.call("GET", where)[1]["candles"]
    assert (early["volume"], late["volume"]) == (21, 59) and early["time"] == late["time"]
    assert early["mid"]["c"] == format(Walk(1, INSTRUMENTS["GBP_USD"]).mid(seconds_of(MONDAY) + 100), ".5f")


def test_candles_by_times_include_the_first_and_leave_out_the_end() -> None:
    sim = Inside()
    where = "/v3/instruments/EUR_USD/candles?granularity=M5&from=2026-01-05T10:00:00Z"
    starts = [c["time"][11:16] for c in sim.call("GET", f"{where}&to=2026-01-05T10:15:00Z")[1]["candles"]]
    assert starts == ["10:00", "10:05", "10:10"]
    starts = [c["time"][11:16] for c in sim.call("GET", f"{where}&count=2&includeFirst=false")[1]["candles"]]
    assert starts == ["10:05", "10:10"]
    assert sim.call("GET", f"{where}&to=2026-01-05T10:15:00Z&count=2")[0] == 400
    assert sim.call("GET", "/v3/instruments/EUR_USD/candles?granularity=M7")[0] == 400
    assert sim.call("GET", "/v3/instruments/EUR_USD/candles?granularity=M5&count=5001")[0] == 400
    assert sim.call("GET", "/v3/instruments/EUR_USD/candles?granularity=S5&from=0001-01-01T00:00:00Z")[0] == 200


def test_a_bar_moves_the_clock_and_is_a_candle_at_its_close() -> None:
    sim = Inside(MONDAY - timedelta(minutes=5), always_open=True)
    bars = [_bar(MONDAY, "1.38681", "1.38700", "1.38610", "1.38690")]
    answer = sim.control("bars", instrument="EURUSD", bars=bars, half_spread="0.00005")
    assert moment(answer["now"]) == MONDAY + timedelta(minutes=5)
    [candle] = sim.call("GET", f"/v3/instruments/EUR_USD/candles?granularity=M5&count=1&from={iso(MONDAY)}")[1][
        "candles"
    ]
    assert candle["complete"] is True
    assert candle["mid"] == {"o": "1.38681", "h": "1.38700", "l": "1.38610", "c": "1.38690"}
    [price] = sim.call("GET", "/pricing?instruments=EUR_USD")[1]["prices"]
    assert (price["bids"][0]["price"], price["asks"][0]["price"]) == ("1.38685", "1.38695")
    sim.control("clock", step="3600")
    assert sim.world.quote("EUR_USD").bid == Decimal("1.38685"), "a driven instrument walks no more"  # type: ignore[union-attr]


def test_a_bar_is_travelled_not_jumped() -> None:
    sim = Inside(MONDAY, always_open=True)
    sim.control(
        "bars",
        instrument="EUR_USD",
        bars=[_bar(MONDAY, "1.10000", "1.10000", "1.10000", "1.10000")],
        half_spread="0.00005",
    )
    sim.order(
        1000, "LIMIT", price="1.09900", stopLossOnFill={"price": "1.09500"}, takeProfitOnFill={"price": "1.10200"}
    )
    sim.order(-1000, "STOP", price="1.09700", clientExtensions={"id": "short"})
    start = MONDAY + timedelta(minutes=5)
    sim.control("bars", instrument="EUR_USD", bars=[_bar(start, "1.10000", "1.10050", "1.09650", "1.09800")])
    fills = [(row["price"], row["reason"]) for row in sim.account.history if row["type"] == "ORDER_FILL"]
    assert fills == [("1.09900", "LIMIT_ORDER"), ("1.09700", "STOP_ORDER")], (
        "each at its own level, in the order of the way"
    )
    assert not sim.account.open_ids
    start += timedelta(minutes=5)
    sim.order(1000, stopLossOnFill={"price": "1.09700"}, takeProfitOnFill={"price": "1.09900"})
    sim.control("bars", instrument="EUR_USD", bars=[_bar(start, "1.09800", "1.10000", "1.09600", "1.09700")])
    assert sim.last("ORDER_FILL")["reason"] == "TAKE_PROFIT_ORDER" and sim.last("ORDER_FILL")["price"] == "1.09900"
    start += timedelta(minutes=5)
    sim.order(1000, stopLossOnFill={"price": "1.09500"})
    sim.control("bars", instrument="EUR_USD", bars=[_bar(start, "1.09400", "1.09450", "1.09300", "1.09400")])
    assert sim.last("ORDER_FILL")["price"] == "1.09395", "the open of a bar may gap over a stop"


prices = st.integers(90, 110).map(lambda step: Decimal(step) / 100)


@given(prices, prices, prices, prices)
def test_a_bar_is_walked_through_the_nearer_end_first(a: Decimal, b: Decimal, c: Decimal, d: Decimal) -> None:
    high, low = max(a, b, c, d), min(a, b, c, d)
    path = bar_path(a, high, low, d)
    assert path[0] == a and path[3] == d and sorted(path[1:3]) == [low, high]
    assert abs(path[1] - a) <= abs(path[2] - a)


@settings(max_examples=200)
@given(st.sampled_from([LIMIT, STOP]), st.booleans(), prices, prices, prices)
def test_what_is_crossed_is_filled_exactly_at_its_level(
    kind: str, buys: bool, level: Decimal, start: Decimal, end: Decimal
) -> None:
    order = Order("1", "EUR_USD", kind, Decimal(1 if buys else -1), MONDAY, price=level)
    now, target = (Quote(mid - Decimal("0.01"), mid + Decimal("0.01"), MONDAY) for mid in (start, end))
    reached = matching.crossing(order, buys, now, target)
    if reached is None:
        assert matching.is_triggered(order, buys, now) or not matching.is_triggered(order, buys, target)
    else:
        assert matching.done_at(buys, reached) == level and matching.is_triggered(order, buys, reached)
        assert min(now.bid, target.bid) <= reached.bid <= max(now.bid, target.bid)


def test_the_clock_only_goes_back_when_someone_puts_it_back_and_everything_is_flat() -> None:
    sim = Inside(always_open=True)
    with pytest.raises(ValueError, match="below zero"):
        sim.control("clock", step="-1")
    assert sim.control("clock", step="90")["now"] == iso(MONDAY + timedelta(seconds=90))
    sim.control("bars", instrument="EUR_USD", bars=[_bar(MONDAY - timedelta(days=1), "1.1", "1.1", "1.1", "1.1")])
    assert sim.world.now == MONDAY + timedelta(seconds=90), "an old bar is traded without turning the clock back"
    sim.order(1000)
    with pytest.raises(ValueError, match="open trades or orders"):
        sim.control("clock", now=iso(MONDAY))
    sim.call("PUT", "/positions/EUR_USD/close", {"longUnits": "ALL"})
    assert sim.control("clock", now=iso(MONDAY))["now"] == iso(MONDAY)
    sim.wall += 5
    assert sim.runtime.clock.now() == MONDAY


def test_speed_makes_the_clock_run() -> None:
    sim = Inside()
    assert sim.control("clock", speed="60") == {"now": iso(MONDAY), "speed": "60"}
    sim.wall += 2
    sim.runtime.tick()
    assert sim.world.now == MONDAY + timedelta(minutes=2)
    sim.control("clock", speed="0")
    sim.wall += 100
    assert sim.runtime.clock.now() == MONDAY + timedelta(minutes=2)


def test_resting_orders_fill_while_time_passes_the_same_whether_in_one_step_or_in_many() -> None:
    def run(steps: int) -> list[dict[str, Any]]:
        sim = Inside()
        for step in range(1, 40):
            level = format(sim.world.quote("EUR_USD").mid + Decimal(step) / 20_000, ".5f")  # type: ignore[union-attr]
            sim.order(100, "STOP", price=level, stopLossOnFill={"distance": "0.00050"})
        for _ in range(steps):
            sim.control("clock", step=str(Decimal(28_800) / steps))
        ids = ("requestID",)
        return [{k: v for k, v in row.items() if k not in ids} for row in sim.account.history]

    whole = run(1)
    assert len([row for row in whole if row["type"] == "ORDER_FILL"]) > 4
    assert run(9) == whole


def test_over_the_weekend_nothing_trades_and_the_last_price_stands() -> None:
    sim = Inside(SATURDAY)
    quote = sim.world.quote("EUR_USD")
    assert quote is not None and iso(quote.at).startswith("2026-01-09T21:58:55")


BAD_BARS: list[tuple[Any, str]] = [
    ([], "at least one"),
    ([{"start": "yesterday"}], "bar 0: .*not a time"),
    ([_bar(MONDAY, "1.1", "1.0", "1.0", "1.1")], "do not fit"),
    ([_bar(MONDAY, "NaN", "1.0", "1.0", "1.1")], "not a decimal"),
    ([_bar(MONDAY, "1", "1", "1", "1"), _bar(MONDAY, "1", "1", "1", "1")], "bar 1 begins before"),
    ([_bar(MONDAY, "1", "1", "1", "1", 1)], "interval"),
    ("bars", "list"),
]


@pytest.mark.parametrize(("bars", "sentence"), BAD_BARS, ids=[sentence for _, sentence in BAD_BARS])
def test_bad_bars_are_refused_before_any_is_traded(bars: Any, sentence: str) -> None:
    sim = Inside()
    with pytest.raises(ValueError, match=sentence):
        sim.control("bars", instrument="EUR_USD", bars=bars)
    assert not sim.world.state.market.driven


@pytest.mark.parametrize(
    "body",
    [
        {"instrument": "EUR_XXX", "bid": "1", "ask": "1"},
        {"instrument": "EUR_USD", "bid": "1.2", "ask": "1.1"},
        {"instrument": "EUR_USD", "bid": "-1", "ask": "1.1"},
        {"instrument": "EUR_USD", "bid": "1.100001", "ask": "1.2"},
        {"instrument": "EUR_USD", "bid": "1.1"},
    ],
)
def test_bad_prices_are_refused(body: dict[str, Any]) -> None:
    sim = Inside()
    with pytest.raises(ValueError):
        sim.control("prices", **body)
    assert not sim.world.state.market.driven


@given(st.datetimes(EPOCH.replace(tzinfo=None), LATER.replace(tzinfo=None)))
def test_times_are_read_as_they_are_written(at: datetime) -> None:
    aware = at.replace(tzinfo=UTC)
    assert moment(iso(aware)) == aware == moment(unix(aware))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1_0", " 1", "", "1e999", "٣", "--1", "0x10", None, True])
def test_what_is_no_number_is_not_read_as_one(text: Any) -> None:
    with pytest.raises(ValueError):
        number(text)
