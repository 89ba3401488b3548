"""Reading an Alpaca account: snapshots and their completeness, look-ups, prices, bars, shares, and the wire below."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.trading.brokers.alpaca.alpaca_wire import (
    ACCOUNT_ROW,
    BRACKET,
    BUY,
    KEY,
    NO_ORDER,
    NOW,
    SECRET,
    SmallAlpaca,
    at,
    bracket_row,
    broker_at,
    cash_row,
    fill_row,
    filled,
    order_row,
)
from tests.trading.brokers.raw_server import Request, serving
from trading.domain.broker import (
    Absent,
    BrokerNeedsLogin,
    BrokerOrderStatus,
    BrokerSnapshot,
    BrokerUnreachable,
    Completeness,
    Found,
    LegRole,
    LookupFailed,
    Side,
)

POSITION = {"symbol": "AAPL", "qty": "10", "side": "long", "avg_entry_price": "200.1", "unrealized_pl": "4.5"}


def shown(**fields: Any) -> BrokerSnapshot:
    with serving(SmallAlpaca(**fields)) as server:
        return broker_at(server.url).snapshot()


def test_the_key_says_which_account_it_is() -> None:
    with serving(SmallAlpaca()) as server:
        identity = broker_at(server.url, account_id="").identity()
    assert (identity.account_id, identity.currency, identity.hedging) == ("SIMALPACA", "USD", False)


def test_a_snapshot_has_cash_positions_and_orders_of_one_moment() -> None:
    snapshot = shown(orders=[filled(), order_row("resting", "ours")], activities=[fill_row()], positions=[POSITION])
    assert snapshot.completeness is Completeness.COMPLETE
    assert (snapshot.account_id, snapshot.currency, snapshot.at) == ("SIMALPACA", "USD", NOW)
    assert snapshot.cash == {"USD": Decimal(97999)}
    [position] = snapshot.positions
    assert (position.instrument, position.side, position.quantity) == ("AAPL", Side.BUY, Decimal(10))
    assert (position.average_price, position.unrealised) == (Decimal("200.1"), Decimal("4.5"))
    [order] = snapshot.orders
    assert (order.client_id, order.status, order.quantity) == ("ours", BrokerOrderStatus.WORKING, Decimal(10))


def test_a_snapshot_is_cut_where_the_history_was_read_up_to() -> None:
    alpaca = SmallAlpaca(orders=[filled()], activities=[cash_row("CSD", "100000", hours=-99), fill_row()])
    with serving(alpaca) as server:
        broker = broker_at(server.url)
        cursor = broker.events_since("").cursor
        assert broker.snapshot().last_event_id == cursor
        alpaca.activities.append(cash_row("FEE", "-1", 901, hours=-0.1))
        later = broker.snapshot()
        assert later.completeness is Completeness.COMPLETE and later.last_event_id != cursor
        assert broker.events_since(cursor).cursor == later.last_event_id


def test_the_legs_of_an_entry_rest_as_its_legs() -> None:
    done = bracket_row("filled", "new", filled_qty="10", filled_at=at(-0.9))
    done["legs"][1]["status"] = "held"
    snapshot = shown(orders=[done], activities=[fill_row(order_id="parent")], positions=[POSITION])
    assert {(order.broker_order_id, order.parent_client_id, order.leg, order.price) for order in snapshot.orders} == {
        ("leg-target", BRACKET.client_id, LegRole.TP1, Decimal(210)),
        ("leg-stop", BRACKET.client_id, LegRole.STOP, Decimal("190.5")),
    }


def test_an_order_that_rests_since_long_is_in_the_snapshot() -> None:
    snapshot = shown(orders=[order_row("old", "ours", hours=-1000)])
    assert [order.broker_order_id for order in snapshot.orders] == ["old"]
    assert snapshot.completeness is Completeness.COMPLETE


def test_a_short_position_is_a_sale_however_its_quantity_is_written() -> None:
    for quantity in ("-10", "10"):
        [position] = shown(positions=[{**POSITION, "qty": quantity, "side": "short"}]).positions
        assert (position.side, position.quantity) == (Side.SELL, Decimal(10))


def test_a_status_that_is_not_known_stays_an_open_order() -> None:
    snapshot = shown(orders=[order_row(status="a_brand_new_status")])
    assert [(order.status, order.raw_status) for order in snapshot.orders] == [
        (BrokerOrderStatus.OTHER, "a_brand_new_status")
    ]
    assert snapshot.completeness is Completeness.COMPLETE


def test_rows_that_cannot_be_read_make_their_own_part_partial() -> None:
    strange = order_row("strange", side="sideways")
    snapshot = shown(orders=[order_row(), strange], positions=[POSITION, {**POSITION, "qty": "many"}])
    assert snapshot.orders_part.completeness is snapshot.positions_part.completeness is Completeness.PARTIAL
    assert len(snapshot.orders) == len(snapshot.positions) == 1
    assert snapshot.cash_part.completeness is Completeness.COMPLETE


@pytest.mark.parametrize("cash", ["NaN", None, "", "1e99"])
def test_cash_that_cannot_be_read_fails_its_part(cash: Any) -> None:
    snapshot = shown(account={**ACCOUNT_ROW, "cash": cash})
    assert snapshot.cash_part.completeness is Completeness.FAILED and snapshot.cash == {}


def test_positions_that_are_not_answered_fail_their_part_and_are_not_flat() -> None:
    snapshot = shown(routes={"GET /v2/positions": (502, "<html>bad gateway</html>")})
    assert snapshot.positions_part.completeness is Completeness.FAILED
    assert snapshot.completeness is Completeness.PARTIAL


def test_an_account_that_changes_all_the_time_is_not_complete() -> None:
    alpaca = SmallAlpaca()

    def changing(request: Request) -> tuple[int, Any]:
        alpaca.activities.append(cash_row("FEE", "-1", 901 + len(alpaca.activities), hours=-0.1))
        return 200, []

    alpaca.routes["GET /v2/positions"] = changing
    with serving(alpaca) as server:
        snapshot = broker_at(server.url).snapshot()
    assert snapshot.completeness is Completeness.PARTIAL and "changed while" in snapshot.cash_part.reason
    assert len(alpaca.activities) == 3, "it is tried three times"


@pytest.mark.parametrize("route", ["GET /v2/account", "GET /v2/orders", "GET /v2/account/activities", "GET /v2/clock"])
@pytest.mark.parametrize("answered", [(504, "<html>"), (200, "{trunca"), (302, {}), (429, {"code": 42910000})])
def test_an_account_that_cannot_be_read_is_unreachable_and_never_empty(route: str, answered: Any) -> None:
    with pytest.raises(BrokerUnreachable, match="says nothing about positions or money"):
        shown(routes={route: answered})


def test_the_account_of_another_key_is_not_shown() -> None:
    with pytest.raises(BrokerNeedsLogin, match="belongs to account OTHER"):
        shown(account={**ACCOUNT_ROW, "account_number": "OTHER"})


@pytest.mark.parametrize(
    "refusal", [(401, {"code": 40110000, "message": "no"}), (401, "<html>"), (403, {"message": "forbidden."})]
)
def test_a_key_that_is_turned_away_asks_for_a_login(refusal: Any) -> None:
    with pytest.raises(BrokerNeedsLogin):
        shown(routes={"GET /v2/positions": refusal} if refusal[1] != "<html>" else {"GET /v2/account": refusal})


def test_a_look_up_finds_an_order_with_its_legs() -> None:
    flat = {**bracket_row(), "legs": None}
    alpaca = SmallAlpaca(orders=[bracket_row()], routes={"GET /v2/orders:by_client_order_id": (200, flat)})
    with serving(alpaca) as server:
        found = broker_at(server.url).order_by_client_id(BRACKET.client_id)
    assert isinstance(found, Found) and found.order.broker_order_id == "parent"
    assert [(leg.broker_order_id, leg.parent_client_id, leg.leg) for leg in found.legs] == [
        ("leg-target", BRACKET.client_id, LegRole.TP1),
        ("leg-stop", BRACKET.client_id, LegRole.STOP),
    ]
    assert len(found.evidence) == 2


def test_only_a_no_in_alpacas_own_words_is_absent() -> None:
    path = "GET /v2/orders:by_client_order_id"
    outcomes = []
    for answered in (NO_ORDER, (404, "<html>"), (404, {}), (500, {"code": 50010000}), (200, "{"), (200, [])):
        with serving(SmallAlpaca(routes={path: answered})) as server:
            outcomes.append(broker_at(server.url).order_by_client_id(BUY.client_id))
    assert isinstance(outcomes[0], Absent)
    assert all(isinstance(outcome, LookupFailed) for outcome in outcomes[1:]), outcomes


def test_the_answer_about_another_order_is_no_look_up() -> None:
    other = (200, order_row(client_id="somebody-elses"))
    with serving(SmallAlpaca(routes={"GET /v2/orders:by_client_order_id": other})) as server:
        assert isinstance(broker_at(server.url).order_by_client_id(BUY.client_id), LookupFailed)


def test_a_client_id_is_asked_for_literally() -> None:
    name = "a b/ü&c=1#?"
    with serving(SmallAlpaca(orders=[order_row(client_id=name)])) as server:
        assert isinstance(broker_at(server.url).order_by_client_id(name), Found)


def test_the_price_is_the_latest_quote_and_tradeable_while_the_market_is_open() -> None:
    quotes = {
        "AAPL": {"t": at(), "bp": 199.99, "ap": 200.01, "bs": 1, "as": 2},
        "SPY": {"t": at(), "bp": 0, "ap": 550.1},
        "IBM": {"t": at(), "bp": 215.5, "ap": 215.4},
    }
    alpaca = SmallAlpaca(is_open=False, routes={"GET /v2/stocks/quotes/latest": (200, {"quotes": quotes})})
    with serving(alpaca) as server:
        [price] = broker_at(server.url).prices(["AAPL", "SPY", "IBM", "GOOG"])
        assert broker_at(server.url).prices([]) == []
    assert (price.instrument, price.bid, price.ask) == ("AAPL", Decimal("199.99"), Decimal("200.01"))
    assert (price.at, price.tradeable) == (NOW, False)


def bar(start: datetime, **fields: Any) -> dict[str, Any]:
    row = {"t": start.isoformat().replace("+00:00", "Z"), "o": 200.1, "h": 201, "l": 199.5, "c": 200.4, "v": 1200}
    return {**row, **fields}


def bars_of(rows: list[dict[str, Any]], asked: list[dict[str, list[str]]], page: int = 2) -> SmallAlpaca:
    def answering(request: Request) -> tuple[int, Any]:
        query = parse_qs(urlsplit(request.path).query)
        asked.append(query)
        first = int(query.get("page_token", ["0"])[0])
        more = str(first + page) if first + page < len(rows) else None
        return 200, {"bars": {"AAPL": rows[first : first + page]}, "next_page_token": more}

    return SmallAlpaca(routes={"GET /v2/stocks/bars": answering})


def test_bars_come_page_by_page_and_end_before_until() -> None:
    asked: list[dict[str, list[str]]] = []
    start = NOW - timedelta(minutes=25)
    rows = [bar(start + n * timedelta(minutes=5)) for n in range(6)]
    with serving(bars_of(rows, asked)) as server:
        broker = broker_at(server.url)
        found = broker.candles("AAPL", since=start)
        until = broker.candles("AAPL", since=start, until=start + timedelta(minutes=15))
    assert [candle.start for candle in found] == [start + n * timedelta(minutes=5) for n in range(6)]
    assert [candle.complete for candle in found] == [True] * 5 + [False]
    assert (found[0].open, found[0].high, found[0].volume) == (Decimal("200.1"), Decimal(201), Decimal(1200))
    assert len(until) == 3
    assert asked[0]["timeframe"] == ["5Min"] and asked[0]["adjustment"] == ["raw"] and len(asked) == 6


def test_bars_of_a_day_can_be_asked_for() -> None:
    asked: list[dict[str, list[str]]] = []
    rows = [bar(datetime(2026, 1, day, 5, tzinfo=UTC)) for day in (5, 6, 7)]
    with serving(bars_of(rows, asked)) as server:
        found = broker_at(server.url).candles("AAPL", since=NOW - timedelta(days=5), interval_seconds=86_400)
    assert [candle.complete for candle in found] == [True, True, False] and asked[0]["timeframe"] == ["1Day"]


@pytest.mark.parametrize("seconds", [0, 30, 90, 7200 * 13, 2 * 86_400, -60])
def test_bars_that_alpaca_does_not_have_are_not_asked_for(seconds: int) -> None:
    with serving(SmallAlpaca()) as server, pytest.raises(ValueError, match="Alpaca has no bars"):
        broker_at(server.url).candles("AAPL", since=NOW, interval_seconds=seconds)


@pytest.mark.parametrize(
    "answered",
    [
        {"bars": {"SPY": []}},
        {"bars": {"AAPL": [bar(NOW), bar(NOW)]}},
        {"bars": {"AAPL": [bar(NOW, h=1)]}},
        {"bars": {"AAPL": [bar(NOW, o="NaN")]}},
        {"bars": {"AAPL": [bar(NOW - timedelta(days=9))]}},
        {"bars": []},
    ],
)
def test_bars_that_make_no_sense_are_refused(answered: Any) -> None:
    routes = {"GET /v2/stocks/bars": (200, answered)}
    with serving(SmallAlpaca(routes=routes)) as server, pytest.raises(BrokerUnreachable):
        broker_at(server.url).candles("AAPL", since=NOW - timedelta(days=1))


def test_no_bars_at_all_are_an_answer() -> None:
    with serving(SmallAlpaca(routes={"GET /v2/stocks/bars": (200, {"bars": {}, "next_page_token": None})})) as server:
        assert broker_at(server.url).candles("AAPL", since=NOW - timedelta(days=1)) == []


def test_only_shares_that_can_be_traded_are_instruments() -> None:
    asset = {"symbol": "AAPL", "name": "Apple Inc.", "status": "active", "tradable": True, "class": "us_equity"}
    rows = [asset, {**asset, "symbol": "HALT", "tradable": False}, {**asset, "symbol": "ODD", "tradable": "yes"}]
    with serving(SmallAlpaca(routes={"GET /v2/assets": (200, rows)})) as server:
        [share] = broker_at(server.url).instruments()
    assert (share.symbol, share.base, share.quote, share.unit_decimals) == ("AAPL", "AAPL", "USD", 0)
    assert (share.pip_size, share.minimum_units, share.margin_rate) == (Decimal("0.01"), Decimal(1), Decimal(1))


def test_the_keys_travel_in_headers_and_show_nowhere_else() -> None:
    with serving(SmallAlpaca()) as server:
        broker = broker_at(server.url)
        broker.identity()
        [request] = server.requests
    assert (request.headers["apca-api-key-id"], request.headers["apca-api-secret-key"]) == (KEY, SECRET)
    assert SECRET not in request.path and SECRET not in repr(vars(broker))


def test_nothing_of_the_sdk_is_loaded_before_a_broker_is_opened() -> None:
    code = (
        "import sys, trading.brokers.registry, trading.brokers.alpaca; "
        "sys.exit(any(name in sys.modules for name in ('alpaca', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_orders_of_a_snapshot_are_its_own_rows() -> None:
    snapshot = shown(orders=[bracket_row()])
    assert len(snapshot.orders) == 3 and all("legs" not in order.raw for order in snapshot.orders)
    assert [order.broker_order_id for order in snapshot.orders] == ["parent", "leg-target", "leg-stop"]
