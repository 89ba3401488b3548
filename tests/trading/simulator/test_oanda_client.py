"""A client that nobody here wrote, over real HTTP, on every endpoint; and the members that every answer must have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import oandapyV20
import pytest
import requests
from oandapyV20 import API
from oandapyV20.endpoints import accounts, instruments, orders, positions, pricing, trades, transactions
from oandapyV20.exceptions import V20Error

from .support import ACCOUNT, BEARER, Process

# Members by definition, with their types: s text, n a decimal number as text, t a time, i a whole number, b a boolean,
# S a list of text, {} an object or a list of objects that is looked into below.
HEAD = {"id": "n", "time": "t", "userID": "i", "accountID": "s", "batchID": "n", "requestID": "n", "type": "s"}
MONEY = dict.fromkeys(
    [
        "unrealizedPL",
        "NAV",
        "marginUsed",
        "marginAvailable",
        "positionValue",
        "marginCloseoutUnrealizedPL",
        "marginCloseoutNAV",
        "marginCloseoutMarginUsed",
        "marginCloseoutPercent",
        "marginCloseoutPositionValue",
        "withdrawalLimit",
        "marginCallMarginUsed",
        "marginCallPercent",
    ],
    "n",
)
SUMMARY = {
    **MONEY, "id": "s", "currency": "s", "balance": "n", "createdByUserID": "i", "createdTime": "t",
    "guaranteedStopLossOrderMode": "s", "pl": "n", "resettablePL": "n", "financing": "n", "commission": "n",
    "dividendAdjustment": "n", "guaranteedExecutionFees": "n", "openTradeCount": "i", "openPositionCount": "i",
    "pendingOrderCount": "i", "hedgingEnabled": "b", "lastTransactionID": "n",
}  # fmt: skip
SIDE = {"units": "n", "pl": "n", "resettablePL": "n", "financing": "n", "unrealizedPL": "n"}
POSITION = {
    "instrument": "s",
    "pl": "n",
    "unrealizedPL": "n",
    "resettablePL": "n",
    "commission": "n",
    "long": SIDE,
    "short": SIDE,
}
TRADE = {
    "id": "n", "instrument": "s", "price": "n", "openTime": "t", "state": "s", "initialUnits": "n", "currentUnits": "n",
    "initialMarginRequired": "n", "realizedPL": "n", "financing": "n",
}  # fmt: skip
ORDER = {"id": "n", "createTime": "t", "state": "s", "type": "s", "timeInForce": "s"}
CREATED = {**HEAD, "instrument": "s", "units": "n", "timeInForce": "s", "positionFill": "s", "reason": "s"}
LEVEL = {"price": "n", "liquidity": "i"}
FILL = {
    **HEAD, "orderID": "n", "instrument": "s", "units": "n", "gainQuoteHomeConversionFactor": "n",
    "lossQuoteHomeConversionFactor": "n", "price": "n", "fullVWAP": "n", "fullPrice": {"bids": LEVEL},
    "reason": "s", "pl": "n", "financing": "n", "commission": "n", "guaranteedExecutionFee": "n",
    "accountBalance": "n", "halfSpreadCost": "n",
}  # fmt: skip
OPENED = {"tradeID": "n", "units": "n", "price": "n", "halfSpreadCost": "n", "initialMarginRequired": "n"}
REDUCED = {"tradeID": "n", "units": "n", "price": "n", "realizedPL": "n", "financing": "n", "halfSpreadCost": "n"}
CANCEL = {**HEAD, "orderID": "n", "reason": "s"}
PRICE = {
    "type": "s", "instrument": "s", "time": "t", "status": "s", "tradeable": "b",
    "closeoutBid": "n", "closeoutAsk": "n",
    "bids": LEVEL, "asks": LEVEL,
    "quoteHomeConversionFactors": {"positiveUnits": "n", "negativeUnits": "n"},
}  # fmt: skip
INSTRUMENT = {
    "name": "s", "type": "s", "displayName": "s", "pipLocation": "i", "displayPrecision": "i",
    "tradeUnitsPrecision": "i", "minimumTradeSize": "n", "maximumTrailingStopDistance": "n",
    "minimumTrailingStopDistance": "n", "maximumPositionSize": "n", "maximumOrderUnits": "n", "marginRate": "n",
}  # fmt: skip
CANDLE = {"time": "t", "volume": "i", "complete": "b", "mid": dict.fromkeys("ohlc", "n")}
DONE = {"relatedTransactionIDs": "S", "lastTransactionID": "n"}


def fits(value: Any, shape: Any, at: str = "answer") -> None:
    """The value has the members of the shape, in their types, and no null anywhere."""
    if isinstance(shape, dict):
        for item in value if isinstance(value, list) else [value]:
            assert isinstance(item, dict), at
            assert not [key for key, member in item.items() if member is None], f"{at}: null"
            for key, inner in shape.items():
                assert key in item, f"{at}.{key} is missing"
                fits(item[key], inner, f"{at}.{key}")
    elif shape == "i":
        assert isinstance(value, int) and not isinstance(value, bool), at
    elif shape == "b":
        assert isinstance(value, bool), at
    elif shape == "S":
        assert isinstance(value, list) and all(isinstance(item, str) for item in value), at
    else:
        assert isinstance(value, str), at
        if shape == "n":
            float(value)
        if shape == "t":
            assert len(value) == 30 and value.endswith("Z"), at


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    found = Process(
        tmp_path_factory.mktemp("simulator"), "--always-open", "--speed", "0", "--start", "2026-01-05T14:00:00Z"
    )
    yield found
    assert found.stop() == 0


@pytest.fixture
def api(process: Process) -> Iterator[API]:
    oandapyV20.oandapyV20.TRADING_ENVIRONMENTS["simulator"] = {"api": process.url, "stream": process.url}
    process.control("POST", f"/accounts/{ACCOUNT}/reset")
    process.control("POST", "/prices", {"instrument": "EUR_USD", "bid": "1.10000", "ask": "1.10010"})
    yield API("sim-oanda-token", environment="simulator", request_params={"timeout": 10})
    oandapyV20.oandapyV20.TRADING_ENVIRONMENTS.pop("simulator")


def _order(**fields: Any) -> dict[str, Any]:
    return {"order": {"type": "MARKET", "instrument": "EUR_USD", "units": "1000", "timeInForce": "FOK", **fields}}


def _limit(**fields: Any) -> dict[str, Any]:
    return _order(type="LIMIT", price="1.05000", timeInForce="GTC", **fields)


def test_accounts(api: API) -> None:
    assert api.request(accounts.AccountList()) == {"accounts": [{"id": ACCOUNT, "tags": []}]}
    api.request(orders.OrderCreate(ACCOUNT, _order(stopLossOnFill={"price": "1.09"})))
    found = api.request(accounts.AccountDetails(ACCOUNT))
    shape = {**SUMMARY, "trades": {**TRADE, "stopLossOrderID": "n"}, "positions": POSITION, "orders": ORDER}
    fits(found, {"account": shape, "lastTransactionID": "n"})
    assert len(found["account"]["trades"]) == len(found["account"]["orders"]) == 1
    fits(api.request(accounts.AccountSummary(ACCOUNT)), {"account": SUMMARY, "lastTransactionID": "n"})
    found = api.request(accounts.AccountInstruments(ACCOUNT))
    fits(found, {"instruments": INSTRUMENT})
    assert {"EUR_USD", "GBP_USD", "USD_JPY", "EUR_GBP", "XAU_USD"} <= {row["name"] for row in found["instruments"]}
    found = api.request(accounts.AccountConfiguration(ACCOUNT, {"alias": "mine", "marginRate": "0.05"}))
    fits(found, {"clientConfigureTransaction": {**HEAD, "alias": "s"}, "lastTransactionID": "n"})
    assert api.request(accounts.AccountSummary(ACCOUNT))["account"]["alias"] == "mine"


def test_changes_tell_what_happened_since(api: API) -> None:
    made = api.request(orders.OrderCreate(ACCOUNT, _order(takeProfitOnFill={"price": "1.2"})))
    api.request(orders.OrderCreate(ACCOUNT, _limit()))
    found = api.request(accounts.AccountChanges(ACCOUNT, {"sinceTransactionID": "2"}))
    changes = found["changes"]
    of_orders = "ordersCreated ordersCancelled ordersFilled ordersTriggered"
    lists = f"{of_orders} tradesOpened tradesReduced tradesClosed positions transactions"
    assert set(changes) == set(lists.split())
    fits(
        changes,
        {
            "ordersCreated": ORDER,
            "ordersFilled": ORDER,
            "tradesOpened": TRADE,
            "positions": POSITION,
            "transactions": HEAD,
        },
    )
    assert [row["type"] for row in changes["ordersCreated"]] == ["MARKET", "TAKE_PROFIT", "LIMIT"]
    assert [row["id"] for row in changes["tradesOpened"]] == [made["orderFillTransaction"]["id"]]
    fits(found["state"], {**MONEY, "trades": {"id": "n", "unrealizedPL": "n", "marginUsed": "n"}})
    fits(found["state"], {"positions": {"instrument": "s", "netUnrealizedPL": "n", "marginUsed": "n"}})
    again = api.request(accounts.AccountChanges(ACCOUNT, {"sinceTransactionID": found["lastTransactionID"]}))
    assert not any(again["changes"].values())
    with pytest.raises(V20Error) as error:
        api.request(accounts.AccountChanges(ACCOUNT, {"sinceTransactionID": "999"}))
    assert error.value.code == 416


def test_prices_and_candles(api: API) -> None:
    found = api.request(
        pricing.PricingInfo(ACCOUNT, {"instruments": "EUR_USD,USD_JPY", "includeHomeConversions": True})
    )
    fits(found, {"prices": PRICE, "time": "t"})
    assert [row["instrument"] for row in found["prices"]] == ["EUR_USD", "USD_JPY"]
    assert found["prices"][0]["bids"][0]["price"] == "1.10000"
    found = api.request(instruments.InstrumentsCandles("USD_JPY", {"granularity": "M5", "count": 5}))
    assert found["instrument"] == "USD_JPY" and found["granularity"] == "M5" and len(found["candles"]) == 5
    fits(found, {"candles": CANDLE})


def test_orders(api: API) -> None:
    found = api.request(
        orders.OrderCreate(ACCOUNT, _order(stopLossOnFill={"price": "1.09"}, tradeClientExtensions={"id": "t"}))
    )
    fits(found, {**DONE, "orderCreateTransaction": CREATED, "orderFillTransaction": {**FILL, "tradeOpened": OPENED}})
    found = api.request(orders.OrderCreate(ACCOUNT, _order(units="-400")))
    fits(found["orderFillTransaction"], {**FILL, "tradeReduced": REDUCED})
    found = api.request(orders.OrderCreate(ACCOUNT, _order(units="90000000")))
    fits(found, {**DONE, "orderCreateTransaction": CREATED, "orderCancelTransaction": CANCEL})
    found = api.request(orders.OrderCreate(ACCOUNT, _limit(clientExtensions={"id": "c", "tag": "t", "comment": "x"})))
    number = found["orderCreateTransaction"]["id"]
    for specifier in (number, "@c"):
        found = api.request(orders.OrderDetails(ACCOUNT, specifier))
        fits(found, {"order": {**ORDER, "instrument": "s", "units": "n", "price": "n"}, "lastTransactionID": "n"})
    assert found["order"]["clientExtensions"] == {"id": "c", "tag": "t", "comment": "x"}
    listed = api.request(orders.OrdersPending(ACCOUNT))["orders"]
    assert [row["type"] for row in listed] == ["LIMIT", "STOP_LOSS"], "newest first"
    assert api.request(orders.OrderList(ACCOUNT, {"state": "PENDING", "instrument": "EUR_USD"}))["orders"] == listed
    assert len(api.request(orders.OrderList(ACCOUNT, {"state": "ALL", "count": 3}))["orders"]) == 3
    assert {row["state"] for row in api.request(orders.OrderList(ACCOUNT, {"state": "FILLED"}))["orders"]} == {"FILLED"}
    assert [row["id"] for row in api.request(orders.OrderList(ACCOUNT, {"ids": number}))["orders"]] == [number]
    extensions = {"clientExtensions": {"id": "d"}, "tradeClientExtensions": {"tag": "y"}}
    found = api.request(orders.OrderClientExtensions(ACCOUNT, number, extensions))
    fits(found, {**DONE, "orderClientExtensionsModifyTransaction": {**HEAD, "orderID": "n"}})
    found = api.request(orders.OrderReplace(ACCOUNT, "@d", _limit(units="500")))
    fits(
        found, {**DONE, "orderCancelTransaction": CANCEL, "orderCreateTransaction": {**CREATED, "replacesOrderID": "n"}}
    )
    found = api.request(orders.OrderCancel(ACCOUNT, found["orderCreateTransaction"]["id"]))
    fits(found, {**DONE, "orderCancelTransaction": CANCEL})


def test_refused_orders_are_errors_with_their_transaction(api: API) -> None:
    with pytest.raises(V20Error) as error:
        api.request(orders.OrderCreate(ACCOUNT, _order(units="1.5")))
    assert error.value.code == 400 and '"UNITS_PRECISION_EXCEEDED"' in error.value.msg
    with pytest.raises(V20Error) as error:
        api.request(orders.OrderCancel(ACCOUNT, "99"))
    assert error.value.code == 404 and "orderCancelRejectTransaction" in error.value.msg
    for request in (orders.OrderDetails(ACCOUNT, "@nothing"), trades.TradeDetails(ACCOUNT, "99")):
        with pytest.raises(V20Error) as error:
            api.request(request)
        assert error.value.code == 404


def test_trades(api: API) -> None:
    made = api.request(orders.OrderCreate(ACCOUNT, _order(tradeClientExtensions={"id": "t"})))
    number = made["orderFillTransaction"]["tradeOpened"]["tradeID"]
    api.request(trades.TradeCRCDO(ACCOUNT, number, {"takeProfit": {"price": "1.2"}, "stopLoss": {"price": "1.09"}}))
    found = api.request(trades.TradeDetails(ACCOUNT, "@t"))
    shape = {**TRADE, "unrealizedPL": "n", "marginUsed": "n", "takeProfitOrder": ORDER, "stopLossOrder": ORDER}
    fits(found, {"trade": shape, "lastTransactionID": "n"})
    found = api.request(trades.TradeCRCDO(ACCOUNT, number, {"takeProfit": None, "stopLoss": {"price": "1.08"}}))
    assert found["takeProfitOrderCancelTransaction"]["reason"] == "CLIENT_REQUEST"
    assert found["stopLossOrderTransaction"]["replacesOrderID"] == found["stopLossOrderCancelTransaction"]["orderID"]
    [trade] = api.request(trades.OpenTrades(ACCOUNT))["trades"]
    assert "takeProfitOrder" not in trade and trade["stopLossOrder"]["price"] == "1.08000"
    found = api.request(trades.TradeClientExtensions(ACCOUNT, number, {"clientExtensions": {"tag": "z"}}))
    fits(found, {**DONE, "tradeClientExtensionsModifyTransaction": {**HEAD, "tradeID": "n"}})
    found = api.request(trades.TradeClose(ACCOUNT, number, {"units": "400"}))
    fits(found, {**DONE, "orderCreateTransaction": CREATED, "orderFillTransaction": {**FILL, "tradeReduced": REDUCED}})
    assert found["orderFillTransaction"]["reason"] == "MARKET_ORDER_TRADE_CLOSE"
    with pytest.raises(V20Error) as error:
        api.request(trades.TradeClose(ACCOUNT, number, {"units": "601"}))
    assert error.value.code == 400 and "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE" in error.value.msg
    found = api.request(trades.TradeClose(ACCOUNT, number))
    assert found["orderFillTransaction"]["tradesClosed"][0]["tradeID"] == number
    [closed] = api.request(trades.TradesList(ACCOUNT, {"state": "CLOSED"}))["trades"]
    fits(closed, {**TRADE, "averageClosePrice": "n", "closeTime": "t", "closingTransactionIDs": "S"})
    assert closed["currentUnits"] == "0" and len(closed["closingTransactionIDs"]) == 2
    assert api.request(trades.TradesList(ACCOUNT))["trades"] == []


def test_positions(api: API) -> None:
    with pytest.raises(V20Error) as error:
        api.request(positions.PositionClose(ACCOUNT, "EUR_USD", {"longUnits": "ALL"}))
    assert error.value.code in (400, 404) and "CLOSEOUT_POSITION_DOESNT_EXIST" in error.value.msg
    api.request(orders.OrderCreate(ACCOUNT, _order()))
    api.request(orders.OrderCreate(ACCOUNT, _order(units="500")))
    found = api.request(positions.OpenPositions(ACCOUNT))
    opened = {**SIDE, "averagePrice": "n", "tradeIDs": "S"}
    fits(found, {"positions": {**POSITION, "long": opened, "marginUsed": "n"}, "lastTransactionID": "n"})
    found = api.request(positions.PositionDetails(ACCOUNT, "EUR_USD"))
    assert found["position"]["long"]["units"] == "1500" and "averagePrice" not in found["position"]["short"]
    found = api.request(positions.PositionClose(ACCOUNT, "EUR_USD", {"longUnits": "1200"}))
    fits(found, {**DONE, "longOrderCreateTransaction": CREATED, "longOrderFillTransaction": FILL})
    api.request(positions.PositionClose(ACCOUNT, "EUR_USD", {"longUnits": "ALL", "shortUnits": "NONE"}))
    assert api.request(positions.OpenPositions(ACCOUNT))["positions"] == []
    assert [row["instrument"] for row in api.request(positions.PositionList(ACCOUNT))["positions"]] == ["EUR_USD"]


def test_transactions(api: API, process: Process) -> None:
    for _ in range(3):
        api.request(orders.OrderCreate(ACCOUNT, _order()))
    pages = api.request(transactions.TransactionList(ACCOUNT, {"pageSize": 3}))
    fits(pages, {"from": "t", "to": "t", "pageSize": "i", "count": "i", "pages": "S", "lastTransactionID": "n"})
    assert pages["count"] == 8 and len(pages["pages"]) == 3
    whole: list[dict[str, Any]] = []
    for page in pages["pages"]:
        whole += requests.get(page, headers={"Authorization": BEARER}, timeout=10).json()["transactions"]
    assert [row["id"] for row in whole] == [str(number) for number in range(1, 9)]
    fits(whole, HEAD)
    assert whole[0]["type"] == "CREATE" and whole[1]["type"] == "TRANSFER_FUNDS" and whole[1]["amount"] == "100000.0000"
    since = api.request(transactions.TransactionsSinceID(ACCOUNT, {"id": "5"}))
    assert since["transactions"] == whole[5:] and since["lastTransactionID"] == "8"
    between = api.request(transactions.TransactionIDRange(ACCOUNT, {"from": "2", "to": "6", "type": "ORDER_FILL"}))
    assert [row["id"] for row in between["transactions"]] == ["4", "6"]
    assert api.request(transactions.TransactionDetails(ACCOUNT, "4"))["transaction"] == whole[3]
    for request in (
        transactions.TransactionDetails(ACCOUNT, "99"),
        transactions.TransactionsSinceID(ACCOUNT, {"id": "99"}),
    ):
        with pytest.raises(V20Error) as error:
            api.request(request)
        assert error.value.code in (404, 416)


def test_headers_connection_and_time_format(process: Process, api: API) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = BEARER
        answer = session.post(f"{process.url}/v3/accounts/{ACCOUNT}/orders", json=_limit(), timeout=10)
        number = answer.json()["orderCreateTransaction"]["id"]
        assert answer.status_code == 201 and answer.headers["Location"].endswith(f"/orders/{number}")
        assert answer.headers["RequestID"] == answer.json()["orderCreateTransaction"]["requestID"]
        assert answer.headers["Content-Type"].startswith("application/json") and answer.raw.version == 11
        assert answer.headers.get("Connection", "keep-alive").lower() != "close"
        where = f"{process.url}/v3/accounts/{ACCOUNT}/orders/{number}"
        unix = session.get(where, headers={"Accept-Datetime-Format": "UNIX"}, timeout=10).json()
        assert unix["order"]["createTime"] == "1767621600.000000000"
        assert session.get(f"{process.url}/v3/nothing", timeout=10).status_code == 404
        assert session.delete(where, timeout=10).status_code == 405
        broken = session.post(f"{process.url}/v3/accounts/{ACCOUNT}/orders", data="{", timeout=10)
        assert broken.status_code == 400 and broken.json()["errorMessage"]


def test_a_wrong_token_is_refused(process: Process) -> None:
    api = API("wrong", environment="practice")
    oandapyV20.oandapyV20.TRADING_ENVIRONMENTS["simulator"] = {"api": process.url, "stream": process.url}
    api.environment = "simulator"
    with pytest.raises(V20Error) as error:
        api.request(accounts.AccountSummary(ACCOUNT))
    assert error.value.code == 401 and "Insufficient authorization" in error.value.msg
