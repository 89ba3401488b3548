"""OANDA's transactions as events: signs, links, order, and nothing behind a hole."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.brokers.oanda_wire import (
    ACCOUNT,
    BUY,
    SUMMARY,
    TIME,
    broker_at,
    cancelling,
    filling,
    history,
    market,
    rejecting,
    routes,
    transaction,
)
from tests.trading.brokers.raw_server import Request, serving
from trading.brokers.errors import BadData
from trading.brokers.oanda_events import consecutive, event
from trading.domain.broker import (
    BrokerEvent,
    BrokerNeedsLogin,
    BrokerOrderStatus,
    BrokerUnreachable,
    BrokerWentBack,
    CashData,
    Completeness,
    EventKind,
    EventPage,
    OrderNews,
    Side,
)

SINCE = "GET /transactions/sinceid"


def test_a_fill_moves_cash_by_what_it_realised_its_financing_and_its_charges() -> None:
    row = filling(
        units="-1000",
        pl="12.50",
        financing="-0.75",
        commission="3.20",
        guaranteedExecutionFee="0.30",
        accountBalance="100008.25",
        tradeOpened=None,
        tradesClosed=[{"tradeID": "5", "units": "-600"}],
        tradeReduced={"tradeID": "6", "units": "-400"},
    )
    found = event(row, "USD")
    [fill] = found.fills
    assert found.kind is EventKind.ORDER_FILLED and found.orders == () and found.cash == ()
    assert (fill.side, fill.quantity, fill.price) == (Side.SELL, Decimal(1000), Decimal("1.10010"))
    assert (fill.realised, fill.financing, fill.commission) == (Decimal("12.50"), Decimal("-0.75"), Decimal("-3.50"))
    assert fill.closed == (("5", Decimal(600)), ("6", Decimal(400))) and fill.opened_trade_id == ""
    assert found.balance_after == Decimal("100008.25")
    assert (fill.external_id, fill.broker_order_id, fill.client_id) == ("11", "10", BUY.client_id)


def test_a_fill_names_the_trade_it_opened() -> None:
    assert event(filling(), "USD").fills[0].opened_trade_id == "11"


def test_a_fill_without_charges_has_none() -> None:
    row = filling()
    del row["commission"], row["financing"]
    fill = event(row, "USD").fills[0]
    assert (fill.commission, fill.financing) == (Decimal(0), Decimal(0)) and not fill.commission.is_signed()


def test_a_new_order_is_news_with_its_client_id() -> None:
    found = event(market(), "USD")
    assert found.kind is EventKind.ORDER_CREATED
    (news,) = found.orders
    assert (news.broker_order_id, news.client_id, news.status) == ("10", BUY.client_id, BrokerOrderStatus.WORKING)
    assert (news.reason, news.side, news.quantity) == ("CLIENT_ORDER", BUY.side, BUY.quantity)


def test_a_stop_made_on_a_fill_names_the_trade_it_guards() -> None:
    row = transaction(12, "STOP_LOSS_ORDER", tradeID="11", clientTradeID=BUY.client_id, price="1.09", reason="ON_FILL")
    row["clientExtensions"] = {"id": "stopstopstop"}
    assert event(row, "USD").orders == (
        OrderNews("12", "stopstopstop", BrokerOrderStatus.WORKING, "ON_FILL", trade_id="11"),
    )


def test_a_cancel_is_news_with_its_reason_and_time_running_out_is_an_expiry() -> None:
    assert event(cancelling(), "USD").orders[0].status is BrokerOrderStatus.CANCELLED
    expired = event(cancelling(reason="TIME_IN_FORCE_EXPIRED"), "USD")
    assert expired.kind is EventKind.ORDER_CANCELLED and expired.orders[0].status is BrokerOrderStatus.EXPIRED


def test_a_reject_is_news_of_an_order_that_never_was() -> None:
    found = event(rejecting("INSUFFICIENT_MARGIN"), "USD")
    assert found.kind is EventKind.ORDER_REJECTED
    assert found.orders == (OrderNews("", BUY.client_id, BrokerOrderStatus.REJECTED, "INSUFFICIENT_MARGIN"),)


@pytest.mark.parametrize(
    ("type", "fields", "kind", "amount", "instrument"),
    [
        ("DAILY_FINANCING", {"financing": "-1.25"}, EventKind.FINANCING, "-1.25", ""),
        (
            "DAILY_FINANCING",
            {"financing": "-1.25", "positionFinancings": [{"instrument": "EUR_USD", "financing": "-1.25"}]},
            EventKind.FINANCING,
            "-1.25",
            "EUR_USD",
        ),
        ("TRANSFER_FUNDS", {"amount": "100000"}, EventKind.TRANSFER, "100000", ""),
        ("TRANSFER_FUNDS", {"amount": "-50.5"}, EventKind.TRANSFER, "-50.5", ""),
        ("TRANSFER_FUNDS", {"amount": "-3", "fundingReason": "ADJUSTMENT"}, EventKind.FEE, "-3", ""),
        ("TRANSFER_FUNDS", {"amount": "9", "fundingReason": "CLIENT_FUNDING"}, EventKind.TRANSFER, "9", ""),
        ("DAILY_FINANCING", {"financing": "0.0000", "positionFinancings": []}, EventKind.FINANCING, "0", ""),
        (
            "DIVIDEND_ADJUSTMENT",
            {"dividendAdjustment": "3.10", "instrument": "SPX500_USD"},
            EventKind.DIVIDEND,
            "3.10",
            "SPX500_USD",
        ),
    ],
)
def test_cash_that_moves_without_an_order_is_signed_and_in_the_home_currency(
    type: str, fields: dict[str, Any], kind: EventKind, amount: str, instrument: str
) -> None:
    found = event(transaction(7, type, accountBalance="1", **fields), "USD")
    assert found.kind is kind
    assert found.cash == (CashData("7", kind, "USD", Decimal(amount), instrument),)


@pytest.mark.parametrize("type", ["CREATE", "MARGIN_CALL_ENTER", "ORDER_CANCEL_REJECT", "TRANSFER_FUNDS_REJECT", "NEW"])
def test_a_type_without_meaning_for_the_books_is_kept_whole(type: str) -> None:
    row = transaction(7, type, surprise={"a": 1})
    found = event(row, "USD")
    assert found.kind is EventKind.OTHER and found.raw == row
    assert not found.fills and not found.cash and not found.orders


def test_the_time_is_utc_and_cut_to_microseconds() -> None:
    assert event(market(), "USD").at.isoformat() == "2026-01-05T10:00:00.123456+00:00"
    assert event({**market(), "time": "2026-01-05T11:00:00+01:00"}, "USD").at.hour == 10


BAD_NUMBERS: list[Any] = ["NaN", "Infinity", "1e999999", "1_000", " 1", "", "١٢٣", "0x10", None, True, 1.5, [], "--1"]


@pytest.mark.parametrize("value", BAD_NUMBERS)
@pytest.mark.parametrize("field", ["units", "price", "pl"])
def test_a_number_that_is_none_is_refused(field: str, value: Any) -> None:
    with pytest.raises(BadData):
        event(filling(**{field: value}), "USD")


@pytest.mark.parametrize(
    "fields",
    [
        {"units": "0"},
        {"price": "0"},
        {"price": "-1.1"},
        {"time": "yesterday"},
        {"time": "2026-01-05T10:00:00"},
        {"time": "9999-12-31T23:59:59-10:00"},
        {"id": "-1"},
        {"orderID": None},
        {"instrument": 5},
        {"tradesClosed": "5"},
        {"tradeOpened": "5"},
        {"accountBalance": "NaN"},
    ],
)
def test_a_fill_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadData):
        event(filling(**fields), "USD")


def chain(length: int, first: int = 1) -> list[dict[str, Any]]:
    return [transaction(first + offset, "CREATE") for offset in range(length)]


def run(rows: list[dict[str, Any]], after: int = 0) -> tuple[list[int], int, str]:
    found = consecutive(rows, after=after, account_id=ACCOUNT, currency="USD")
    return [each.sequence for each in found.events], found.last_id, found.problem


@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_shuffled_and_repeated_transactions_come_out_once_and_in_order(shuffler: random.Random, length: int) -> None:
    rows = chain(length) + chain(length // 2)
    shuffler.shuffle(rows)
    assert run(rows) == (list(range(1, length + 1)), length, "")


@given(st.integers(2, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(2, n))))
def test_nothing_behind_a_hole_comes_out(case: tuple[int, int]) -> None:
    length, hole = case
    rows = [row for row in chain(length + 1) if row["id"] != str(hole)]
    sequence, last, problem = run(rows)
    assert sequence == list(range(1, hole)) and last == hole - 1 and f"transaction {hole} is missing" in problem


def test_a_history_begins_with_its_first_transaction_or_with_a_create() -> None:
    assert run([transaction(6356, "CREATE"), market(6357)]) == ([6356, 6357], 6357, "")
    assert run([market(2)])[2] == "the history has a gap: transaction 1 is missing before 2"


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([market(10), market(10, units="2000")], "given twice with different content"),
        ([market(9)], "only later ones"),
        ([{**market(10), "accountID": "101-001-9999999-001"}], "belongs to account '101-001-9999999-001'"),
        ([{**market(10), "id": "ten"}], "no usable id"),
        ([filling(10, price="NaN")], "BAD_DATA"),
    ],
)
def test_a_transaction_that_cannot_be_trusted_stops_the_books_there(rows: list[dict[str, Any]], problem: str) -> None:
    sequence, last, said = run(rows, after=9)
    assert (sequence, last) == ([], 9) and problem in said


def page(table: Any, cursor: str = "9") -> EventPage:
    with serving(routes({"GET /summary": SUMMARY, SINCE: table})) as server:
        return broker_at(server.url).events_since(cursor)


def sequences(events: tuple[BrokerEvent, ...]) -> list[int]:
    return [each.sequence for each in events]


def test_all_news_after_the_cursor_is_complete() -> None:
    found = page(history(market(), filling()))
    assert (found.completeness, found.cursor, sequences(found.events)) == (Completeness.COMPLETE, "11", [10, 11])


def test_no_news_is_complete_and_keeps_the_cursor() -> None:
    found = page(history(last=9))
    assert (found.completeness, found.cursor, found.events) == (Completeness.COMPLETE, "9", ())


def test_the_beginning_is_asked_with_id_zero() -> None:
    asked = []

    def answering(request: Request) -> tuple[int, Any]:
        asked.append(request.path.partition("?")[2])
        return history(*chain(3))

    assert page(answering, cursor="").cursor == "3" and asked == ["id=0"]


def test_a_history_of_several_pages_is_read_to_its_end() -> None:
    def answering(request: Request) -> tuple[int, Any]:
        after = int(request.path.partition("id=")[2])
        return history(*chain(5, first=after + 1), last=20)

    found = page(answering, cursor="5")
    assert (found.completeness, found.cursor, len(found.events)) == (Completeness.COMPLETE, "20", 15)


@pytest.mark.parametrize("turned_away", [(429, {"errorMessage": "Too many requests"}), (503, {})])
def test_pages_that_were_read_before_it_was_turned_away_are_kept(turned_away: tuple[int, Any]) -> None:
    def answering(request: Request) -> tuple[int, Any]:
        after = int(request.path.partition("id=")[2])
        return history(*chain(5, first=after + 1), last=20) if after < 15 else turned_away

    found = page(answering, cursor="5")
    assert (found.completeness, found.cursor, len(found.events)) == (Completeness.PARTIAL, "15", 10)
    assert str(turned_away[0]) in found.reason


def test_a_hole_makes_the_page_partial_and_the_cursor_waits_before_it() -> None:
    found = page(history(market(10), market(12)))
    assert (found.completeness, found.cursor, sequences(found.events)) == (Completeness.PARTIAL, "10", [10])
    assert "transaction 11 is missing" in found.reason


@pytest.mark.fault("F-048", broker="oanda")
def test_an_empty_page_that_hides_newer_transactions_is_partial() -> None:
    found = page(history(last=12))
    assert (found.completeness, found.cursor) == (Completeness.PARTIAL, "9") and "12" in found.reason


def test_a_history_that_went_back_stops_everything() -> None:
    with pytest.raises(BrokerWentBack, match=r"newest transaction .* is 8, but 9 was seen before"):
        page(history(last=8))


@pytest.mark.parametrize(
    "answer",
    [(200, {}), (200, {"transactions": None, "lastTransactionID": "9"}), (200, "<html>"), (502, ""), (500, {})],
)
def test_an_unusable_answer_is_not_an_empty_history(answer: tuple[int, Any]) -> None:
    with pytest.raises(BrokerUnreachable, match="says nothing about positions or money"):
        page(answer)


def test_an_unaccepted_key_asks_for_a_person() -> None:
    with pytest.raises(BrokerNeedsLogin, match="OANDA_API_KEY"):
        page((401, {"errorMessage": "no"}))


def test_times_of_the_same_transaction_do_not_order_events() -> None:
    later, earlier = {**market(10), "time": "2026-01-05T12:00:00Z"}, {**market(11), "time": TIME}
    assert run([earlier, later], after=9)[0] == [10, 11]
