"""The real alpaca-py, with its strict models, against the simulator as a process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from alpaca.common.enums import Sort
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import (
    AssetClass,
    AssetStatus,
    OrderClass,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionSide,
    QueryOrderStatus,
    TimeInForce,
)
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from ..support import Process

START = "2026-01-05T15:00:00Z"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    found = Process(tmp_path_factory.mktemp("alpaca"), "--speed", "0", "--start", START)
    yield found
    found.stop()


@pytest.fixture
def client(process: Process) -> Iterator[TradingClient]:
    """The default account, fresh; AAPL at 99.99 to 100.01."""
    process.control("POST", "/accounts/SIMALPACA/reset")
    process.control("POST", "/prices", {"instrument": "AAPL", "bid": "99.99", "ask": "100.01"})
    found = TradingClient("SIMKEY", "sim-alpaca-secret", url_override=f"http://127.0.0.1:{process.taken['alpaca']}")
    found._retry = 0
    yield found
    found._session.close()


@pytest.fixture(scope="module")
def data(process: Process) -> Iterator[StockHistoricalDataClient]:
    where = f"http://127.0.0.1:{process.taken['alpaca']}"
    found = StockHistoricalDataClient("SIMKEY", "sim-alpaca-secret", url_override=where)
    yield found
    found._session.close()


def market(qty: float = 10, side: OrderSide = OrderSide.BUY, **more: Any) -> MarketOrderRequest:
    return MarketOrderRequest(symbol="AAPL", qty=qty, side=side, time_in_force=TimeInForce.DAY, **more)


def test_account_assets_clock_and_calendar(client: TradingClient) -> None:
    account: Any = client.get_account()
    assert (account.account_number, account.cash, account.buying_power) == ("SIMALPACA", "100000", "100000")
    assert account.status.value == "ACTIVE" and account.equity == "100000" and account.multiplier == "1"
    configuration: Any = client.get_account_configurations()
    assert configuration.no_shorting is False
    assets: Any = client.get_all_assets(GetAssetsRequest(status=AssetStatus.ACTIVE, asset_class=AssetClass.US_EQUITY))
    assert {asset.symbol for asset in assets} == {"AAPL", "SPY", "MSFT", "IBM", "GOOG"}
    one: Any = client.get_asset("SPY")
    assert one.shortable and client.get_asset(str(one.id)).symbol == "SPY"  # type: ignore[union-attr]
    clock: Any = client.get_clock()
    assert clock.is_open and clock.next_close == datetime(2026, 1, 5, 21, tzinfo=UTC)
    days: Any = client.get_calendar(GetCalendarRequest(start=date(2025, 12, 24), end=date(2025, 12, 26)))
    assert [(day.date.day, day.close.hour) for day in days] == [(24, 13), (26, 16)]
    with pytest.raises(APIError) as error:
        client.get_asset("ZZZZ")
    assert error.value.status_code == 404 and error.value.code == 40410000


def test_a_market_order_is_answered_before_it_fills(client: TradingClient) -> None:
    order: Any = client.submit_order(market(client_order_id="mine"))
    assert order.status is OrderStatus.PENDING_NEW and order.filled_qty == "0" and order.client_order_id == "mine"
    found: Any = client.get_order_by_client_id("mine")
    assert found.id == order.id and found.status is OrderStatus.FILLED and found.filled_avg_price == "100.01"
    position: Any = client.get_open_position("AAPL")
    assert (position.qty, position.side, position.avg_entry_price) == ("10", PositionSide.LONG, "100.01")
    assert position.qty_available == "10" and position.cost_basis == "1000.1"
    assert client.get_account().cash == "98999.9"  # type: ignore[union-attr]
    with pytest.raises(APIError) as error:
        client.submit_order(market(client_order_id="mine"))
    assert (error.value.status_code, error.value.code) == (422, 40010001)
    assert error.value.message == "client_order_id must be unique"


def test_every_type_of_order_is_understood(client: TradingClient) -> None:
    common: dict[str, Any] = {"symbol": "AAPL", "qty": 3, "side": OrderSide.BUY, "time_in_force": TimeInForce.GTC}
    requests = [
        LimitOrderRequest(limit_price=90.5, **common),
        StopOrderRequest(stop_price=110, **common),
        StopLimitOrderRequest(stop_price=110, limit_price=111, **common),
        TrailingStopOrderRequest(trail_percent=1.5, **common),
        TrailingStopOrderRequest(trail_price=2, **common),
        LimitOrderRequest(**{**common, "time_in_force": TimeInForce.DAY}, limit_price=90, extended_hours=True),
    ]
    orders: list[Any] = [client.submit_order(request) for request in requests]
    read: list[Any] = [client.get_order_by_id(order.id) for order in orders]
    assert [order.status for order in read] == [OrderStatus.NEW] * 6
    assert [order.type for order in read[:4]] == [
        OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP,
    ]  # fmt: skip
    assert (read[3].trail_percent, read[3].stop_price, read[3].hwm) == ("1.5", "101.51", "100.01")
    listed: Any = client.get_orders()
    assert [order.id for order in listed] == [order.id for order in reversed(orders)], "open ones, the newest first"
    some: Any = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, limit=2, direction=Sort.ASC))
    assert [order.id for order in some] == [orders[0].id, orders[1].id]
    cancelled: Any = client.cancel_orders()
    assert {(one.id, one.status) for one in cancelled} == {(order.id, 200) for order in orders}
    assert client.get_orders() == []
    closed: Any = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED, symbols=["AAPL"]))
    assert {order.status for order in closed} == {OrderStatus.CANCELED}


def test_replace_and_cancel(client: TradingClient) -> None:
    order: Any = client.submit_order(
        LimitOrderRequest(symbol="AAPL", qty=5, side="buy", time_in_force="gtc", limit_price=90)
    )
    fresh: Any = client.replace_order_by_id(order.id, ReplaceOrderRequest(qty=7, limit_price=91.5))
    assert fresh.id != order.id and fresh.replaces == order.id and (fresh.qty, fresh.limit_price) == ("7", "91.5")
    old: Any = client.get_order_by_id(order.id)
    assert old.status is OrderStatus.REPLACED and old.replaced_by == fresh.id
    assert fresh.client_order_id != order.client_order_id
    with pytest.raises(APIError) as error:
        client.replace_order_by_id(fresh.id, ReplaceOrderRequest(limit_price=91.5))
    assert error.value.status_code == 403 and error.value.message == "order parameters are not changed"
    client.cancel_order_by_id(fresh.id)
    assert client.get_order_by_id(fresh.id).status is OrderStatus.CANCELED  # type: ignore[union-attr]
    with pytest.raises(APIError) as error:
        client.cancel_order_by_id(fresh.id)
    assert error.value.status_code == 422 and error.value.code == 42210000


def test_bracket_oco_and_oto(client: TradingClient, process: Process) -> None:
    exits: dict[str, Any] = {
        "take_profit": TakeProfitRequest(limit_price=110), "stop_loss": StopLossRequest(stop_price=95),
    }  # fmt: skip
    bracket: Any = client.submit_order(market(order_class=OrderClass.BRACKET, **exits))
    assert bracket.order_class is OrderClass.BRACKET
    assert [leg.status for leg in bracket.legs] == [OrderStatus.HELD, OrderStatus.HELD]
    whole: Any = client.get_order_by_id(bracket.id, GetOrderByIdRequest(nested=True))
    assert [(leg.type, leg.status) for leg in whole.legs] == [
        (OrderType.LIMIT, OrderStatus.NEW), (OrderType.STOP, OrderStatus.HELD),
    ]  # fmt: skip
    nested: Any = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=True))
    assert [len(order.legs) for order in nested] == [2]
    with pytest.raises(APIError) as error:
        client.close_position("AAPL")
    assert error.value.status_code == 403 and "insufficient qty available for order" in error.value.message
    client.cancel_order_by_id(whole.legs[1].id)
    assert client.get_orders() == []
    oco: Any = client.submit_order(
        LimitOrderRequest(
            symbol="AAPL", qty=10, side="sell", time_in_force="gtc", order_class="oco", limit_price=110, **exits
        )
    )
    assert [leg.status for leg in oco.legs] == [OrderStatus.HELD]
    process.control("POST", "/prices", {"instrument": "AAPL", "bid": "94.50", "ask": "94.52"})
    assert client.get_order_by_id(oco.id).status is OrderStatus.CANCELED  # type: ignore[union-attr]
    stop: Any = client.get_order_by_id(oco.legs[0].id)
    assert stop.status is OrderStatus.FILLED and stop.filled_avg_price == "94.5"
    oto: Any = client.submit_order(market(order_class="oto", stop_loss=StopLossRequest(stop_price=90, limit_price=89)))
    legs: Any = client.get_order_by_id(oto.id, GetOrderByIdRequest(nested=True)).legs  # type: ignore[union-attr]
    assert [(leg.type, leg.status) for leg in legs] == [(OrderType.STOP_LIMIT, OrderStatus.NEW)]


def test_positions_are_closed_in_part_and_all_at_once(client: TradingClient) -> None:
    client.submit_order(market(10))
    client.submit_order(MarketOrderRequest(symbol="SPY", qty=2, side="sell", time_in_force="day"))
    part: Any = client.close_position("AAPL", ClosePositionRequest(percentage="25"))
    assert part.qty == "2.5"
    shorts: Any = client.get_open_position("SPY")
    assert shorts.side is PositionSide.SHORT and shorts.qty == "-2"
    client.submit_order(LimitOrderRequest(symbol="AAPL", qty=7, side="sell", time_in_force="gtc", limit_price=120))
    answers: Any = client.close_all_positions(cancel_orders=False)
    assert {(one.symbol, one.status) for one in answers} == {("AAPL", 403), ("SPY", 200)}
    failed = next(one.body for one in answers if one.status == 403)
    assert failed.code == 40310000 and failed.available == 0.5
    answers = client.close_all_positions(cancel_orders=True)
    assert [(one.symbol, one.status) for one in answers] == [("AAPL", 200)]
    assert client.get_all_positions() == [] and client.get_orders() == []
    with pytest.raises(APIError) as error:
        client.get_open_position("AAPL")
    assert error.value.code == 40410000


def test_activities_come_in_pages(client: TradingClient, process: Process) -> None:
    for _ in range(5):
        client.submit_order(market(1))
    for body in (
        {"kind": "dividend", "amount": "1.25", "instrument": "AAPL"}, {"kind": "fee", "amount": "-0.02"},
        {"kind": "financing", "amount": "-3"}, {"kind": "transfer", "amount": "500"},
        {"kind": "transfer", "amount": "-100"},
    ):  # fmt: skip
        process.control("POST", "/accounts/SIMALPACA/external", body)
    every: Any = client.get("/account/activities", {"direction": "asc"})
    kinds = [row["activity_type"] for row in every]
    assert kinds == ["CSD", *["FILL"] * 5, "DIV", "FEE", "INT", "CSD", "CSW"]
    pages, token = [], ""
    while True:
        query = {"page_size": 2, "direction": "asc", **({"page_token": token} if token else {})}
        page: Any = client.get("/account/activities", query)
        if not page:
            break
        pages += page
        token = page[-1]["id"]
    assert pages == every
    down: Any = client.get("/account/activities", {"page_size": 3})
    assert down == every[::-1][:3]
    fills: Any = client.get("/account/activities/FILL")
    assert len(fills) == 5 and fills[0] == every[5] and fills[0]["price"] == "100.01"
    dividend: Any = client.get("/account/activities/DIV", {"date": "2026-01-05"})
    assert dividend[0]["per_share_amount"] == "0.25" and dividend[0]["qty"] == "5"
    assert client.get("/account/activities/DIV", {"date": "2026-01-06"}) == []
    assert client.get("/account/activities", {"after": START}) == [], "everything happened at that very moment"
    category: Any = client.get("/account/activities", {"category": "non_trade_activity", "until": "2026-01-06"})
    assert len(category) == 6


def test_bars_and_quotes(data: StockHistoricalDataClient, client: TradingClient, process: Process) -> None:
    quotes: Any = data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=["AAPL", "SPY"]))
    assert (quotes["AAPL"].bid_price, quotes["AAPL"].ask_price) == (99.99, 100.01) and quotes["SPY"].bid_price > 100
    trades: Any = data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))
    assert trades["AAPL"].price == 100.0
    latest: Any = data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="SPY"))
    assert latest["SPY"].timestamp == datetime(2026, 1, 5, 14, 59, tzinfo=UTC)
    common: dict[str, Any] = {
        "symbol_or_symbols": ["MSFT", "SPY"], "start": datetime(2025, 12, 23, tzinfo=UTC), "feed": DataFeed.IEX,
        "adjustment": Adjustment.RAW,
    }  # fmt: skip
    daily: Any = data.get_stock_bars(StockBarsRequest(timeframe=TimeFrame.Day, **common))
    days = [bar.timestamp for bar in daily["SPY"]]
    assert days[0] == datetime(2025, 12, 23, 5, tzinfo=UTC) and days[-1] == datetime(2026, 1, 5, 5, tzinfo=UTC)
    assert len(days) == 8 and daily["MSFT"][0].low <= daily["MSFT"][0].open <= daily["MSFT"][0].high
    five: Any = data.get_stock_bars(
        StockBarsRequest(timeframe=TimeFrame(5, TimeFrameUnit.Minute), **common, end=datetime(2025, 12, 24, tzinfo=UTC))
    )
    assert len(five["SPY"]) == 78 and five["SPY"][0].timestamp == datetime(2025, 12, 23, 14, 30, tzinfo=UTC)
    hours: Any = data.get_stock_bars(StockBarsRequest(timeframe=TimeFrame.Hour, **common, limit=4, sort=Sort.DESC))
    assert sum(len(rows) for rows in hours.data.values()) == 4
    assert hours["MSFT"][0].timestamp == datetime(2026, 1, 5, 14, tzinfo=UTC), "the running hour is no bar yet"


def test_who_may_ask(process: Process, client: TradingClient) -> None:
    stranger = TradingClient("SIMKEY", "wrong", url_override=f"http://127.0.0.1:{process.taken['alpaca']}")
    with pytest.raises(APIError) as error:
        stranger.get_account()
    stranger._session.close()
    assert error.value.status_code == 401 and error.value.code == 40110000
    made = process.control("POST", "/accounts", {"broker": "alpaca", "currency": "USD", "cash": "500"})
    key, secret = made["credentials"]["key"], made["credentials"]["secret"]
    other = TradingClient(key, secret, url_override=f"http://127.0.0.1:{process.taken['alpaca']}")
    assert Decimal(other.get_account().cash) == 500  # type: ignore[union-attr,arg-type]
    with pytest.raises(APIError) as error:
        other.submit_order(market(10))
    other._session.close()
    assert error.value.status_code == 403 and error.value.message == "insufficient buying power"
