"""Reading a Kite account: events of the day's books, look-ups by label, snapshots, and answers that say nothing."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.brokers.kite.kite_wire import (
    BUY,
    ORDER,
    REFUSED_TOKEN,
    TODAY,
    SmallKite,
    as_read,
    broker_at,
    complete,
    error,
    holding_row,
    margins,
    order_row,
    position_row,
    success,
    trade_row,
    utc,
)
from tests.trading.brokers.raw_server import serving
from trading.brokers import kite_parse
from trading.brokers.errors import BadData
from trading.brokers.kite_events import Today, events_of
from trading.brokers.kite_parse import ORDER_STATUS
from trading.domain.broker import (
    Absent,
    BrokerNeedsLogin,
    BrokerOrderStatus,
    BrokerUnreachable,
    BrokerWentBack,
    Completeness,
    EventKind,
    EventPage,
    Found,
    LookupFailed,
    LookupOutcome,
    Side,
)

OTHER = "151220000000009"
DAY = date(2026, 1, 14)


def page(kite: SmallKite, cursor: str = "x") -> EventPage:
    with serving(kite) as server:
        return broker_at(server.url).events_since(cursor)


def looked_up(kite: SmallKite, since: str = "") -> LookupOutcome:
    with serving(kite) as server:
        return broker_at(server.url).order_by_client_id(BUY.client_id, since=since)


def test_a_filled_order_begins_fills_and_ends_in_that_order() -> None:
    found = page(SmallKite(orders=[complete()], trades=[trade_row(1, quantity=4), trade_row(2, quantity=6)]))
    assert [event.kind for event in found.events] == [
        EventKind.ORDER_CREATED,
        EventKind.ORDER_FILLED,
        EventKind.ORDER_FILLED,
        EventKind.ORDER_FILLED,
    ]
    first, second = found.events[1].fills[0], found.events[2].fills[0]
    assert (first.external_id, first.quantity, first.price) == (
        f"{TODAY.replace('-', '')}:NSE:10000001",
        Decimal(4),
        Decimal("1500.1"),
    )
    assert (second.client_id, second.side, second.instrument) == (BUY.client_id, Side.BUY, "NSE:INFY")
    assert found.events[1].at == utc("09:31:00") and found.completeness is Completeness.COMPLETE
    assert found.events[3].orders[0].status is BrokerOrderStatus.FILLED
    assert [event.sequence for event in found.events] == sorted(event.sequence for event in found.events)


def test_the_same_books_give_the_same_cursor_and_nothing_new() -> None:
    kite = SmallKite(orders=[complete()], trades=[trade_row()])
    first = page(kite)
    again = page(kite, first.cursor)
    assert again.cursor == first.cursor and again.events == ()
    kite.orders.append(order_row(OTHER, "other"))
    later = page(kite, first.cursor)
    assert later.cursor != first.cursor and len(later.events) == 4


def test_the_end_of_an_order_waits_for_its_executions() -> None:
    found = page(SmallKite(orders=[complete()], trades=[trade_row(quantity=4)]))
    assert found.completeness is Completeness.PARTIAL and ORDER in found.reason
    assert all(not event.external_id.endswith("COMPLETE") for event in found.events)


def test_the_first_reading_begins_with_the_cash_that_was_there_before_todays_trades() -> None:
    kite = SmallKite(orders=[complete()], trades=[trade_row()], margins=margins(84999.5, opening=100000.5))
    [cash] = page(kite, "").events[0].cash
    assert (cash.kind, cash.currency, cash.amount) == (EventKind.TRANSFER, "INR", Decimal("100000.5"))
    kite.margins = margins(100000.5)
    assert page(kite, "").events[0].cash[0].amount == Decimal("100000.5")
    assert not any(event.cash for event in page(kite, "x").events)


def test_a_label_on_two_orders_makes_neither_ours_by_it() -> None:
    found = page(SmallKite(orders=[order_row(), order_row(OTHER)], trades=[trade_row(quantity=1)]))
    assert {event.orders[0].client_id for event in found.events if event.orders} == {""}
    assert {fill.client_id for event in found.events for fill in event.fills} == {""}


def test_one_bad_row_costs_nothing_but_itself_and_completeness() -> None:
    broken = order_row(OTHER, "other", transaction_type="HOLD")
    found = page(SmallKite(orders=[broken, complete()], trades=[trade_row(), trade_row(2, average_price="1,500")]))
    assert found.completeness is Completeness.PARTIAL and len(found.events) == 3


def test_the_first_reading_of_another_day_tells_that_the_one_before_is_over() -> None:
    first = page(SmallKite(orders=[order_row()]), "20260105/0123456789abcdef")
    [over] = [event for event in first.events if event.day_over is not None]
    assert (over.external_id, over.at, over is first.events[0]) == ("20260105:over", utc("00:00:00"), True)
    assert over.day_over is not None and over.day_over.before == utc("00:00:00")
    assert over.day_over.listed == (ORDER,), "what is still listed may rest"
    again = page(SmallKite(orders=[order_row(), order_row(OTHER, "other")]), first.cursor)
    assert again.events and not any(event.day_over for event in again.events)


def test_kite_going_back_a_day_stops() -> None:
    with pytest.raises(BrokerWentBack):
        page(SmallKite(), "29991231/0123456789abcdef")


@pytest.mark.parametrize("word", [*ORDER_STATUS, "A BRAND NEW STATUS"])
def test_every_status_is_known_or_counts_as_open(word: str) -> None:
    row = as_read(order_row(status=word))
    ended = kite_parse.has_ended(row)
    assert ended == (word in ("COMPLETE", "CANCELLED", "CANCELLED AMO", "REJECTED"))
    known = kite_parse.order(row)
    assert known.raw_status == word and (known.status is BrokerOrderStatus.OTHER) == (word not in ORDER_STATUS)


def test_an_open_order_that_filled_in_part_is_partial() -> None:
    assert kite_parse.order(as_read(order_row(filled_quantity=3))).status is BrokerOrderStatus.PARTIAL


@pytest.mark.parametrize(
    "fields",
    [
        {"filled_quantity": 11},
        {"filled_quantity": -1},
        {"quantity": 1.5},
        {"quantity": True},
        {"quantity": "10"},
        {"order_id": 151220000000000},
        {"transaction_type": "buy"},
        {"status": None},
        {"tags": "x", "tag": None},
    ],
)
def test_a_field_of_another_kind_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadData):
        kite_parse.order(as_read(order_row(**fields)))


def test_times_are_of_india() -> None:
    assert kite_parse.moment({"at": f"{TODAY} 09:15:00"}, "at") == utc("09:15:00")
    for text in ("2026-01-07T09:15:00", "09:15:00", "0001-01-01 00:00:00", "", None, 5):
        with pytest.raises(BadData):
            kite_parse.moment({"at": text}, "at")


def test_a_number_is_kept_as_it_was_written() -> None:
    assert page(SmallKite(trades=[trade_row(average_price=0.1)])).events[0].fills[0].price == Decimal("0.1")


@given(st.permutations([complete(), order_row(OTHER, "other"), order_row("3", None, "REJECTED")]), st.randoms())
def test_the_order_of_the_lists_changes_no_event(orders: list[dict[str, Any]], random: Any) -> None:
    trades = [trade_row(1, quantity=4), trade_row(2, quantity=6, fill_timestamp=f"{TODAY} 09:32:00")]
    random.shuffle(trades)
    rows = [complete(), order_row(OTHER, "other"), order_row("3", None, "REJECTED")]
    known = Today(DAY, [as_read(row) for row in rows], [as_read(row) for row in sorted(trades, key=str)])
    told = Today(DAY, [as_read(row) for row in orders], [as_read(row) for row in trades])
    assert told.cursor == known.cursor
    assert {(e.external_id, str(e.raw)) for e in events_of(told).events} == {
        (e.external_id, str(e.raw)) for e in events_of(known).events
    }


def test_one_order_with_our_label_is_found() -> None:
    outcome = looked_up(SmallKite(orders=[order_row(OTHER, "other"), order_row(), order_row("3", None)]))
    assert isinstance(outcome, Found) and outcome.order.broker_order_id == ORDER and not outcome.duplicates


def test_two_orders_with_our_label_are_found_with_an_alarm() -> None:
    second = order_row(OTHER, order_timestamp=f"{TODAY} 09:29:00")
    outcome = looked_up(SmallKite(orders=[order_row(), second]))
    assert isinstance(outcome, Found) and outcome.order.broker_order_id == OTHER
    assert [each.broker_order_id for each in outcome.duplicates] == [ORDER]


def test_no_order_with_our_label_is_absent_only_on_the_day_it_was_sent() -> None:
    assert isinstance(looked_up(SmallKite(), f"{TODAY.replace('-', '')}/0123456789abcdef"), Absent)
    outcome = looked_up(SmallKite(), "20260101/0123456789abcdef")
    assert isinstance(outcome, LookupFailed) and "proves nothing" in outcome.reason


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, success(None)),
        (200, success({})),
        (200, success([5])),
        (200, "{}"),
        (200, "[]"),
        (200, "null"),
        (200, "<html>"),
        (200, '{"status":"success","data":[{"price":NaN}]}'),
        (500, success([])),
        (404, success([])),
        (400, error("InputException")),
        (403, error("PermissionException")),
        (429, error("NetworkException")),
        (500, {"status": "error"}),
        (502, ""),
        (302, success([])),
    ],
)
def test_a_bad_answer_is_never_an_empty_day(status: int, body: Any) -> None:
    kite = SmallKite(routes={"GET /orders": (status, body)})
    with pytest.raises(BrokerUnreachable):
        page(kite)
    assert isinstance(looked_up(kite), LookupFailed)


def test_an_answer_without_content_type_is_no_error_of_the_sdks() -> None:
    from tests.trading.brokers.raw_server import always, answer

    with serving(always(answer(200, '{"status":"success","data":[]}'))) as server, pytest.raises(BrokerUnreachable):
        broker_at(server.url).identity()


def test_a_dead_token_is_said_by_reads_and_asked_with_once() -> None:
    kite = SmallKite(routes={"GET /orders": (403, REFUSED_TOKEN)})
    with serving(kite) as server:
        broker = broker_at(server.url)
        for _ in range(3):
            with pytest.raises(BrokerNeedsLogin, match="Kite needs a login"):
                broker.events_since("x")
        assert len([one for one in server.requests if one.path == "/orders"]) == 1


def test_a_snapshot_joins_holdings_and_todays_trades() -> None:
    kite = SmallKite(
        orders=[order_row(OTHER, "resting"), complete()],
        trades=[trade_row()],
        net=[position_row(10), position_row(-5, product="MIS"), position_row(0, 0, "NRML")],
        holdings=[holding_row(10)],
    )
    with serving(kite) as server:
        shown = broker_at(server.url).snapshot()
    assert shown.completeness is Completeness.COMPLETE
    assert [(each.side, each.quantity, each.average_price, each.product) for each in shown.positions] == [
        (Side.BUY, Decimal(20), Decimal("1450.05"), "CNC"),
        (Side.SELL, Decimal(5), Decimal("1500.1"), "MIS"),
    ]
    assert shown.cash == {"INR": Decimal("84999.5")}
    assert [each.broker_order_id for each in shown.orders] == [OTHER]
    assert shown.last_event_id == page(kite).cursor


@pytest.mark.parametrize("bought", [[], [position_row(5) | {"last_price": 1490.5}]], ids=["alone", "and bought"])
def test_shares_that_came_from_elsewhere_have_no_cost_and_the_price_of_the_market(bought: list[dict[str, Any]]) -> None:
    gift = holding_row(10, price=0) | {"last_price": 1490.5}
    with serving(SmallKite(net=bought, holdings=[gift])) as server:
        shown = broker_at(server.url).snapshot()
    assert shown.positions_part.completeness is Completeness.COMPLETE
    assert [(held.average_price, held.market_price) for held in shown.positions] == [(0, Decimal("1490.5"))]
    with serving(SmallKite(holdings=[holding_row(10, price=0)])) as server:
        assert broker_at(server.url).snapshot().positions_part.completeness is Completeness.PARTIAL


def test_a_price_of_the_market_that_nobody_needs_is_not_read() -> None:
    with serving(SmallKite(holdings=[holding_row(10) | {"last_price": "?"}])) as server:
        shown = broker_at(server.url).snapshot()
    assert shown.positions_part.completeness is Completeness.COMPLETE
    assert [(held.quantity, held.average_price) for held in shown.positions] == [(10, 1400)]


def test_a_position_without_a_price_of_the_market_keeps_the_one_of_the_holding() -> None:
    gift = holding_row(10, price=0) | {"last_price": 1490.5}
    with serving(SmallKite(net=[position_row(5)], holdings=[gift])) as server:
        shown = broker_at(server.url).snapshot()
    assert shown.positions_part.completeness is Completeness.COMPLETE
    assert [held.market_price for held in shown.positions] == [Decimal("1490.5")]


def test_what_cannot_be_read_makes_its_part_incomplete() -> None:
    kite = SmallKite(orders=[order_row(status=None)], routes={"GET /portfolio/holdings": (500, "no")})
    kite.margins = {"equity": {"available": {"cash": "1"}}}
    with serving(kite) as server:
        shown = broker_at(server.url).snapshot()
    assert shown.positions_part.completeness is Completeness.FAILED
    assert shown.cash_part.completeness is Completeness.FAILED
    assert shown.orders_part.completeness is Completeness.PARTIAL


def test_a_segment_that_is_switched_off_is_told_although_its_cash_counts_for_nothing() -> None:
    kite = SmallKite()
    kite.margins["equity"]["enabled"] = False
    with serving(kite) as server:
        shown = broker_at(server.url).snapshot()
    assert shown.flags == ("equity_disabled",) and shown.cash_part.completeness is Completeness.FAILED
    kite.margins = margins(100000.5)
    with serving(kite) as server:
        assert broker_at(server.url).snapshot().flags == ()


def test_trades_of_derivatives_leave_the_cash_uncertain() -> None:
    row = trade_row(exchange="NFO", tradingsymbol="NIFTY27DECFUT", product="NRML")
    with serving(SmallKite(orders=[complete()], trades=[row])) as server:
        assert broker_at(server.url).snapshot().cash_part.completeness is Completeness.PARTIAL
