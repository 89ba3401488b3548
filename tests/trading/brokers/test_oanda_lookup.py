"""Looking for an order by the client id it was sent with, when OANDA may have forgotten that id."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.trading.brokers.oanda_wire import (
    BUY,
    NO_ORDER,
    NO_TRADE,
    broker_at,
    cancelling,
    filling,
    history,
    market,
    order_row,
    rejecting,
    routes,
    transaction,
)
from tests.trading.brokers.raw_server import Request, serving
from trading.domain.broker import Absent, BrokerOrderStatus, Found, LookupFailed, LookupOutcome

BY_ID = f"GET /orders/@{BUY.client_id}"
BY_TRADE = f"GET /trades/@{BUY.client_id}"
SINCE = "GET /transactions/sinceid"


def look(table: dict[str, Any], since: str = "9") -> LookupOutcome:
    with serving(routes({BY_ID: NO_ORDER, BY_TRADE: NO_TRADE, SINCE: history(last=9), **table})) as server:
        outcome = broker_at(server.url).order_by_client_id(BUY.client_id, since=since)
        assert server.methods() == ["GET"] * len(server.requests), "a look-up only reads"
        return outcome


def found(table: dict[str, Any], since: str = "9") -> tuple[str, BrokerOrderStatus, Decimal]:
    outcome = look(table, since)
    assert isinstance(outcome, Found), outcome
    assert outcome.order.client_id == BUY.client_id and outcome.evidence
    return outcome.order.broker_order_id, outcome.order.status, outcome.order.filled


def test_an_order_that_oanda_still_names_is_found() -> None:
    assert found({BY_ID: (200, {"order": order_row(10)})}) == ("10", BrokerOrderStatus.WORKING, Decimal(0))


def test_a_filled_order_that_oanda_still_names_is_found() -> None:
    state = (200, {"order": order_row(10, "FILLED")})
    assert found({BY_ID: state}) == ("10", BrokerOrderStatus.FILLED, Decimal(1000))


def test_a_filled_order_whose_id_is_free_again_is_found_in_the_history() -> None:
    assert found({SINCE: history(market(), filling())}) == ("10", BrokerOrderStatus.FILLED, Decimal(1000))


def test_a_fill_is_enough_to_be_found_even_without_its_order() -> None:
    broker_id, _, filled = found({SINCE: history(filling(11), last=11)}, since="10")
    assert (broker_id, filled) == ("10", Decimal(1000))


def test_a_cancelled_order_is_found_in_the_history() -> None:
    assert found({SINCE: history(market(), cancelling())}) == ("10", BrokerOrderStatus.CANCELLED, Decimal(0))


def test_an_expired_order_is_found_as_expired() -> None:
    table = {SINCE: history(market(), cancelling(reason="TIME_IN_FORCE_EXPIRED"))}
    assert found(table)[1] is BrokerOrderStatus.EXPIRED


def test_a_rejected_order_is_found_as_rejected() -> None:
    table = {SINCE: history(rejecting("INSUFFICIENT_MARGIN"), last=10)}
    assert found(table) == ("", BrokerOrderStatus.REJECTED, Decimal(0))


def test_the_filled_copy_wins_over_the_cancelled_one() -> None:
    """A repeated send: OANDA cancelled the second copy because the first one's trade is open."""
    twins = history(
        market(10), filling(11, 10), market(12), cancelling(13, 12, reason="CLIENT_TRADE_ID_ALREADY_EXISTS")
    )
    by_id = (200, {"order": order_row(12, "CANCELLED")})
    assert found({BY_ID: by_id, SINCE: twins}) == ("10", BrokerOrderStatus.FILLED, Decimal(1000))


def test_a_part_that_filled_and_a_rest_that_works_is_partial() -> None:
    pages = history(market(10), filling(11, 10, units="400"), market(12, units="600"))
    assert found({SINCE: pages}) == ("10", BrokerOrderStatus.PARTIAL, Decimal(400))


def test_a_part_that_filled_and_a_rest_that_was_cancelled_is_cancelled_with_its_fill() -> None:
    pages = history(market(10), filling(11, 10, units="400"), cancelling(12, 10, reason="TIME_IN_FORCE_EXPIRED"))
    assert found({SINCE: pages}) == ("10", BrokerOrderStatus.CANCELLED, Decimal(400))


def test_a_filled_order_is_found_through_the_trade_that_carries_its_id() -> None:
    trade = {"id": "11", "instrument": "EUR_USD", "clientExtensions": {"id": BUY.client_id}}
    table = {
        BY_TRADE: (200, {"trade": trade}),
        "GET /transactions/11": (200, {"transaction": filling()}),
        "GET /orders/10": (200, {"order": order_row(10, "FILLED")}),
    }
    assert found(table, since="") == ("10", BrokerOrderStatus.FILLED, Decimal(1000))


def test_absent_needs_every_question_answered_with_no() -> None:
    outcome = look({SINCE: history(transaction(10, "DAILY_FINANCING", financing="0"), last=10)})
    assert isinstance(outcome, Absent) and len(outcome.evidence) == 3


def test_a_long_history_is_read_to_its_end() -> None:
    def pages(request: Request) -> tuple[int, Any]:
        first = [transaction(10, "CREATE"), transaction(11, "CREATE")]
        return history(*(first if request.path.endswith("id=9") else [market(12), filling(13, 12)]), last=13)

    assert found({SINCE: pages}) == ("12", BrokerOrderStatus.FILLED, Decimal(1000))


@pytest.mark.parametrize(
    "table",
    [
        {BY_ID: (404, "")},
        {BY_ID: (404, {"errorMessage": "a gateway's page"})},
        {BY_ID: (401, {"errorMessage": "no"})},
        {BY_ID: (503, {})},
        {BY_ID: (200, {})},
        {BY_ID: (200, {"order": order_row(10, client_id="somebody else's")})},
        {BY_TRADE: (500, {})},
        {SINCE: (500, {})},
        {SINCE: (200, {})},
        {SINCE: (200, {"transactions": []})},
        {SINCE: history(last=12)},
        {SINCE: history(transaction(11, "CREATE"), last=11)},
        {SINCE: history(transaction(10, "CREATE"), transaction(12, "CREATE"), last=12)},
        {SINCE: history(last=3)},
        {SINCE: (200, {"transactions": [{"id": "x"}], "lastTransactionID": "10"})},
    ],
)
def test_a_question_without_a_whole_answer_says_nothing_about_the_order(table: dict[str, Any]) -> None:
    assert isinstance(look(table), LookupFailed)


def test_a_broker_that_cannot_be_reached_is_a_failed_look_up() -> None:
    with serving(lambda connection, request: connection.close()) as server:
        outcome = broker_at(server.url).order_by_client_id(BUY.client_id)
    assert isinstance(outcome, LookupFailed) and outcome.evidence
