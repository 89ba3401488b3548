"""What OANDA says of the account and the market, and that a bad answer is never taken for a flat account."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.brokers.oanda_wire import ACCOUNT, BUY, SUMMARY, TIME, TOKEN, broker_at, now, order_row, routes
from tests.trading.brokers.raw_server import always, answer, serving
from trading.brokers import oanda_parse
from trading.brokers.errors import BadData
from trading.brokers.fields import number
from trading.brokers.oanda import OandaBroker
from trading.domain.broker import (
    BrokerNeedsLogin,
    BrokerOrderStatus,
    BrokerOtherAccount,
    BrokerSnapshot,
    BrokerUnreachable,
    Completeness,
    Side,
)

COMPLETE, PARTIAL, FAILED = Completeness.COMPLETE, Completeness.PARTIAL, Completeness.FAILED
FLAT = {"units": "0", "pl": "0", "unrealizedPL": "0"}


def position(instrument: str = "EUR_USD", long: Any = None, short: Any = None) -> dict[str, Any]:
    return {"instrument": instrument, "pl": "0", "long": long or FLAT, "short": short or FLAT}


def side(units: str, price: str = "1.10010") -> dict[str, Any]:
    return {"units": units, "averagePrice": price, "unrealizedPL": "-1.5", "tradeIDs": ["11"]}


STOP = {
    "id": "13",
    "createTime": TIME,
    "type": "STOP_LOSS",
    "state": "PENDING",
    "tradeID": "11",
    "price": "1.09",
    "clientExtensions": {"id": "stopstopstop"},
}
TRADE = {"id": "11", "instrument": "EUR_USD", "currentUnits": "1000", "state": "OPEN"}


def account(**fields: Any) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "id": ACCOUNT,
        "currency": "USD",
        "balance": "99998.5000",
        "lastTransactionID": "13",
        "positions": [position(long=side("1000")), position("GBP_USD")],
        "orders": [STOP, order_row(12, type="LIMIT", price="1.08", units="-500")],
        "trades": [TRADE],
        "openPositionCount": 1,
        "pendingOrderCount": 2,
    }
    return {key: value for key, value in {**rows, **fields}.items() if value != "missing"}


def snapshot(*, last: str = "13", **fields: Any) -> BrokerSnapshot:
    body = {"account": account(**fields), "lastTransactionID": last}
    with serving(routes({f"GET /accounts/{ACCOUNT}": (200, body)})) as server:
        return broker_at(server.url).snapshot()


def test_a_snapshot_shows_positions_orders_and_cash_of_one_moment() -> None:
    found = snapshot()
    assert found.completeness is COMPLETE and found.last_event_id == "13" and found.cash == {"USD": Decimal("99998.5")}
    [held] = found.positions
    assert (held.instrument, held.side, held.quantity, held.average_price, held.unrealised) == (
        "EUR_USD",
        Side.BUY,
        Decimal(1000),
        Decimal("1.1001"),
        Decimal("-1.5"),
    )
    stop, resting = found.orders
    assert (stop.client_id, stop.instrument, stop.side, stop.quantity, stop.trade_id) == (
        "stopstopstop",
        "EUR_USD",
        Side.SELL,
        Decimal(1000),
        "11",
    )
    assert (resting.side, resting.quantity, resting.price, resting.status) == (
        Side.SELL,
        Decimal(500),
        Decimal("1.08"),
        BrokerOrderStatus.WORKING,
    )
    assert abs(found.at - now()) < timedelta(seconds=5) and TOKEN not in repr(found)


def test_a_hedged_instrument_has_both_sides() -> None:
    found = snapshot(positions=[position(long=side("1000"), short=side("-400"))])
    assert [(each.side, each.quantity) for each in found.positions] == [
        (Side.BUY, Decimal(1000)),
        (Side.SELL, Decimal(400)),
    ]
    assert found.positions_part.completeness is COMPLETE


def test_a_flat_account_is_complete_when_it_says_so_itself() -> None:
    found = snapshot(positions=[], orders=[], trades=[], openPositionCount=0, pendingOrderCount=0)
    assert found.completeness is COMPLETE and found.positions == () and found.orders == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"positions": "missing"}, (COMPLETE, FAILED, COMPLETE)),
        ({"positions": None}, (COMPLETE, FAILED, COMPLETE)),
        ({"positions": {}}, (COMPLETE, FAILED, COMPLETE)),
        ({"positions": []}, (COMPLETE, PARTIAL, COMPLETE)),
        ({"positions": [position(long=side("NaN"))]}, (COMPLETE, PARTIAL, COMPLETE)),
        ({"positions": [position(long=side("1e999999"))]}, (COMPLETE, PARTIAL, COMPLETE)),
        ({"positions": [position(long=side("-1000"))]}, (COMPLETE, PARTIAL, COMPLETE)),
        ({"positions": [position(long=side("1000", price="0"))]}, (COMPLETE, PARTIAL, COMPLETE)),
        ({"positions": [{"instrument": "EUR_USD"}]}, (COMPLETE, PARTIAL, COMPLETE)),
        ({"orders": "missing"}, (COMPLETE, COMPLETE, FAILED)),
        ({"orders": [STOP]}, (COMPLETE, COMPLETE, PARTIAL)),
        ({"trades": "missing"}, (COMPLETE, COMPLETE, PARTIAL)),
        ({"orders": [{**STOP, "state": None}, STOP]}, (COMPLETE, COMPLETE, PARTIAL)),
        ({"balance": "missing"}, (FAILED, COMPLETE, COMPLETE)),
        ({"balance": "NaN"}, (FAILED, COMPLETE, COMPLETE)),
        ({"balance": 100000.5}, (FAILED, COMPLETE, COMPLETE)),
        ({"currency": "missing"}, (FAILED, COMPLETE, COMPLETE)),
        ({"lastTransactionID": "missing"}, (FAILED, FAILED, FAILED)),
        ({"lastTransactionID": "12"}, (FAILED, FAILED, FAILED)),
        ({"id": "missing"}, (FAILED, FAILED, FAILED)),
    ],
)
def test_what_cannot_be_read_is_not_complete_and_says_why(fields: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = snapshot(**fields)
    parts = (found.cash_part, found.positions_part, found.orders_part)
    assert tuple(part.completeness for part in parts) == expected
    assert all(part.reason for part in parts if part.completeness is not COMPLETE)
    assert found.completeness is not COMPLETE


def test_one_unreadable_row_does_not_hide_the_others() -> None:
    found = snapshot(positions=[position(long=side("NaN")), position("GBP_USD", short=side("-10"))])
    assert [each.instrument for each in found.positions] == ["GBP_USD"]


@pytest.mark.fault("F-024", broker="oanda")
def test_an_unknown_state_of_an_order_keeps_its_word_and_changes_nothing() -> None:
    found = snapshot(orders=[STOP, order_row(12, state="PONDERING")])
    assert (found.orders[1].status, found.orders[1].raw_status) == (BrokerOrderStatus.OTHER, "PONDERING")
    assert found.orders_part.completeness is COMPLETE


def test_an_answer_without_an_account_is_failed_in_every_part() -> None:
    with serving(always(answer(200, {}))) as server:
        found = broker_at(server.url).snapshot()
    assert found.completeness is FAILED and "no account" in found.positions_part.reason


BROKEN = {
    "html": answer(200, "<html>log in to the hotel</html>"),
    "empty": answer(200, ""),
    "list": answer(200, "[]"),
    "NaN": answer(200, '{"account": {"balance": NaN}}'),
    "502": answer(502, "bad gateway"),
    "503 with a good body": answer(503, {"account": account(), "lastTransactionID": "13"}),
    "307": answer(307, "", "Location: http://127.0.0.1:1/"),
    "429": answer(429, ""),
}


@pytest.mark.fault("F-038", broker="oanda")
@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize(
    "read",
    [
        OandaBroker.identity,
        OandaBroker.now,
        OandaBroker.instruments,
        OandaBroker.snapshot,
        lambda broker: broker.events_since("9"),
        lambda broker: broker.prices(["EUR_USD"]),
        lambda broker: broker.candles("EUR_USD", since=datetime(2026, 1, 5, tzinfo=UTC)),
    ],
    ids=["identity", "now", "instruments", "snapshot", "events", "prices", "candles"],
)
def test_no_read_takes_a_broken_answer_for_an_empty_one(name: str, read: Callable[[OandaBroker], Any]) -> None:
    with serving(always(BROKEN[name])) as server, pytest.raises(BrokerUnreachable):
        read(broker_at(server.url))


def test_a_read_that_hangs_ends_at_the_deadline() -> None:
    with serving(lambda connection, request: time.sleep(5)) as server:
        began = time.monotonic()
        with pytest.raises(BrokerUnreachable, match="no complete answer within 3 s"):
            broker_at(server.url).snapshot()
        assert time.monotonic() - began < 3.5


def test_an_answer_about_another_account_is_said_and_not_used() -> None:
    with pytest.raises(BrokerOtherAccount, match="about account '101-001-9999999-001'"):
        snapshot(id="101-001-9999999-001")


def test_an_unaccepted_key_names_what_a_person_must_do_and_not_the_key() -> None:
    with serving(always(answer(401, {"errorMessage": "no"}))) as server, pytest.raises(BrokerNeedsLogin) as raised:
        broker_at(server.url).snapshot()
    assert "OANDA_API_KEY" in str(raised.value) and TOKEN not in str(raised.value)


def test_the_request_carries_the_token_and_asks_for_readable_times() -> None:
    with serving(routes({"GET /summary": SUMMARY})) as server:
        found = broker_at(server.url).identity()
        [request] = server.requests
    assert (found.account_id, found.currency, found.hedging, found.last_event_id) == (ACCOUNT, "USD", False, "11")
    assert request.path == f"/v3/accounts/{ACCOUNT}/summary"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["accept-datetime-format"] == "RFC3339"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.decimals(allow_nan=False).map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(st.sampled_from(sorted(account())), json_values)
def test_whatever_stands_in_a_field_a_snapshot_never_raises(field: str, value: Any) -> None:
    body = {"account": account(**{field: value}), "lastTransactionID": "13"}
    found = oanda_parse.snapshot(body, account_id=ACCOUNT, at=now())
    if field in ("positions", "orders") and value != account()[field]:
        assert found.completeness is not COMPLETE


@given(st.text(max_size=30) | st.floats() | st.integers() | st.booleans() | st.none())
def test_a_number_is_either_exact_or_refused(value: Any) -> None:
    try:
        parsed = number({"units": value}, "units")
    except BadData:
        return
    assert isinstance(value, str) and parsed.is_finite() and parsed == Decimal(value)
    assert value.isascii() and "_" not in value


def test_the_client_id_of_an_order_is_what_was_sent() -> None:
    assert oanda_parse.order(order_row(), {}).client_id == BUY.client_id
