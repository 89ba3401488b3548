"""Prices, time, instruments and candles as OANDA gives them, and the feed of closed bars made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.trading.brokers.oanda_wire import TIME, broker_at, routes
from tests.trading.brokers.raw_server import Request, always, answer, serving
from trading.domain.bars import BadBars
from trading.domain.broker import BrokerCandle, BrokerUnreachable
from trading.feeds.base import FeedError
from trading.feeds.broker_candles import BrokerCandles

BAR = timedelta(minutes=5)


def quote(**fields: Any) -> dict[str, Any]:
    shown = {
        "instrument": "EUR_USD",
        "time": TIME,
        "tradeable": True,
        "bids": [{"price": "1.10000", "liquidity": 1}],
        "asks": [{"price": "1.10010", "liquidity": 1}],
        "closeoutBid": "1.09990",
        "closeoutAsk": "1.10020",
    }
    return {**shown, **fields}


def priced(*quotes: dict[str, Any], **fields: Any) -> Any:
    body = {"prices": list(quotes), "time": "2026-01-05T10:00:01.5Z", **fields}
    return routes({"GET /pricing": (200, body)})


def test_a_price_is_the_best_bid_and_ask() -> None:
    with serving(priced(quote())) as server:
        [found] = broker_at(server.url).prices(["EUR_USD"])
        assert parse_qs(urlsplit(server.requests[0].path).query) == {"instruments": ["EUR_USD"]}
    assert (found.bid, found.ask, found.tradeable) == (Decimal("1.1"), Decimal("1.1001"), True)


def test_outside_hours_the_close_out_prices_are_shown_as_not_tradeable() -> None:
    with serving(priced(quote(bids=[], asks=[], tradeable=False))) as server:
        [found] = broker_at(server.url).prices(["EUR_USD"])
    assert (found.bid, found.ask, found.tradeable) == (Decimal("1.0999"), Decimal("1.1002"), False)


def test_a_price_that_makes_no_sense_is_left_out() -> None:
    crossed = quote(instrument="GBP_USD", bids=[{"price": "1.2"}])
    with serving(priced(crossed, quote(bids=[{"price": "NaN"}]), quote(instrument="USD_JPY"))) as server:
        assert [found.instrument for found in broker_at(server.url).prices(["a"])] == ["USD_JPY"]


def test_the_time_is_that_of_the_answer_or_of_its_price() -> None:
    with serving(priced(quote())) as server:
        assert broker_at(server.url).now() == datetime(2026, 1, 5, 10, 0, 1, 500000, UTC)
    with serving(priced(quote(), time=None)) as server:
        assert broker_at(server.url).now() == datetime(2026, 1, 5, 10, 0, 0, 123456, UTC)


def test_an_instrument_has_its_precision_and_pip() -> None:
    row = {
        "name": "USD_JPY",
        "displayName": "USD/JPY",
        "pipLocation": -2,
        "displayPrecision": 3,
        "tradeUnitsPrecision": 0,
        "minimumTradeSize": "1",
        "maximumOrderUnits": "100000000",
        "marginRate": "0.05",
    }
    bad = {**row, "name": "EUR_USD", "displayPrecision": "many"}
    with serving(routes({"GET /instruments": (200, {"instruments": [row, bad]})})) as server:
        [found] = broker_at(server.url).instruments()
    assert (found.symbol, found.base, found.quote, found.pip_size) == ("USD_JPY", "USD", "JPY", Decimal("0.01"))
    assert (found.price_decimals, found.unit_decimals, found.margin_rate) == (3, 0, Decimal("0.05"))


MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


def candle(number: int, complete: bool = True, **mid: str) -> dict[str, Any]:
    at = (MONDAY + number * BAR).isoformat().replace("+00:00", ".000000000Z")
    return {
        "time": at,
        "complete": complete,
        "volume": 5,
        "mid": {"o": "1.1", "h": "1.2", "l": "1.0", "c": "1.15", **mid},
    }


def market_of(total: int, asked: list[dict[str, list[str]]], open_bar: bool = True) -> Any:
    """OANDA with `total` candles, the last one still open: it gives `count` of them from `from` on."""

    def answering(request: Request) -> tuple[int, Any]:
        query = parse_qs(urlsplit(request.path).query)
        asked.append(query)
        first = max(0, -(-(datetime.fromisoformat(query["from"][0]) - MONDAY) // BAR))
        rows = [candle(n, not (open_bar and n == total - 1)) for n in range(first, total)][: int(query["count"][0])]
        return 200, {"instrument": "EUR_USD", "granularity": "M5", "candles": rows}

    return routes({"GET /instruments/EUR_USD/candles": answering})


def test_candles_come_in_pages_up_to_the_present() -> None:
    asked: list[dict[str, list[str]]] = []
    with serving(market_of(5003, asked)) as server:
        found = broker_at(server.url).candles("EUR_USD", since=MONDAY)
    assert len(found) == 5003 and [query["count"] for query in asked] == [["5000"], ["5000"]]
    assert (asked[0]["granularity"], asked[0]["price"], asked[0]["from"]) == (["M5"], ["M"], ["2026-01-05T00:00:00Z"])
    assert "to" not in asked[0], "OANDA refuses an end in its future"
    assert found[-1] == BrokerCandle(
        "EUR_USD",
        MONDAY + 5002 * BAR,
        Decimal("1.1"),
        Decimal("1.2"),
        Decimal("1.0"),
        Decimal("1.15"),
        Decimal(5),
        complete=False,
    )


def test_candles_end_before_until_and_ask_for_little_more() -> None:
    asked: list[dict[str, list[str]]] = []
    with serving(market_of(1000, asked)) as server:
        found = broker_at(server.url).candles("EUR_USD", since=MONDAY + 10 * BAR, until=MONDAY + 13 * BAR)
    assert [each.start for each in found] == [MONDAY + n * BAR for n in (10, 11, 12)]
    assert [query["count"] for query in asked] == [["5"]]


def test_candles_of_a_day_are_asked_for_by_their_own_name() -> None:
    asked: list[dict[str, list[str]]] = []

    def answering(request: Request) -> tuple[int, Any]:
        asked.append(parse_qs(urlsplit(request.path).query))
        rows = [{**candle(0), "time": f"2026-01-{day:02d}T22:00:00Z"} for day in (5, 6)]
        return 200, {"instrument": "EUR_USD", "granularity": "D", "candles": rows}

    with serving(routes({"GET /instruments/EUR_USD/candles": answering})) as server:
        found = broker_at(server.url).candles("EUR_USD", since=MONDAY, interval_seconds=86_400)
        assert [each.start.day for each in found] == [5, 6] and asked[0]["granularity"] == ["D"]
        with pytest.raises(ValueError, match="not of 77 s"):
            broker_at(server.url).candles("EUR_USD", since=MONDAY, interval_seconds=77)
    assert len(asked) == 1


def test_an_empty_span_asks_nothing() -> None:
    with serving(market_of(10, [])) as server:
        assert broker_at(server.url).candles("EUR_USD", since=MONDAY, until=MONDAY) == []
        assert server.requests == []


@pytest.mark.parametrize(
    "candles",
    [
        [candle(1), candle(0)],
        [candle(0), candle(0)],
        [candle(0, h="1.0")],
        [candle(0, o="NaN")],
        [candle(0, c="0")],
        [{**candle(0), "volume": 1.5}],
        [{**candle(0), "complete": "yes"}],
        [candle(-5)],
        None,
    ],
)
def test_candles_that_make_no_sense_are_refused(candles: Any) -> None:
    body = {"instrument": "EUR_USD", "granularity": "M5", "candles": candles}
    with serving(routes({"GET /candles": (200, body)})) as server, pytest.raises(BrokerUnreachable):
        broker_at(server.url).candles("EUR_USD", since=MONDAY, until=MONDAY + 10 * BAR)


def test_candles_of_another_instrument_are_refused() -> None:
    body = {"instrument": "GBP_USD", "granularity": "M5", "candles": []}
    with serving(routes({"GET /candles": (200, body)})) as server, pytest.raises(BrokerUnreachable):
        broker_at(server.url).candles("EUR_USD", since=MONDAY)


def test_the_feed_gives_only_closed_bars_under_our_own_symbol() -> None:
    with serving(market_of(4, [])) as server:
        bars = BrokerCandles(broker_at(server.url), {"EURUSD": "EUR_USD"}).closed_bars("EURUSD", since=MONDAY)
    assert [(bar.symbol, bar.start, bar.interval_seconds) for bar in bars] == [
        ("EURUSD", MONDAY + n * BAR, 300) for n in range(3)
    ]
    assert bars[0].volume == 5 and bars[0].high == Decimal("1.2")


def test_the_feed_refuses_bars_off_the_grid() -> None:
    row = {**candle(0), "time": "2026-01-05T00:00:01Z"}
    body = {"instrument": "EUR_USD", "granularity": "M5", "candles": [row]}
    with serving(routes({"GET /candles": (200, body)})) as server, pytest.raises(BadBars):
        BrokerCandles(broker_at(server.url), {"EURUSD": "EUR_USD"}).closed_bars("EURUSD", since=MONDAY)


def test_as_a_feed_it_gives_bars_that_end_by_the_asked_time_and_refuses_with_a_sentence() -> None:
    with serving(market_of(10, [])) as server:
        feed = BrokerCandles(broker_at(server.url), {"EURUSD": "EUR_USD"})
        assert len(feed.bars("EURUSD", 300, since=MONDAY, until=MONDAY + 3 * BAR)) == 3
        assert len(feed.bars("EURUSD", 300, since=MONDAY)) == 9
        assert feed.bars("EURUSD", 300, since=MONDAY, until=MONDAY + BAR / 2) == []
        for symbol, seconds in (("GBPUSD", 300), ("EURUSD", 60)):
            with pytest.raises(FeedError, match="300 s bars"):
                feed.bars(symbol, seconds, since=MONDAY)
        with pytest.raises(FeedError, match="since None"):
            feed.bars("EURUSD", 300)
    with serving(always(answer(502, ""))) as server, pytest.raises(FeedError, match="no bars of EURUSD from oanda"):
        BrokerCandles(broker_at(server.url), {"EURUSD": "EUR_USD"}).bars("EURUSD", 300, since=MONDAY)
