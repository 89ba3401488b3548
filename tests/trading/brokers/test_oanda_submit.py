"""What a submit or cancel comes to, for every answer that OANDA, a gateway or a broken wire may give."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.trading.brokers.oanda_wire import (
    BUY,
    NO_ORDER,
    NO_TRADE,
    TOKEN,
    broker_at,
    cancelling,
    created,
    filling,
    history,
    market,
    order_row,
    rejected,
    routes,
)
from tests.trading.brokers.raw_server import Behaviour, Request, always, answer, serving
from trading.brokers.oanda_orders import order_body
from trading.domain.broker import (
    INVALID_REQUEST,
    NEEDS_LOGIN,
    NOT_SENT,
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

GOOD = created(market(), filling())


def submit(behaviour: Behaviour, request: OrderRequest = BUY) -> tuple[SubmitOutcome, list[str]]:
    """The outcome and the methods of all requests that the server has seen."""
    with serving(behaviour) as server:
        outcome = broker_at(server.url).submit(request)
        return outcome, server.methods()


def refuses(status: int, body: Any) -> Refused:
    outcome, _ = submit(always(answer(status, body)))
    assert isinstance(outcome, Refused), outcome
    return outcome


def test_a_filled_market_order_is_accepted_as_filled() -> None:
    outcome, methods = submit(always(answer(201, GOOD)))
    assert isinstance(outcome, Accepted)
    assert (outcome.broker_order_id, outcome.status, methods) == ("10", BrokerOrderStatus.FILLED, ["POST"])
    [evidence] = outcome.evidence
    assert evidence.status == 201 and json.loads(evidence.request_body)["order"]["units"] == "1000"
    assert TOKEN not in repr(outcome)


def test_an_acceptance_with_200_instead_of_201_is_still_an_acceptance() -> None:
    outcome, _ = submit(always(answer(200, GOOD)))
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.FILLED


def test_an_order_that_rests_is_working() -> None:
    outcome, _ = submit(always(answer(201, created(market()))))
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.WORKING


def test_an_order_that_was_created_and_cancelled_at_once_is_accepted_and_cancelled_with_the_reason() -> None:
    outcome, _ = submit(always(answer(201, created(market(), cancelling()))))
    assert isinstance(outcome, Accepted)
    assert (outcome.status, outcome.reason) == (BrokerOrderStatus.CANCELLED, "INSUFFICIENT_MARGIN")


def test_a_fill_of_a_part_is_partial() -> None:
    outcome, _ = submit(always(answer(201, created(market(), filling(units="400")))))
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.PARTIAL


def test_a_copy_cancelled_because_its_first_copy_has_an_open_trade_is_unknown_not_cancelled() -> None:
    twin = created(market(), cancelling(reason="CLIENT_TRADE_ID_ALREADY_EXISTS"))
    outcome, _ = submit(always(answer(201, twin)))
    assert isinstance(outcome, Unknown) and "earlier copy" in outcome.reason


@pytest.mark.parametrize(("status", "reason"), [(400, "UNITS_LIMIT_EXCEEDED"), (404, "INSTRUMENT_UNKNOWN")])
def test_a_reject_transaction_of_our_order_is_a_refusal_with_its_code(status: int, reason: str) -> None:
    assert refuses(status, rejected(reason)).code == reason


def test_a_malformed_order_may_be_refused_without_our_id_in_the_answer() -> None:
    assert refuses(400, rejected("UNITS_INVALID", client_id="")).code == "UNITS_INVALID"


@pytest.mark.parametrize("status", [401, 403])
def test_an_unaccepted_key_is_a_refusal_that_needs_a_login(status: int) -> None:
    refusal = refuses(status, {"errorMessage": "Insufficient authorization to perform request."})
    assert refusal.code == NEEDS_LOGIN and "OANDA_API_KEY" in refusal.message


def test_no_connection_is_a_refusal_that_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outcome = broker_at(f"http://127.0.0.1:{port}").submit(BUY)
    assert isinstance(outcome, Refused) and outcome.code == NOT_SENT and outcome.evidence[0].status is None


def wrong(**fields: Any) -> dict[str, Any]:
    return created(market(**fields))


UNKNOWN = {
    "html 502": answer(502, "<html>Bad Gateway</html>", "Content-Type: text/html"),
    "502 without content type": answer(502, "bad gateway"),
    "504": answer(504, {"errorMessage": "timeout"}),
    "500 with a success body": answer(500, GOOD),
    "429 with nothing": answer(429, ""),
    "429 with json": answer(429, {"errorMessage": "too many"}),
    "200 empty": answer(200, ""),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "200 html": answer(200, "<html>please log in to the hotel</html>"),
    "200 {}": answer(200, {}),
    "201 list": answer(201, "[]"),
    "202 with a success body": answer(202, GOOD),
    "307": answer(307, "", "Location: http://127.0.0.1:1/"),
    "302 with a success body": answer(302, GOOD, "Location: http://127.0.0.1:1/"),
    "400 of a gateway": answer(400, {"errorMessage": "bad request"}),
    "404 of a gateway": answer(404, "not found"),
    "403 html": answer(403, "<html>blocked by firewall</html>"),
    "400 about another order": answer(400, rejected("UNITS_LIMIT_EXCEEDED", client_id="somebody else's")),
    "400 without id and with a code that is not listed": answer(400, rejected("SURPRISE", client_id="")),
    "another client id": answer(201, wrong(client_id="somebody else's")),
    "no client id": answer(201, wrong(clientExtensions=None)),
    "another account": answer(201, wrong(accountID="101-001-9999999-001")),
    "another instrument": answer(201, wrong(instrument="GBP_USD")),
    "other units": answer(201, wrong(units="-1000")),
    "NaN units": answer(201, wrong(units="NaN")),
    "huge units": answer(201, wrong(units="1e999999")),
    "no order id": answer(201, wrong(id="")),
    "a fill of another order": answer(201, created(market(), filling(order=99))),
    "deep json": answer(201, "[" * 100_000),
    "bare NaN": answer(201, '{"orderCreateTransaction": NaN}'),
    "not utf-8": answer(201, b'{"orderCreateTransaction": "\xff"}'),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_everything_else_leaves_the_order_unknown_and_is_sent_once(name: str) -> None:
    outcome, methods = submit(always(UNKNOWN[name]))
    assert isinstance(outcome, Unknown), outcome
    assert outcome.reason and outcome.evidence and methods == ["POST"]


def test_a_dropped_connection_after_the_request_is_unknown() -> None:
    outcome, methods = submit(lambda connection, request: connection.close())
    assert isinstance(outcome, Unknown) and methods == ["POST"]
    assert outcome.evidence[0].status is None and outcome.evidence[0].error


def test_a_truncated_acceptance_is_unknown() -> None:
    def truncate(connection: socket.socket, request: Request) -> None:
        connection.sendall(answer(201, GOOD)[:-20])
        connection.close()

    outcome, _ = submit(truncate)
    assert isinstance(outcome, Unknown) and "orderCreateTransaction" in outcome.evidence[0].response_body


def test_a_hanging_broker_is_unknown_after_three_seconds() -> None:
    began = time.monotonic()
    outcome, methods = submit(lambda connection, request: time.sleep(6))
    assert isinstance(outcome, Unknown) and methods == ["POST"]
    assert 2.9 < time.monotonic() - began < 3.5


def test_an_id_that_is_in_use_by_the_same_order_is_its_acceptance() -> None:
    table = routes(
        {
            "POST /orders": (400, rejected("CLIENT_ORDER_ID_ALREADY_EXISTS")),
            f"GET /orders/@{BUY.client_id}": (200, {"order": order_row(7), "lastTransactionID": "10"}),
        }
    )
    outcome, methods = submit(table)
    assert isinstance(outcome, Accepted), outcome
    assert (outcome.broker_order_id, outcome.status) == ("7", BrokerOrderStatus.WORKING)
    assert methods.count("POST") == 1 and len(outcome.evidence) == 2


@pytest.mark.parametrize("other", [{"units": "2000"}, {"units": "-1000"}, {"instrument": "GBP_USD"}, {"type": "LIMIT"}])
def test_an_id_that_is_in_use_by_an_order_with_other_terms_is_unknown(other: dict[str, str]) -> None:
    table = routes(
        {
            "POST /orders": (400, rejected("CLIENT_ORDER_ID_ALREADY_EXISTS")),
            f"GET /orders/@{BUY.client_id}": (200, {"order": order_row(7, **other), "lastTransactionID": "10"}),
        }
    )
    outcome, _ = submit(table)
    assert isinstance(outcome, Unknown) and "other terms" in outcome.reason


def test_an_id_that_is_in_use_but_cannot_be_looked_up_is_unknown() -> None:
    table = routes(
        {
            "POST /orders": (400, rejected("CLIENT_ORDER_ID_ALREADY_EXISTS")),
            f"GET /orders/@{BUY.client_id}": NO_ORDER,
            f"GET /trades/@{BUY.client_id}": NO_TRADE,
        }
    )
    assert isinstance(submit(table)[0], Unknown)


def test_a_market_order_says_all_that_oanda_needs_to_know() -> None:
    stop, target = ProtectiveLeg("stopstopstop", Decimal("1.0950000000")), ProtectiveLeg("target", Decimal("1.11"))
    order = order_body(replace(BUY, side=Side.SELL, stop_loss=stop, take_profit=target))["order"]
    assert order == {
        "type": "MARKET",
        "instrument": "EUR_USD",
        "units": "-1000",
        "timeInForce": "FOK",
        "positionFill": "DEFAULT",
        "clientExtensions": {"id": BUY.client_id, "tag": "back-office", "comment": "ORB EURUSD"},
        "tradeClientExtensions": {"id": BUY.client_id, "tag": "back-office", "comment": "ORB EURUSD"},
        "stopLossOnFill": {
            "price": "1.095",
            "timeInForce": "GTC",
            "clientExtensions": {"id": "stopstopstop", "tag": "back-office", "comment": "ORB EURUSD"},
        },
        "takeProfitOnFill": {
            "price": "1.11",
            "timeInForce": "GTC",
            "clientExtensions": {"id": "target", "tag": "back-office", "comment": "ORB EURUSD"},
        },
    }


def test_a_closing_order_may_only_reduce() -> None:
    assert order_body(replace(BUY, reduce_only=True))["order"]["positionFill"] == "REDUCE_ONLY"


def test_a_resting_order_has_its_price_and_its_end() -> None:
    resting = replace(BUY, type=OrderType.LIMIT, price=Decimal("1.0900"))
    assert order_body(resting)["order"]["timeInForce"] == "GTC"
    ending = order_body(replace(resting, good_till=datetime(2026, 1, 5, 17, tzinfo=UTC)))["order"]
    assert (ending["price"], ending["timeInForce"]) == ("1.09", "GTD")
    assert ending["gtdTime"] == "2026-01-05T17:00:00+00:00"


@pytest.mark.parametrize(
    "bad",
    [
        {"quantity": Decimal(0)},
        {"quantity": Decimal("NaN")},
        {"quantity": Decimal("Infinity")},
        {"client_id": ""},
        {"client_id": "x" * 129},
        {"type": OrderType.LIMIT},
        {"type": OrderType.STOP, "price": Decimal("-1")},
        {"price": Decimal("1.1")},
        {"stop_loss": ProtectiveLeg("s", Decimal(0))},
        {"good_till": datetime(2026, 1, 5, tzinfo=UTC)},
    ],
)
def test_an_order_that_makes_no_sense_does_not_leave_the_house(bad: dict[str, Any]) -> None:
    outcome, methods = submit(always(answer(201, GOOD)), replace(BUY, **bad))
    assert isinstance(outcome, Refused) and outcome.code == INVALID_REQUEST and methods == []


def cancel(table: dict[str, Any], **names: str) -> SubmitOutcome:
    with serving(routes(table)) as server:
        return broker_at(server.url).cancel(**{"broker_order_id": "10", "client_id": BUY.client_id, **names})


CANCELLED = {"orderCancelTransaction": cancelling(reason="CLIENT_REQUEST"), "lastTransactionID": "11"}
NOT_PENDING = (
    404,
    {
        "orderCancelRejectTransaction": {"type": "ORDER_CANCEL_REJECT", "rejectReason": "ORDER_DOESNT_EXIST"},
        "errorCode": "ORDER_DOESNT_EXIST",
        "errorMessage": "The order does not exist",
    },
)


def test_a_cancel_that_worked_is_accepted_as_cancelled() -> None:
    outcome = cancel({"PUT /orders/10/cancel": (200, CANCELLED)})
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.CANCELLED


def test_an_order_without_known_broker_id_is_cancelled_by_ours() -> None:
    outcome = cancel({f"PUT /orders/@{BUY.client_id}/cancel": (200, CANCELLED)}, broker_order_id="")
    assert isinstance(outcome, Accepted) and outcome.broker_order_id == "10"


def test_a_cancel_that_lost_against_the_fill_says_so() -> None:
    state = {"order": order_row(10, "FILLED"), "lastTransactionID": "11"}
    outcome = cancel({"PUT /orders/10/cancel": NOT_PENDING, "GET /orders/10": (200, state)})
    assert isinstance(outcome, Refused) and outcome.code == "ORDER_DOESNT_EXIST" and "FILLED" in outcome.message


def test_a_cancel_of_a_cancelled_order_is_done() -> None:
    state = {"order": order_row(10, "CANCELLED"), "lastTransactionID": "11"}
    outcome = cancel({"PUT /orders/10/cancel": NOT_PENDING, "GET /orders/10": (200, state)})
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.CANCELLED


def test_a_cancel_of_an_order_that_nobody_knows_is_refused() -> None:
    outcome = cancel({"PUT /orders/10/cancel": NOT_PENDING, "GET /orders/10": NO_ORDER})
    assert isinstance(outcome, Refused) and "no such order" in outcome.message


@pytest.mark.parametrize(
    "table",
    [
        {"PUT /orders/10/cancel": NOT_PENDING},
        {"PUT /orders/10/cancel": (404, {"errorMessage": "gateway"})},
        {"PUT /orders/10/cancel": (503, "")},
        {"PUT /orders/10/cancel": (200, {})},
        {"PUT /orders/10/cancel": (200, {"orderCancelTransaction": cancelling(order=99)})},
        {"PUT /orders/10/cancel": NOT_PENDING, "GET /orders/10": (200, {"order": order_row(10, "PENDING")})},
    ],
)
def test_a_cancel_without_a_certain_answer_is_unknown(table: dict[str, Any]) -> None:
    assert isinstance(cancel(table), Unknown)


def test_a_cancel_that_names_no_order_is_not_sent() -> None:
    outcome = cancel({}, broker_order_id="", client_id="")
    assert isinstance(outcome, Refused) and outcome.code == INVALID_REQUEST


def test_a_history_page_is_not_needed_to_submit() -> None:
    """The look-ups of the history belong to the resolver; a submit is one exchange."""
    with serving(routes({"POST /orders": (201, GOOD), "GET /sinceid": history()})) as server:
        broker_at(server.url).submit(BUY)
        assert server.methods() == ["POST"]
