"""Submitting, changing and cancelling at Kite: what leaves, and what each kind of answer is taken for."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.trading.brokers.kite.kite_wire import (
    BUY,
    ORDER,
    REFUSED_TOKEN,
    TOKEN,
    SmallKite,
    broker_at,
    complete,
    error,
    holding_row,
    order_row,
    position_row,
    success,
)
from tests.trading.brokers.raw_server import RawServer, Request, serving
from trading.domain.broker import (
    Accepted,
    BrokerOrderStatus,
    OrderRequest,
    OrderType,
    ProtectiveLeg,
    Refused,
    Side,
    SubmitOutcome,
    Unknown,
)

POST, PUT, DELETE = "POST /orders/regular", f"PUT /orders/regular/{ORDER}", f"DELETE /orders/regular/{ORDER}"
PLACED = success({"order_id": ORDER})
SELL = replace(BUY, side=Side.SELL, reduce_only=True, client_id="closing")


def submitted(request: OrderRequest, status: int, body: Any, **more: Any) -> tuple[SubmitOutcome, RawServer]:
    with serving(SmallKite(routes={POST: (status, body)}, **more)) as server:
        return broker_at(server.url).submit(request), server


def writes(server: RawServer) -> list[Request]:
    return [request for request in server.requests if request.method != "GET"]


def form_of(request: OrderRequest) -> dict[str, str]:
    outcome, server = submitted(request, 200, PLACED)
    assert isinstance(outcome, Accepted)
    [post] = writes(server)
    return dict(parse_qsl(post.body))


def test_a_market_order_for_shares_leaves_for_delivery_with_our_id_as_its_label() -> None:
    assert form_of(BUY) == {
        "variety": "regular",
        "exchange": "NSE",
        "tradingsymbol": "INFY",
        "transaction_type": "BUY",
        "quantity": "10",
        "product": "CNC",
        "order_type": "MARKET",
        "validity": "DAY",
        "market_protection": "-1",
        "tag": BUY.client_id,
    }


def test_prices_leave_exactly_as_they_are() -> None:
    form = form_of(replace(BUY, type=OrderType.LIMIT, price=Decimal("1500.050000")))
    assert (form["order_type"], form["price"]) == ("LIMIT", "1500.05") and "trigger_price" not in form
    form = form_of(replace(BUY, type=OrderType.STOP, price=Decimal("0.1") + Decimal("0.2")))
    assert (form["order_type"], form["trigger_price"]) == ("SL-M", "0.3") and "price" not in form


def test_derivatives_are_carried() -> None:
    assert form_of(replace(BUY, instrument="NFO:NIFTY27DECFUT"))["product"] == "NRML"


def test_an_acceptance_says_an_id_and_nothing_more() -> None:
    outcome, server = submitted(BUY, 200, PLACED)
    assert isinstance(outcome, Accepted)
    assert (outcome.broker_order_id, outcome.status) == (ORDER, BrokerOrderStatus.WORKING)
    assert len(writes(server)) == 1
    assert TOKEN not in str(outcome.evidence)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, PLACED),
        (404, PLACED),
        (201, PLACED),
        (200, success(None)),
        (200, success({})),
        (200, success({"order_id": 5})),
        (200, success([])),
        (200, "[]"),
        (200, "null"),
        (200, '{"status":"success"}'),
        (200, '{"status":"success","data":{"order_id":"1'),
        (200, "<html>please log in</html>"),
        (200, ""),
        (200, {**PLACED, "error_type": "OrderException"}),
        (200, error("InputException")),
        (302, PLACED),
        (307, PLACED),
        (400, "no"),
        (400, {"message": "no envelope", "error_type": "InputException"}),
        (400, error("GeneralException")),
        (400, error("NetworkException")),
        (400, {"status": "error", "message": 5, "error_type": ["x"]}),
        (403, "<html>forbidden</html>"),
        (403, error("PermissionException")),
        (429, "slow down"),
        (500, error("OrderException")),
        (502, "<html>bad gateway</html>"),
        (503, error("NetworkException")),
        (504, "{}"),
    ],
)
def test_whatever_is_no_clear_answer_leaves_the_order_unknown(status: int, body: Any) -> None:
    outcome, server = submitted(BUY, status, body)
    assert isinstance(outcome, Unknown) and len(writes(server)) == 1
    assert outcome.evidence[-1].status == status


@pytest.mark.parametrize("word", ["InputException", "OrderException", "MarginException", "HoldingException"])
def test_a_real_refusal_is_one_of_kites_own_words_with_400(word: str) -> None:
    outcome, _ = submitted(BUY, 400, error(word, "Insufficient funds."))
    assert isinstance(outcome, Refused) and (outcome.code, outcome.message) == (word, "Insufficient funds.")


def test_a_closed_exchange_takes_the_order_later() -> None:
    said = "Markets are closed right now. Place an after-market order (AMO) or use GTT."
    outcome, _ = submitted(BUY, 400, error("InputException", said))
    assert isinstance(outcome, Refused) and (outcome.code, outcome.message) == ("EXCHANGE_CLOSED", said)


def test_too_many_requests_in_kites_own_words_was_not_looked_at() -> None:
    outcome, _ = submitted(BUY, 429, error("NetworkException", "Too many requests"))
    assert isinstance(outcome, Refused) and outcome.code == "NOT_SENT"


def test_a_dead_token_needs_a_login_and_is_not_tried_again_at_once() -> None:
    kite = SmallKite(routes={POST: (403, REFUSED_TOKEN)})
    with serving(kite) as server:
        broker = broker_at(server.url)
        first, second = broker.submit(BUY), broker.submit(BUY)
    for outcome in (first, second):
        assert isinstance(outcome, Refused) and outcome.code == "NEEDS_LOGIN"
        assert "KITE_ACCESS_TOKEN" in outcome.message
    assert len(writes(server)) == 1


def test_a_new_token_works_at_once() -> None:
    kite = SmallKite(routes={POST: (403, REFUSED_TOKEN)})
    with serving(kite) as server:
        broker_at(server.url).submit(BUY)
        kite.routes[POST] = (200, PLACED)
        assert isinstance(broker_at(server.url).submit(BUY), Accepted)


def test_another_users_token_sends_nothing() -> None:
    outcome, server = submitted(BUY, 200, PLACED, user="ZZ9999")
    assert isinstance(outcome, Refused) and outcome.code == "NEEDS_LOGIN" and "ZZ9999" in outcome.message
    assert not writes(server)


def test_nothing_was_sent_where_nobody_listens() -> None:
    with serving(SmallKite()) as server:
        broker = broker_at(server.url)
        broker.identity()
        broker.events_since("x")
    outcome = broker.submit(BUY)
    assert isinstance(outcome, Refused) and outcome.code == "NOT_SENT"


@pytest.mark.parametrize(
    "piece", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"]
)
def test_a_cut_answer_leaves_the_order_unknown(piece: bytes) -> None:
    kite = SmallKite()

    def cut(connection: socket.socket, request: Request) -> None:
        if request.method == "GET":
            return kite(connection, request)
        connection.sendall(piece)
        return connection.close()

    with serving(cut) as server:
        outcome = broker_at(server.url).submit(BUY)
        assert isinstance(outcome, Unknown) and len(writes(server)) == 1


def test_a_dripping_answer_ends_at_the_deadline_and_leaves_the_order_unknown() -> None:
    kite = SmallKite()

    def drip(connection: socket.socket, request: Request) -> None:
        if request.method == "GET":
            return kite(connection, request)
        for byte in b"HTTP/1.1 200 OK\r\n" * 9:
            connection.sendall(bytes([byte]))
            time.sleep(0.2)
        return None

    with serving(drip) as server:
        began = time.monotonic()
        outcome = broker_at(server.url).submit(BUY)
        assert isinstance(outcome, Unknown) and time.monotonic() - began < 4.5


@pytest.mark.parametrize(
    "fields",
    [
        {"client_id": "x" * 21},
        {"client_id": "not-alnum"},
        {"client_id": ""},
        {"instrument": "INFY"},
        {"quantity": Decimal("1.5")},
        {"quantity": Decimal(0)},
        {"quantity": Decimal("NaN")},
        {"type": OrderType.LIMIT},
        {"type": OrderType.LIMIT, "price": Decimal("-1")},
        {"type": OrderType.MARKET_IF_TOUCHED, "price": Decimal(1)},
        {"price": Decimal(1)},
        {"stop_loss": ProtectiveLeg("leg", Decimal(1))},
    ],
)
def test_what_kite_cannot_take_is_not_sent(fields: dict[str, Any]) -> None:
    outcome, server = submitted(replace(BUY, **fields), 200, PLACED)
    assert isinstance(outcome, Refused) and outcome.code == "INVALID_REQUEST" and not server.requests


def test_an_exit_leaves_only_where_the_account_holds_as_much() -> None:
    held = {"net": [position_row(-5)], "holdings": [holding_row(15)]}
    outcome, _ = submitted(SELL, 200, PLACED, **held)
    assert isinstance(outcome, Accepted)
    for less in (
        {},
        {"net": [position_row(-6)], "holdings": [holding_row(15)]},
        {"net": [position_row(10, product="MIS")]},
    ):
        outcome, server = submitted(SELL, 200, PLACED, **less)
        assert isinstance(outcome, Refused) and outcome.code == "NO_POSITION_TO_REDUCE" and not writes(server)
        assert [each.path for each in outcome.evidence] == ["/portfolio/positions", "/portfolio/holdings"]


def test_an_exit_waits_while_the_position_cannot_be_read() -> None:
    broken = {"routes": {POST: (200, PLACED), "GET /portfolio/positions": (500, "no")}}
    with serving(SmallKite(**broken)) as server:
        outcome = broker_at(server.url).submit(SELL)
    assert isinstance(outcome, Refused) and outcome.code == "NOT_SENT" and not writes(server)
    assert [(each.path, each.status) for each in outcome.evidence] == [("/portfolio/positions", 500)]


def cancelled(kite: SmallKite, *, id: str = ORDER, tag: str = "") -> tuple[SubmitOutcome, RawServer]:
    with serving(kite) as server:
        return broker_at(server.url).cancel(broker_order_id=id, client_id=tag), server


def test_a_cancel_is_what_the_order_shows_afterwards() -> None:
    kite = SmallKite(orders=[order_row()])

    def cancel(request: Request) -> tuple[int, Any]:
        kite.orders = [order_row(status="CANCELLED")]
        return 200, success({"order_id": ORDER})

    kite.routes[DELETE] = cancel
    outcome, server = cancelled(kite)
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.CANCELLED
    assert len(writes(server)) == 1


def test_a_cancel_by_our_label_finds_the_order_and_two_of_them_are_for_a_person() -> None:
    kite = SmallKite(orders=[order_row()], routes={DELETE: (200, success({"order_id": ORDER}))})
    outcome, _ = cancelled(kite, id="", tag=BUY.client_id)
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.WORKING
    kite.orders.append(order_row("151220000000001"))
    outcome, server = cancelled(kite, id="", tag=BUY.client_id)
    assert isinstance(outcome, Refused) and not writes(server)


def test_a_cancel_that_comes_too_late_says_so() -> None:
    outcome, server = cancelled(SmallKite(orders=[complete()]))
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.FILLED and not writes(server)
    kite = SmallKite(orders=[order_row(filled_quantity=4)], routes={DELETE: (400, error("OrderException"))})
    outcome, _ = cancelled(kite)
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.PARTIAL


def test_a_cancelled_order_that_filled_in_part_waits_for_its_executions() -> None:
    outcome, _ = cancelled(SmallKite(orders=[order_row(status="CANCELLED", filled_quantity=4)]))
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.PARTIAL


def test_an_unclear_answer_to_a_cancel_is_unknown() -> None:
    outcome, _ = cancelled(SmallKite(orders=[order_row()], routes={DELETE: (502, "<html>")}))
    assert isinstance(outcome, Unknown)


def test_a_change_counts_what_has_filled_and_keeps_the_id() -> None:
    kite = SmallKite(
        orders=[order_row(filled_quantity=4, order_type="SL-M", trigger_price=1400)],
        routes={PUT: (200, success({"order_id": ORDER}))},
    )
    with serving(kite) as server:
        outcome = broker_at(server.url).replace(
            broker_order_id=ORDER, client_id="", quantity=Decimal(3), price=Decimal("1450.50")
        )
    assert isinstance(outcome, Accepted) and outcome.broker_order_id == ORDER
    form = dict(parse_qsl(writes(server)[0].body))
    assert (form["quantity"], form["trigger_price"], form["order_type"]) == ("7", "1450.5", "SL-M")
