"""Every endpoint that the brokers document, asked of a running simulator over plain HTTP.

Each is either served, with the documented status and members, guarded by the token and closed to other methods, or it
is answered exactly as a path that nobody ever heard of, in the broker's own form, and changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from .support import ACCOUNT, Process

OANDA, ALPACA, KITE = "oanda", "alpaca", "kite"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ACCOUNTS = {OANDA: ACCOUNT, ALPACA: "SIMALPACA", KITE: "SIMKITE"}
HEADERS = {
    OANDA: {"Authorization": "Bearer sim-oanda-token"},
    ALPACA: {"APCA-API-KEY-ID": "SIMKEY", "APCA-API-SECRET-KEY": "sim-alpaca-secret"},
    KITE: {"Authorization": "token simkitekey:sim-kite-token", "X-Kite-Version": "3"},
}
UNAUTHORIZED = {OANDA: 401, ALPACA: 401, KITE: 403}
NOWHERE = {OANDA: f"/v3/accounts/{ACCOUNT}/nowhere", ALPACA: "/v2/nowhere", KITE: "/nowhere"}
ENDPOINTS = [
    tuple(line.split())
    for line in Path(__file__).with_name("endpoints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


@dataclass(frozen=True)
class Served:
    """How an endpoint is asked and what it answers: the members of the answer, or of the first row of a list.

    `row` names the member whose first row has the members.
    """

    members: str = ""
    status: int = 200
    query: str = ""
    body: Any = None
    row: str = ""


_UNITS = {"type": "MARKET", "instrument": "EUR_USD", "units": "10"}
_RESTING = {"type": "LIMIT", "instrument": "EUR_USD", "units": "5", "price": "1.0"}
_LABEL = {"id": "mine", "tag": "label"}
_ORDER = "id instrument units createTime state type timeInForce"
_TRADE = "id instrument price openTime initialUnits currentUnits state realizedPL unrealizedPL financing"
_SIDES = "instrument pl unrealizedPL resettablePL long short"
_ACCOUNT = "id currency balance NAV marginUsed marginAvailable openTradeCount lastTransactionID hedgingEnabled"
_CANDLES = "time volume complete mid"
_BUY = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
_US_ORDER = (
    "id client_order_id created_at updated_at submitted_at filled_at expired_at canceled_at failed_at replaced_at "
    "replaced_by replaces asset_id symbol asset_class qty filled_qty type side time_in_force limit_price stop_price "
    "filled_avg_price status extended_hours legs"
)
_HOLDS = "asset_id symbol exchange asset_class avg_entry_price qty side market_value cost_basis unrealized_pl"
_ASSET = "id class exchange symbol status tradable marginable shortable easy_to_borrow fractionable"
_FORM = {
    "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "quantity": "1", "product": "CNC",
    "order_type": "LIMIT", "price": "1400", "validity": "DAY",
}  # fmt: skip
_LEG = {**_FORM, "quantity": 1, "price": 1395}
_GTT = {
    "type": "single", "orders": json.dumps([_LEG]),
    "condition": json.dumps({"exchange": "NSE", "tradingsymbol": "INFY", "trigger_values": [1400], "last_price": 1500}),
}  # fmt: skip
_IN_BOOK = (
    "order_id exchange_order_id parent_order_id status status_message order_timestamp variety exchange tradingsymbol "
    "instrument_token order_type transaction_type validity product quantity price trigger_price average_price "
    "filled_quantity pending_quantity cancelled_quantity tag guid placed_by"
)
_EXECUTED = (
    "trade_id order_id exchange tradingsymbol product average_price quantity exchange_order_id transaction_type "
    "fill_timestamp order_timestamp exchange_timestamp instrument_token"
)
_WAITING = "id user_id type created_at updated_at expires_at status condition orders"

SERVED: dict[tuple[str, str, str], Served] = {
    (OANDA, "GET", "/v3/accounts"): Served("id tags", row="accounts"),
    (OANDA, "GET", "/v3/instruments/{instrument}/candles"): Served(_CANDLES, query="count=2", row="candles"),
    (ALPACA, "GET", "/v2/account"): Served(
        "id account_number status currency buying_power cash portfolio_value equity pattern_day_trader trading_blocked"
    ),
    (ALPACA, "GET", "/v2/account/configurations"): Served("no_shorting suspend_trade trade_confirm_email"),
    (ALPACA, "GET", "/v2/account/activities"): Served("id activity_type", row="."),
    (ALPACA, "GET", "/v2/account/activities/{activity_type}"): Served(
        "id activity_type transaction_time type price qty side symbol leaves_qty order_id cum_qty order_status", row="."
    ),
    (ALPACA, "GET", "/v2/assets"): Served(_ASSET, row="."),
    (ALPACA, "GET", "/v2/assets/{symbol_or_asset_id}"): Served(_ASSET),
    (ALPACA, "GET", "/v2/calendar"): Served(
        "date open close session_open session_close", query="start=2026-01-05&end=2026-01-09", row="."
    ),
    (ALPACA, "GET", "/v2/clock"): Served("timestamp is_open next_open next_close"),
    (ALPACA, "POST", "/v2/orders"): Served(_US_ORDER, body=_BUY),
    (ALPACA, "GET", "/v2/orders"): Served(_US_ORDER, row="."),
    (ALPACA, "DELETE", "/v2/orders"): Served("id status", 207, row="."),
    (ALPACA, "GET", "/v2/orders/{order_id}"): Served(_US_ORDER),
    (ALPACA, "PATCH", "/v2/orders/{order_id}"): Served(_US_ORDER, body={"limit_price": "101"}),
    (ALPACA, "DELETE", "/v2/orders/{order_id}"): Served(status=204),
    (ALPACA, "GET", "/v2/orders:by_client_order_id"): Served(_US_ORDER, query="client_order_id=resting"),
    (ALPACA, "GET", "/v2/positions"): Served(_HOLDS, row="."),
    (ALPACA, "DELETE", "/v2/positions"): Served("symbol status", 207, row="."),
    (ALPACA, "GET", "/v2/positions/{symbol_or_asset_id}"): Served(_HOLDS),
    (ALPACA, "DELETE", "/v2/positions/{symbol_or_asset_id}"): Served(_US_ORDER),
    (KITE, "POST", "/session/token"): Served("user_id user_name api_key access_token login_time", row="data"),
    (KITE, "DELETE", "/session/token"): Served("status data", query="api_key=simkitekey&access_token=sim-kite-token"),
    (KITE, "POST", "/session/refresh_token"): Served("status message error_type", 403),
    (KITE, "GET", "/user/profile"): Served("user_id user_name email broker exchanges products order_types", row="data"),
    (KITE, "GET", "/user/margins"): Served("equity commodity", row="data"),
    (KITE, "GET", "/user/margins/{segment}"): Served("enabled net available utilised", row="data"),
    (KITE, "GET", "/orders"): Served(_IN_BOOK, row="data"),
    (KITE, "GET", "/trades"): Served(_EXECUTED, row="data"),
    (KITE, "GET", "/orders/{order_id}"): Served(_IN_BOOK, row="data"),
    (KITE, "POST", "/orders/{variety}"): Served("order_id", body=_FORM, row="data"),
    (KITE, "PUT", "/orders/{variety}/{order_id}"): Served("order_id", body={"price": "1401"}, row="data"),
    (KITE, "DELETE", "/orders/{variety}/{order_id}"): Served("order_id", row="data"),
    (KITE, "GET", "/orders/{order_id}/trades"): Served("status data"),
    (KITE, "GET", "/portfolio/positions"): Served("net day", row="data"),
    (KITE, "PUT", "/portfolio/positions"): Served(
        "status data",
        body={**_FORM, "position_type": "day", "old_product": "MIS", "new_product": "CNC"},
    ),
    (KITE, "GET", "/portfolio/holdings"): Served("status data"),
    (KITE, "GET", "/portfolio/holdings/auctions"): Served("status data"),
    (KITE, "GET", "/instruments"): Served(),
    (KITE, "GET", "/instruments/{exchange}"): Served(),
    (KITE, "GET", "/instruments/historical/{instrument_token}/{interval}"): Served(
        "candles", query="from=2026-01-05 09:15:00&to=2026-01-05 10:00:00", row="data"
    ),
    (KITE, "GET", "/quote"): Served("last_price depth ohlc oi volume", query="i=NSE:INFY", row="data.NSE:INFY"),
    (KITE, "GET", "/quote/ohlc"): Served("last_price ohlc", query="i=NSE:INFY", row="data.NSE:INFY"),
    (KITE, "GET", "/quote/ltp"): Served("instrument_token last_price", query="i=NSE:INFY", row="data.NSE:INFY"),
    (KITE, "GET", "/gtt/triggers"): Served(_WAITING, row="data"),
    (KITE, "POST", "/gtt/triggers"): Served("trigger_id", body=_GTT, row="data"),
    (KITE, "GET", "/gtt/triggers/{trigger_id}"): Served(_WAITING, row="data"),
    (KITE, "PUT", "/gtt/triggers/{trigger_id}"): Served("trigger_id", body=_GTT, row="data"),
    (KITE, "DELETE", "/gtt/triggers/{trigger_id}"): Served("trigger_id", row="data"),
    (KITE, "POST", "/margins/orders"): Served("type tradingsymbol exchange total", body=[_LEG], row="data"),
    (KITE, "POST", "/margins/basket"): Served("initial final orders", body=[_LEG], row="data"),
}
SERVED |= {
    (OANDA, method, f"/v3/accounts/{{accountID}}{path}"): served
    for (method, path), served in {
        ("GET", ""): Served(_ACCOUNT + " orders trades positions", row="account"),
        ("GET", "/summary"): Served(_ACCOUNT, row="account"),
        ("GET", "/instruments"): Served("name type pipLocation displayPrecision marginRate", row="instruments"),
        ("PATCH", "/configuration"): Served("clientConfigureTransaction", body={"alias": "desk"}),
        ("GET", "/changes"): Served("changes state lastTransactionID", query="sinceTransactionID=1"),
        ("GET", "/pricing"): Served("instrument time bids asks tradeable", query="instruments=EUR_USD", row="prices"),
        ("GET", "/pricing/stream"): Served(query="instruments=EUR_USD"),
        ("GET", "/instruments/{instrument}/candles"): Served(_CANDLES, query="count=2", row="candles"),
        ("POST", "/orders"): Served("orderCreateTransaction orderFillTransaction", 201, body={"order": _UNITS}),
        ("GET", "/orders"): Served(_ORDER, row="orders"),
        ("GET", "/pendingOrders"): Served(_ORDER, row="orders"),
        ("GET", "/orders/{orderSpecifier}"): Served(_ORDER, row="order"),
        ("PUT", "/orders/{orderSpecifier}"): Served(
            "orderCancelTransaction orderCreateTransaction relatedTransactionIDs", 201, body={"order": _RESTING}
        ),
        ("PUT", "/orders/{orderSpecifier}/cancel"): Served("orderCancelTransaction relatedTransactionIDs"),
        ("PUT", "/orders/{orderSpecifier}/clientExtensions"): Served(
            "orderClientExtensionsModifyTransaction", body={"clientExtensions": _LABEL}
        ),
        ("GET", "/trades"): Served(_TRADE, row="trades"),
        ("GET", "/openTrades"): Served(_TRADE, row="trades"),
        ("GET", "/trades/{tradeSpecifier}"): Served(_TRADE, row="trade"),
        ("PUT", "/trades/{tradeSpecifier}/close"): Served("orderCreateTransaction orderFillTransaction", body={}),
        ("PUT", "/trades/{tradeSpecifier}/clientExtensions"): Served(
            "tradeClientExtensionsModifyTransaction", body={"clientExtensions": _LABEL}
        ),
        ("PUT", "/trades/{tradeSpecifier}/orders"): Served(
            "takeProfitOrderTransaction", body={"takeProfit": {"price": "1.2"}}
        ),
        ("GET", "/positions"): Served(_SIDES, row="positions"),
        ("GET", "/openPositions"): Served(_SIDES, row="positions"),
        ("GET", "/positions/{instrument}"): Served(_SIDES, row="position"),
        ("PUT", "/positions/{instrument}/close"): Served(
            "longOrderCreateTransaction longOrderFillTransaction", body={"longUnits": "ALL"}
        ),
        ("GET", "/transactions"): Served("from to pageSize count pages lastTransactionID"),
        ("GET", "/transactions/{transactionID}"): Served("id time accountID type", row="transaction"),
        ("GET", "/transactions/idrange"): Served("id time type", query="from=1&to=2", row="transactions"),
        ("GET", "/transactions/sinceid"): Served("id time type", query="id=1", row="transactions"),
        ("GET", "/transactions/stream"): Served(),
    }.items()
}
UNSERVED = [tuple(one) for one in ENDPOINTS if tuple(one) not in SERVED]
_STREAMS = ("/pricing/stream", "/transactions/stream")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    options = ("--always-open", "--speed", "0", "--start", "2026-01-05T15:00:00Z")
    found = Process(tmp_path_factory.mktemp("conformance"), *options)
    for name, bid, ask in (
        ("EUR_USD", "1.10000", "1.10010"),
        ("AAPL", "200", "200.02"),
        ("NSE:INFY", "1500", "1500.1"),
    ):
        found.control("POST", "/prices", {"instrument": name, "bid": bid, "ask": ask})
    yield found
    assert found.stop() == 0


def _ask(process: Process, broker: str, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
    """A request in the broker's own form: JSON, or for Kite a form unless it is a list."""
    content = {"data": body} if broker == KITE and isinstance(body, dict) else {"json": body}
    where = f"http://127.0.0.1:{process.taken[broker]}{path}"
    return requests.request(
        method, where, **{"headers": HEADERS[broker], "timeout": 10, "allow_redirects": False, **content, **more}
    )


def _made(process: Process, broker: str) -> dict[str, str]:
    """A fresh account with an order that rests, and one that was filled: what the parts of a path stand for."""
    process.control("POST", f"/accounts/{ACCOUNTS[broker]}/reset")

    def post(path: str, body: Any) -> Any:
        answer = _ask(process, broker, "POST", path, body)
        assert answer.ok, answer.text
        return answer.json()

    if broker == OANDA:
        orders = f"/v3/accounts/{ACCOUNT}/orders"
        filled = post(orders, {"order": _UNITS})["orderFillTransaction"]["tradeOpened"]["tradeID"]
        resting = post(orders, {"order": _RESTING})["orderCreateTransaction"]["id"]
        return {"accountID": ACCOUNT, "instrument": "EUR_USD", "orderSpecifier": resting, "tradeSpecifier": filled,
                "transactionID": "1"}  # fmt: skip
    if broker == ALPACA:
        post("/v2/orders", _BUY)
        limit = {**_BUY, "type": "limit", "limit_price": "100", "client_order_id": "resting"}
        resting = post("/v2/orders", limit)["id"]
        return {"order_id": resting, "symbol_or_asset_id": "AAPL", "activity_type": "FILL"}
    post("/orders/regular", {**_FORM, "order_type": "MARKET", "product": "MIS"})
    resting = post("/orders/regular", _FORM)["data"]["order_id"]
    trigger = str(post("/gtt/triggers", _GTT)["data"]["trigger_id"])
    return {"order_id": resting, "trigger_id": trigger, "variety": "regular", "segment": "equity", "exchange": "NSE",
            "instrument_token": "408065", "interval": "minute"}  # fmt: skip


def _filled_in(path: str, parts: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda part: parts.get(part[1], "1"), path)


def _login(process: Process) -> dict[str, str]:
    """The form of a Kite login."""
    page = _ask(process, KITE, "GET", "/connect/login?api_key=simkitekey&v=3").json()["data"]["request_token"]
    signed = hashlib.sha256(f"simkitekey{page}sim-kite-secret".encode()).hexdigest()
    return {"api_key": "simkitekey", "request_token": page, "checksum": signed}


def _shown(answer: requests.Response, row: str) -> Any:
    """The part of an answer that has the members."""
    found = answer.json() if answer.content else {}
    for part in row.strip(".").split("."):
        found = found[part] if part else found
    if isinstance(found, list):
        assert found, "there is a row"
        found = found[0]
    return found


@pytest.mark.parametrize(("broker", "method", "path"), SERVED)
def test_an_endpoint_answers_as_documented(process: Process, broker: str, method: str, path: str) -> None:
    served = SERVED[broker, method, path]
    where = _filled_in(path, _made(process, broker)) + (f"?{served.query}" if served.query else "")
    body = _login(process) if path == "/session/token" and method == "POST" else served.body
    with _ask(process, broker, method, where, body, stream=path.endswith(_STREAMS)) as answer:
        assert answer.status_code == served.status, answer.text
        if path.endswith(_STREAMS):
            assert json.loads(next(answer.iter_lines(1)))["type"] in ("PRICE", "HEARTBEAT")
            return
        kind = "text/csv" if path.startswith("/instruments") and "historical" not in path else "application/json"
        assert served.status == 204 or answer.headers["Content-Type"].startswith(kind)
        if served.members:
            missing = set(served.members.split()) - set(_shown(answer, served.row))
            assert not missing, f"{missing} of {answer.text}"


@pytest.mark.parametrize("broker", [OANDA, ALPACA, KITE])
def test_no_endpoint_answers_without_a_token_or_to_another_method(process: Process, broker: str) -> None:
    parts = _made(process, broker)
    before = process.control("GET", f"/accounts/{ACCOUNTS[broker]}")
    paths = {path for owner, _, path in SERVED if owner == broker}
    for path in sorted(paths):
        known = {method for owner, method, one in SERVED if (owner, one) == (broker, path)}
        where = _filled_in(path, parts)
        for method in sorted(known) if not path.startswith("/session") else ():
            answer = _ask(process, broker, method, where, headers={})
            assert answer.status_code == UNAUTHORIZED[broker], f"{method} {where} {answer.text}"
        wrong = next(method for method in METHODS if method not in known and (broker, method, path) not in ALSO)
        answer = _ask(process, broker, wrong, where)
        assert answer.status_code == 405, f"{wrong} {where} {answer.status_code} {answer.text}"
        _is_error(broker, answer)
    assert process.control("GET", f"/accounts/{ACCOUNTS[broker]}") == before


# A pattern of another endpoint fits these, too.
ALSO = {
    (KITE, "POST", "/orders/{order_id}"),
    (KITE, "GET", "/orders/{variety}"),
}  # fmt: skip


def _is_error(broker: str, answer: requests.Response) -> None:
    """Whether it is an error in the broker's own form."""
    body = answer.json()
    if broker == OANDA:
        assert isinstance(body["errorMessage"], str) and answer.headers["RequestID"]
    elif broker == ALPACA:
        assert isinstance(body["code"], int) and isinstance(body["message"], str)
    else:
        assert (body["status"], body["data"]) == ("error", None) and body["message"] and body["error_type"]


@pytest.mark.parametrize("broker", [OANDA, ALPACA, KITE])
def test_what_is_not_served_is_answered_like_a_path_that_nobody_knows(process: Process, broker: str) -> None:
    parts = _made(process, broker)
    before = process.control("GET", f"/accounts/{ACCOUNTS[broker]}")
    unknown = _ask(process, broker, "GET", NOWHERE[broker])
    assert unknown.status_code == 404
    _is_error(broker, unknown)
    mine = [(method, path) for owner, method, path in UNSERVED if owner == broker]
    assert mine
    for method, path in mine:
        answer = _ask(process, broker, method, _filled_in(path, parts), {} if method != "GET" else None)
        if answer.status_code == 405:
            assert any(one == path for owner, _, one in SERVED if owner == broker), f"{method} {path}"
            _is_error(broker, answer)
            continue
        assert (answer.status_code, answer.json()) == (404, unknown.json()), f"{method} {path}: {answer.text}"
    assert process.control("GET", f"/accounts/{ACCOUNTS[broker]}") == before


def test_every_endpoint_that_is_served_is_a_documented_one() -> None:
    assert set(SERVED) <= {tuple(one) for one in ENDPOINTS}
    assert len(SERVED) + len(UNSERVED) == len(set(map(tuple, ENDPOINTS))) == len(ENDPOINTS)
