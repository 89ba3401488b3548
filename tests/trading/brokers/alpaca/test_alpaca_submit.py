"""Submitting and cancelling at Alpaca: what leaves, and what each kind of answer is taken for."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.trading.brokers.alpaca.alpaca_wire import (
    BRACKET,
    BUY,
    NO_ORDER,
    NOW,
    ORDER,
    SECRET,
    SmallAlpaca,
    bracket_row,
    broker_at,
    filled,
    order_row,
)
from tests.trading.brokers.raw_server import RawServer, Request, serving
from trading.domain.broker import (
    Accepted,
    BrokerOrderStatus,
    LegRole,
    OrderRequest,
    OrderType,
    Refused,
    Side,
    SubmitOutcome,
    Unknown,
)

POST = "POST /v2/orders"
SELL = replace(BUY, side=Side.SELL, reduce_only=True, client_id="closing")


def submitted(request: OrderRequest, status: int, body: Any, **more: Any) -> tuple[SubmitOutcome, RawServer]:
    alpaca = SmallAlpaca(routes={POST: (status, body)}, **more)
    with serving(alpaca) as server:
        return broker_at(server.url).submit(request), server


def posts(server: RawServer) -> list[Request]:
    return [request for request in server.requests if request.method == "POST"]


def body_of(request: OrderRequest) -> dict[str, Any]:
    _, server = submitted(request, 500, {})
    [post] = posts(server)
    return json.loads(post.body, parse_float=lambda text: pytest.fail(f"the float {text} left"))


def test_a_market_order_leaves_as_text_for_the_day() -> None:
    assert body_of(BUY) == {
        "symbol": "AAPL",
        "qty": "10",
        "side": "buy",
        "type": "market",
        "time_in_force": "day",
        "client_order_id": BUY.client_id,
    }


def test_a_bracket_rests_until_it_is_cancelled_and_names_its_prices_exactly() -> None:
    body = body_of(BRACKET)
    assert (body["order_class"], body["time_in_force"]) == ("bracket", "gtc")
    assert body["stop_loss"] == {"stop_price": "190.5"} and body["take_profit"] == {"limit_price": "210"}


def test_one_leg_alone_makes_it_an_oto() -> None:
    body = body_of(replace(BRACKET, take_profit=None))
    assert body["order_class"] == "oto" and "take_profit" not in body


@pytest.mark.parametrize(
    ("type", "field", "good_till", "lasts"),
    [
        (OrderType.LIMIT, "limit_price", None, "gtc"),
        (OrderType.STOP, "stop_price", None, "gtc"),
        (OrderType.LIMIT, "limit_price", NOW + timedelta(hours=1), "day"),
    ],
)
def test_a_resting_order_names_its_price(type: OrderType, field: str, good_till: Any, lasts: str) -> None:
    body = body_of(replace(BUY, type=type, price=Decimal("199.990"), good_till=good_till))
    assert (body[field], body["time_in_force"]) == ("199.99", lasts)


def test_the_end_of_an_entry_with_legs_is_ours_to_keep() -> None:
    resting = replace(BRACKET, type=OrderType.LIMIT, price=Decimal(199), good_till=NOW + timedelta(hours=1))
    with serving(SmallAlpaca()) as server:
        assert not broker_at(server.url).capabilities.good_till
    assert body_of(resting)["time_in_force"] == "gtc"


@pytest.mark.parametrize(
    "bad",
    [
        replace(BUY, quantity=Decimal("1.5")),
        replace(BUY, quantity=Decimal(0)),
        replace(BUY, quantity=Decimal("NaN")),
        replace(BUY, client_id=""),
        replace(BUY, client_id="x" * 129),
        replace(BUY, type=OrderType.MARKET_IF_TOUCHED, price=Decimal(1)),
        replace(BUY, type=OrderType.LIMIT),
        replace(BUY, price=Decimal(1)),
        replace(BRACKET, reduce_only=True),
        replace(BUY, type=OrderType.LIMIT, price=Decimal(1), good_till=NOW.replace(tzinfo=None)),
    ],
)
def test_an_order_that_must_not_leave_is_refused_here(bad: OrderRequest) -> None:
    outcome, server = submitted(bad, 200, {})
    assert isinstance(outcome, Refused) and outcome.code == "INVALID_REQUEST"
    assert server.requests == []


def test_an_accepted_bracket_names_the_legs_that_alpaca_made() -> None:
    outcome, _ = submitted(BRACKET, 200, bracket_row())
    assert isinstance(outcome, Accepted)
    assert (outcome.broker_order_id, outcome.status) == ("parent", BrokerOrderStatus.WORKING)
    assert {(leg.broker_order_id, leg.client_id, leg.parent_client_id, leg.leg) for leg in outcome.legs} == {
        ("leg-target", "random-1", BRACKET.client_id, LegRole.TP1),
        ("leg-stop", "random-2", BRACKET.client_id, LegRole.STOP),
    }


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending_new", BrokerOrderStatus.WORKING),
        ("filled", BrokerOrderStatus.FILLED),
        ("rejected", BrokerOrderStatus.REJECTED),
        ("a_brand_new_status", BrokerOrderStatus.OTHER),
    ],
)
def test_the_status_of_an_accepted_order_is_alpacas(word: str, status: BrokerOrderStatus) -> None:
    outcome, server = submitted(BUY, 200, order_row(status=word))
    assert isinstance(outcome, Accepted) and outcome.status is status and outcome.reason == word
    assert len(posts(server)) == 1


@pytest.mark.parametrize(
    "other",
    [
        order_row(client_id="somebody-elses"),
        order_row(symbol="SPY"),
        order_row(side="sell"),
        order_row(qty="11"),
        order_row(type="limit"),
        {"id": ORDER},
        [],
        "<html>bad gateway</html>",
        '{"id": "61e',
        "",
    ],
)
def test_an_answer_that_is_not_about_our_order_leaves_it_unknown(other: Any) -> None:
    outcome, server = submitted(BUY, 200, other)
    assert isinstance(outcome, Unknown), outcome
    assert len(posts(server)) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, 40310000), (422, 42210000), (422, 40010001), (400, 40010000), (404, 40410000)],
)
def test_a_refusal_in_alpacas_own_words_is_a_refusal(status: int, code: int) -> None:
    outcome, server = submitted(BUY, status, {"code": code, "message": "insufficient buying power"})
    assert isinstance(outcome, Refused) and (outcome.code, outcome.message) == (str(code), "insufficient buying power")
    assert len(posts(server)) == 1


def test_too_many_requests_in_alpacas_own_words_may_be_sent_again() -> None:
    outcome, server = submitted(BUY, 429, {"code": 42910000, "message": "rate limit exceeded"})
    assert isinstance(outcome, Refused) and outcome.code == "NOT_SENT"
    assert len(posts(server)) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (504, {"code": 50410000, "message": "gateway timeout"}),
        (504, "<html>504</html>"),
        (500, {"code": 50010000, "message": "internal server error"}),
        (502, "<html>502</html>"),
        (429, {"message": "too many requests"}),
        (429, "slow down"),
        (408, {"code": 40810000, "message": "request timeout"}),
        (403, "<html>forbidden</html>"),
        (422, {"message": "no code"}),
        (422, {"code": 50010000, "message": "a code of another kind"}),
        (422, {"code": True, "message": "a code that is none"}),
        (302, {}),
        (204, ""),
    ],
)
def test_everything_else_is_unknown_and_never_sent_again(status: int, body: Any) -> None:
    began = time.monotonic()
    outcome, server = submitted(BUY, status, body)
    assert isinstance(outcome, Unknown), outcome
    assert len(posts(server)) == 1, "the SDK has sent it again"
    assert time.monotonic() - began < 2.5, "the SDK has waited to send it again"


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, {"code": 40110000, "message": "request is not authorized"}), (403, {"message": "forbidden."})],
)
def test_a_key_that_is_turned_away_asks_for_a_login(status: int, body: Any) -> None:
    outcome, _ = submitted(BUY, status, body)
    assert isinstance(outcome, Refused) and outcome.code == "NEEDS_LOGIN"


def test_an_id_that_is_taken_by_this_very_order_is_its_acceptance() -> None:
    taken = {"code": 40010001, "message": "client_order_id must be unique"}
    outcome, server = submitted(BUY, 422, taken, orders=[filled()])
    assert isinstance(outcome, Accepted)
    assert (outcome.broker_order_id, outcome.status) == (ORDER, BrokerOrderStatus.FILLED)
    assert len(posts(server)) == 1


@pytest.mark.parametrize("orders", [[], [filled(qty="7")], [filled(symbol="SPY")]])
def test_an_id_that_is_taken_by_another_order_is_unknown(orders: list[dict[str, Any]]) -> None:
    taken = {"code": 42210000, "message": "client order id must be unique"}
    outcome, _ = submitted(BUY, 422, taken, orders=orders)
    assert isinstance(outcome, Unknown), outcome


def test_a_key_of_another_account_sends_nothing() -> None:
    outcome, server = submitted(BUY, 200, order_row(), account={"account_number": "OTHER", "currency": "USD"})
    assert isinstance(outcome, Refused) and outcome.code == "NEEDS_LOGIN" and "OTHER" in outcome.message
    assert posts(server) == []


def held(quantity: str, side: str = "long") -> dict[str, Any]:
    return {"symbol": "AAPL", "qty": quantity, "side": side, "avg_entry_price": "200"}


@pytest.mark.parametrize("position", [(200, held("10")), (200, held("25"))])
def test_an_order_that_reduces_is_sent(position: Any) -> None:
    routes = {"GET /v2/positions/AAPL": position, POST: (200, order_row(client_id="closing", side="sell"))}
    with serving(SmallAlpaca(routes=routes)) as server:
        outcome = broker_at(server.url).submit(SELL)
    assert isinstance(outcome, Accepted), outcome


@pytest.mark.parametrize(
    ("position", "code"),
    [
        (NO_ORDER, "NO_POSITION_TO_REDUCE"),
        ((200, held("9")), "NO_POSITION_TO_REDUCE"),
        ((200, held("-10", "short")), "NO_POSITION_TO_REDUCE"),
        ((502, "<html>"), "NOT_SENT"),
        ((200, held("10", "sideways")), "NOT_SENT"),
        ((200, {**held("10"), "symbol": "SPY"}), "NOT_SENT"),
        ((401, {"code": 40110000, "message": "no"}), "NEEDS_LOGIN"),
    ],
)
def test_an_order_that_may_only_reduce_never_opens_a_position(position: Any, code: str) -> None:
    with serving(SmallAlpaca(routes={"GET /v2/positions/AAPL": position, POST: (200, {})})) as server:
        outcome = broker_at(server.url).submit(SELL)
    assert isinstance(outcome, Refused) and outcome.code == code
    assert posts(server) == []


def test_nothing_was_sent_where_nobody_listens() -> None:
    with serving(SmallAlpaca()) as server:
        broker = broker_at(server.url)
        broker.identity()
    outcome = broker.submit(BUY)
    assert isinstance(outcome, Refused) and outcome.code == "NOT_SENT"


def test_evidence_never_shows_the_keys() -> None:
    outcome, _ = submitted(BUY, 500, {"you": SECRET})
    assert (
        isinstance(outcome, Unknown) and SECRET not in repr(outcome.evidence) and "[secret]" in repr(outcome.evidence)
    )


DELETE = f"DELETE /v2/orders/{ORDER}"


def cancelled(status: int, body: Any, *orders: dict[str, Any], order_id: str = ORDER) -> SubmitOutcome:
    with serving(SmallAlpaca(orders=list(orders), routes={DELETE: (status, body)})) as server:
        outcome = broker_at(server.url).cancel(broker_order_id=order_id, client_id=BUY.client_id)
        assert server.methods().count("DELETE") == 1
        return outcome


@pytest.mark.parametrize(
    ("row", "status", "reason"),
    [
        (order_row(status="pending_cancel"), BrokerOrderStatus.WORKING, "CANCEL_REQUESTED"),
        (order_row(status="pending_cancel", filled_qty="4"), BrokerOrderStatus.PARTIAL, "CANCEL_REQUESTED"),
        (order_row(status="canceled"), BrokerOrderStatus.CANCELLED, "canceled"),
        (filled(), BrokerOrderStatus.FILLED, "filled"),
        (order_row(status="never_seen_before"), BrokerOrderStatus.WORKING, "CANCEL_REQUESTED"),
    ],
)
def test_a_cancel_that_was_asked_for_says_what_it_has_come_to(
    row: dict[str, Any], status: BrokerOrderStatus, reason: str
) -> None:
    outcome = cancelled(204, "", row)
    assert isinstance(outcome, Accepted) and (outcome.status, outcome.reason) == (status, reason)


@pytest.mark.parametrize("reading", [(502, "<html>"), NO_ORDER])
def test_a_cancel_that_was_asked_for_stays_asked_for_when_the_order_cannot_be_read(reading: Any) -> None:
    with serving(SmallAlpaca(routes={DELETE: (204, ""), f"GET /v2/orders/{ORDER}": reading})) as server:
        outcome = broker_at(server.url).cancel(broker_order_id=ORDER, client_id="")
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.WORKING


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (order_row(status="canceled"), BrokerOrderStatus.CANCELLED),
        (filled(), BrokerOrderStatus.FILLED),
        (order_row(status="pending_replace"), BrokerOrderStatus.WORKING),
    ],
)
def test_an_order_that_cannot_be_cancelled_is_looked_at(row: dict[str, Any], status: BrokerOrderStatus) -> None:
    outcome = cancelled(422, {"code": 42210000, "message": "order is not cancelable"}, row)
    assert isinstance(outcome, Accepted) and outcome.status is status


def test_an_order_that_alpaca_does_not_know_is_refused() -> None:
    outcome = cancelled(*NO_ORDER)
    assert isinstance(outcome, Refused) and outcome.code == "ORDER_DOESNT_EXIST"


@pytest.mark.parametrize(("status", "body"), [(504, "<html>"), (500, {"code": 50010000}), (404, "<html>"), (302, {})])
def test_any_other_answer_to_a_cancel_proves_nothing(status: int, body: Any) -> None:
    assert isinstance(cancelled(status, body, order_row()), Unknown)


def test_a_cancel_by_our_id_looks_the_order_up_first() -> None:
    outcome = cancelled(204, "", order_row(status="canceled"), order_id="")
    assert isinstance(outcome, Accepted) and outcome.broker_order_id == ORDER


def test_a_cancel_by_an_id_that_never_arrived_is_refused() -> None:
    with serving(SmallAlpaca()) as server:
        outcome = broker_at(server.url).cancel(broker_order_id="", client_id="never-was")
        assert isinstance(outcome, Refused) and outcome.code == "ORDER_DOESNT_EXIST"
        assert isinstance(broker_at(server.url).cancel(broker_order_id="", client_id=""), Refused)
        assert "DELETE" not in server.methods()
