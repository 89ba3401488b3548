"""The paper book: when orders fill, at which price, and what it tells."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.trading.domain.making import at, bar, request
from trading.domain.broker import BrokerEvent, BrokerOrderStatus, EventKind, OrderType, Side
from trading.domain.costs import CostModel
from trading.domain.instruments import instrument
from trading.domain.paper import PaperBook
from trading.domain.paper_state import OpenEntry

D = Decimal
ONE = D(1)
SIGNAL_END = at("2014-05-01 07:10")
FIRST = "2014-05-01 07:10"
SECOND = "2014-05-01 07:15"


def new_book(spread: str = "0.6", commission: str = "0") -> PaperBook:
    costs = {
        symbol: CostModel(instrument(symbol), D(spread), D(commission)) for symbol in ("EURUSD", "USDJPY", "XAUUSD")
    }
    book = PaperBook(currency="USD", costs=costs)
    book.deposit(D(100_000), at("2014-05-01 00:00"))
    return book


def enter(book: PaperBook, client_id: str = "e", side: Side = Side.BUY, quantity: str = "10000") -> list[BrokerEvent]:
    stop, target = ("1.37900", "1.38100") if side is Side.BUY else ("1.38100", "1.37900")
    order = request(client_id, side, quantity, stop=stop, target=target)
    return book.submit(order, at=SIGNAL_END, mid=D("1.38000"), atr=None, rate=ONE)


def told(events: list[BrokerEvent]) -> list[tuple[EventKind, str]]:
    return [(event.kind, event.external_id) for event in events]


def test_the_opening_deposit_is_the_first_event_and_the_balance() -> None:
    book = PaperBook(currency="USD", costs={})
    (event,) = book.deposit(D(100_000), at("2014-05-01 00:00"))
    assert (event.sequence, event.external_id, event.kind) == (1, "opening-deposit", EventKind.TRANSFER)
    assert (event.cash[0].amount, event.cash[0].currency, event.balance_after) == (100_000, "USD", 100_000)


def test_a_market_order_fills_at_once_at_the_mid_and_costs_and_its_bracket_comes_alive() -> None:
    book = new_book()
    events = enter(book)
    assert told(events) == [
        (EventKind.ORDER_CREATED, "e:created"),
        (EventKind.ORDER_FILLED, "e:fill"),
        (EventKind.ORDER_CREATED, "e-sl:created"),
        (EventKind.ORDER_CREATED, "e-tp:created"),
    ]
    (fill,) = events[1].fills
    assert (fill.price, fill.quantity, fill.realised, fill.opened_trade_id) == (D("1.38013"), 10_000, 0, "e:trade")
    assert [event.sequence for event in events] == [2, 3, 4, 5]
    assert events[2].orders[0].trade_id == "e:trade"
    assert {event.at for event in events} == {SIGNAL_END}


@pytest.mark.parametrize(
    ("prices", "price", "leg"),
    [
        ("1.37950 1.37960 1.37890 1.37950", "1.37887", "e-sl"),
        ("1.37800 1.37960 1.37790 1.37950", "1.37787", "e-sl"),
        ("1.38050 1.38110 1.38040 1.38100", "1.38087", "e-tp"),
        ("1.38200 1.38210 1.38190 1.38200", "1.38187", "e-tp"),
        ("1.38000 1.38110 1.37890 1.38100", "1.37887", "e-sl"),
        ("1.38200 1.38210 1.37800 1.38200", "1.38187", "e-tp"),
        ("1.38000 1.38000 1.37900 1.38000", "1.37887", "e-sl"),
    ],
    ids=["stop", "gap through the stop", "target", "gap through the target", "both: stop first", "gap wins", "touch"],
)
def test_a_bar_fills_a_leg_at_its_open_on_a_gap_else_by_touch_with_the_stop_before_the_target(
    prices: str, price: str, leg: str
) -> None:
    book = new_book()
    enter(book)
    events = book.on_bar(bar(FIRST, prices), atr=None, rate=ONE)
    sibling = "e-tp" if leg == "e-sl" else "e-sl"
    assert told(events) == [
        (EventKind.ORDER_FILLED, f"{leg}:fill"),
        (EventKind.ORDER_CANCELLED, f"{sibling}:cancelled"),
    ]
    (fill,) = events[0].fills
    assert (fill.price, fill.side, fill.closed) == (D(price), Side.SELL, (("e:trade", D(10_000)),))
    assert fill.realised == (D(price) - D("1.38013")) * 10_000
    assert book.open_entries == ()
    assert book.balance == events[-1].balance_after == 100_000 + fill.realised


def test_a_short_trade_is_guarded_the_other_way_round() -> None:
    book = new_book()
    enter(book, side=Side.SELL)
    (filled, _) = book.on_bar(bar(FIRST, "1.38000 1.38105 1.37890 1.38000"), atr=None, rate=ONE)
    assert (filled.fills[0].client_id, filled.fills[0].side, filled.fills[0].price) == ("e-sl", Side.BUY, D("1.38113"))


def test_stop_and_target_count_only_from_the_bar_after_the_fill() -> None:
    book = new_book()
    enter(book)
    own_bar = bar("2014-05-01 07:05", "1.38000 1.38200 1.37800 1.38000")
    assert book.on_bar(own_bar, atr=None, rate=ONE) == []
    resting = new_book()
    order = request("s", kind=OrderType.STOP, price="1.38050", stop="1.37900", target="1.38100")
    resting.submit(order, at=SIGNAL_END, mid=D("1.38"), atr=None, rate=ONE)
    events = resting.on_bar(bar(FIRST, "1.38000 1.38200 1.37800 1.38000"), atr=None, rate=ONE)
    assert told(events)[0] == (EventKind.ORDER_FILLED, "s:fill")
    assert len(resting.open_entries) == 1
    events = resting.on_bar(bar(SECOND, "1.38000 1.38020 1.37800 1.38000"), atr=None, rate=ONE)
    assert told(events)[0] == (EventKind.ORDER_FILLED, "s-sl:fill")


def test_a_bar_that_is_given_again_after_a_restart_does_not_reach_the_bracket_of_the_entry_it_filled() -> None:
    book = new_book()
    order = request("s", kind=OrderType.STOP, price="1.38050", stop="1.37900", target="1.38100")
    book.submit(order, at=SIGNAL_END, mid=D("1.38"), atr=None, rate=ONE)
    wide = bar(FIRST, "1.38000 1.38200 1.37800 1.38000")
    book.on_bar(wide, atr=None, rate=ONE)
    assert book.on_bar(wide, atr=None, rate=ONE) == []
    assert book.open_entries[0].filled_at == wide.end


def test_bars_of_another_symbol_touch_nothing() -> None:
    book = new_book()
    enter(book)
    assert book.on_bar(bar(FIRST, "1.30000 1.40000 1.20000 1.30000", "XAUUSD"), atr=None, rate=ONE) == []


@pytest.mark.parametrize(
    ("kind", "side", "price", "prices", "mid"),
    [
        (OrderType.STOP, Side.BUY, "1.38100", "1.38000 1.38110 1.37990 1.38050", "1.38100"),
        (OrderType.STOP, Side.BUY, "1.38100", "1.38150 1.38160 1.38140 1.38150", "1.38150"),
        (OrderType.STOP, Side.BUY, "1.38100", "1.38000 1.38090 1.37000 1.38050", None),
        (OrderType.STOP, Side.SELL, "1.37900", "1.38000 1.38010 1.37890 1.37950", "1.37900"),
        (OrderType.LIMIT, Side.BUY, "1.37900", "1.38000 1.38010 1.37890 1.37950", "1.37900"),
        (OrderType.LIMIT, Side.BUY, "1.37900", "1.37800 1.37810 1.37790 1.37800", "1.37800"),
        (OrderType.LIMIT, Side.SELL, "1.38100", "1.38000 1.38090 1.37990 1.38000", None),
        (OrderType.MARKET_IF_TOUCHED, Side.BUY, "1.38100", "1.38000 1.38100 1.37990 1.38000", "1.38100"),
        (OrderType.MARKET_IF_TOUCHED, Side.BUY, "1.37900", "1.38000 1.38100 1.37900 1.38000", "1.37900"),
    ],
)
def test_a_resting_order_fills_by_touch_from_the_next_bar_at_the_open_on_a_gap(
    kind: OrderType, side: Side, price: str, prices: str, mid: str | None
) -> None:
    book = new_book()
    events = book.submit(
        request("o", side, kind=kind, price=price), at=SIGNAL_END, mid=D("1.38000"), atr=None, rate=ONE
    )
    assert told(events) == [(EventKind.ORDER_CREATED, "o:created")]
    assert book.on_bar(bar("2014-05-01 07:05", prices), atr=None, rate=ONE) == []
    events = book.on_bar(bar(FIRST, prices), atr=None, rate=ONE)
    if mid is None:
        assert events == []
        assert [order.request.client_id for order in book.working_orders] == ["o"]
    else:
        expected = D(mid) + side.sign * D("0.00013")
        assert [fill.price for event in events for fill in event.fills] == [expected]
        assert book.working_orders == ()


def test_an_order_is_cancelled_at_the_window_s_end_and_then_never_fills() -> None:
    book = new_book()
    book.submit(request("o", kind=OrderType.STOP, price="1.38100"), at=SIGNAL_END, mid=D("1.38"), atr=None, rate=ONE)
    events = book.cancel("o", at=at("2014-05-01 10:00"), reason="WINDOW_END")
    assert told(events) == [(EventKind.ORDER_CANCELLED, "o:cancelled")]
    assert (events[0].orders[0].status, events[0].orders[0].reason) == (BrokerOrderStatus.CANCELLED, "WINDOW_END")
    assert book.cancel("o", at=at("2014-05-01 10:00")) == []
    assert book.on_bar(bar("2014-05-01 10:00", "1.38200 1.38300 1.38100 1.38200"), atr=None, rate=ONE) == []


def test_an_order_that_is_good_until_a_time_expires_before_the_bar_that_starts_then() -> None:
    book = new_book()
    order = request("o", kind=OrderType.STOP, price="1.38100", good_till=at(SECOND))
    book.submit(order, at=SIGNAL_END, mid=D("1.38"), atr=None, rate=ONE)
    assert book.on_bar(bar(FIRST, "1.38 1.38 1.38 1.38"), atr=None, rate=ONE) == []
    (event,) = book.on_bar(bar(SECOND, "1.38200 1.38300 1.38100 1.38200"), atr=None, rate=ONE)
    assert event.orders[0].status is BrokerOrderStatus.EXPIRED


def test_trap_a_time_exit_is_booked_at_the_bar_s_open_and_not_at_the_entry_price() -> None:
    book = new_book()
    enter(book)
    close = request("x", Side.SELL, "10000", reduce_only=True)
    late = bar("2014-05-01 10:00", "1.38050 1.38060 1.38040 1.38050")
    events = book.submit(close, at=late.start, mid=late.open, atr=None, rate=ONE, closes="e")
    assert told(events) == [
        (EventKind.ORDER_CREATED, "x:created"),
        (EventKind.ORDER_FILLED, "x:fill"),
        (EventKind.ORDER_CANCELLED, "e-sl:cancelled"),
        (EventKind.ORDER_CANCELLED, "e-tp:cancelled"),
    ]
    (fill,) = events[1].fills
    assert fill.price == D("1.38037")
    assert fill.realised == D("2.40000")
    assert book.on_bar(late, atr=None, rate=ONE) == []


def test_a_strategy_closes_only_its_own_entry_although_an_older_one_is_open() -> None:
    book = new_book()
    enter(book, "older")
    enter(book, "mine", quantity="3000")
    close = request("x", Side.SELL, "9000", reduce_only=True)
    events = book.submit(close, at=SIGNAL_END, mid=D("1.38"), atr=None, rate=ONE, closes="mine")
    assert [fill.closed for event in events for fill in event.fills] == [(("mine:trade", D(3000)),)]
    assert [(entry.client_id, entry.quantity) for entry in book.open_entries] == [("older", 10_000)]


def test_each_bracket_guards_what_is_still_open_of_its_own_entry() -> None:
    book = new_book()
    enter(book, "a")
    enter(book, "b", quantity="3000")
    part = request("x", Side.SELL, "4000", reduce_only=True)
    book.submit(part, at=SIGNAL_END, mid=D("1.38"), atr=None, rate=ONE, closes="a")
    events = book.on_bar(bar(FIRST, "1.38 1.38 1.37800 1.38"), atr=None, rate=ONE)
    assert [(fill.client_id, fill.quantity) for event in events for fill in event.fills] == [
        ("a-sl", 6000),
        ("b-sl", 3000),
    ]


def test_without_a_named_entry_a_reducing_order_closes_the_oldest_first_and_never_opens() -> None:
    book = new_book()
    enter(book, "a")
    enter(book, "b", quantity="3000")
    close = request("x", Side.SELL, "50000", reduce_only=True)
    events = book.submit(close, at=SIGNAL_END, mid=D("1.38"), atr=None, rate=ONE)
    (fill,) = [fill for event in events for fill in event.fills]
    assert (fill.quantity, fill.closed) == (13_000, (("a:trade", D(10_000)), ("b:trade", D(3000))))
    assert book.open_entries == ()
    assert book.positions() == ()


def test_a_reducing_order_closes_what_it_asks_for_over_several_entries_and_no_more() -> None:
    book = new_book()
    enter(book, "a")
    enter(book, "b", quantity="3000")
    close = request("x", Side.SELL, "11000", reduce_only=True)
    events = book.submit(close, at=SIGNAL_END, mid=D("1.38"), atr=None, rate=ONE)
    (fill,) = [fill for event in events for fill in event.fills]
    assert (fill.quantity, fill.closed) == (11_000, (("a:trade", D(10_000)), ("b:trade", D(1000))))
    assert [(entry.client_id, entry.quantity) for entry in book.open_entries] == [("b", 2000)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"reduce_only": True}, "REDUCE_ONLY_NOTHING_OPEN"),
        ({"instrument": "GBPUSD"}, "INSTRUMENT_UNKNOWN"),
        ({"quantity": D(0)}, "UNITS_INVALID"),
        ({"quantity": D("NaN")}, "UNITS_INVALID"),
        ({"type": OrderType.STOP}, "PRICE_INVALID"),
        ({"price": D(1)}, "PRICE_INVALID"),
    ],
)
def test_what_cannot_be_an_order_is_rejected_with_a_code_and_moves_nothing(
    change: dict[str, object], code: str
) -> None:
    book = new_book()
    order = replace(request("o"), **change)  # type: ignore[arg-type]
    (event,) = book.submit(order, at=SIGNAL_END, mid=D("1.38"), atr=None, rate=ONE)
    assert (event.kind, event.external_id) == (EventKind.ORDER_REJECTED, "o:rejected")
    assert (event.orders[0].status, event.orders[0].reason) == (BrokerOrderStatus.REJECTED, code)
    assert book.balance == 100_000


def test_an_order_that_is_sent_again_after_a_crash_changes_nothing() -> None:
    book = new_book()
    enter(book)
    assert book.knows("e")
    assert enter(book) == []
    leg_sent_by_us = request("e-sl", Side.SELL, "10000", kind=OrderType.STOP, price="1.37900")
    assert book.submit(leg_sent_by_us, at=SIGNAL_END, mid=D("1.38"), atr=None, rate=ONE) == []
    assert len(book.open_entries) == 1
    book.on_bar(bar(FIRST, "1.38 1.38 1.37800 1.38"), atr=None, rate=ONE)
    assert enter(book) == []


def test_one_leg_taken_back_leaves_the_other() -> None:
    book = new_book()
    enter(book)
    assert told(book.cancel("e-tp", at=SIGNAL_END)) == [(EventKind.ORDER_CANCELLED, "e-tp:cancelled")]
    assert book.on_bar(bar(FIRST, "1.38 1.38200 1.38 1.38"), atr=None, rate=ONE) == []
    events = book.on_bar(bar(SECOND, "1.38 1.38 1.37800 1.38"), atr=None, rate=ONE)
    assert told(events) == [(EventKind.ORDER_FILLED, "e-sl:fill")]


def test_profit_of_a_yen_pair_is_converted_at_the_rate_of_the_moment_and_rounded_once_half_to_even() -> None:
    book = new_book(spread="0")
    order = request("j", quantity="12345", stop="99.000", target="101.000", instrument="USDJPY")
    book.submit(order, at=SIGNAL_END, mid=D("100.000"), atr=None, rate=D("0.0099"))
    (filled, _) = book.on_bar(bar(FIRST, "100 101.5 100 101", "USDJPY"), atr=None, rate=D("0.009876543"))
    assert filled.fills[0].price == D("100.990")
    assert filled.fills[0].realised == (D("0.980") * 12345 * D("0.009876543")).quantize(D("0.00001"))


def test_half_a_step_of_money_is_rounded_to_even() -> None:
    book = new_book(spread="0")
    book.submit(request("a", quantity="1"), at=SIGNAL_END, mid=D("1.38000"), atr=None, rate=ONE)
    close = request("x", Side.SELL, "1", reduce_only=True)
    events = book.submit(close, at=SIGNAL_END, mid=D("1.38025"), atr=None, rate=D("0.5"))
    # (1.38015 - 1.38010) × 1 × 0.5 = 0.000025, exactly between 0.00002 and 0.00003.
    assert [fill.realised for event in events for fill in event.fills] == [D("0.00002")]


def test_commission_leaves_the_account_with_each_fill() -> None:
    book = new_book(commission="50")
    events = enter(book)
    assert events[1].fills[0].commission == D("-0.5")
    assert book.balance == D("99999.5")


def test_positions_add_up_the_open_entries_of_each_side() -> None:
    book = new_book()
    enter(book, "a")
    enter(book, "b", quantity="30000")
    (position,) = book.positions()
    assert (position.instrument, position.side, position.quantity) == ("EURUSD", Side.BUY, 40_000)
    assert position.average_price == D("1.38013")


def test_an_entry_knows_its_legs_the_stop_first() -> None:
    book = new_book()
    enter(book)
    entry: OpenEntry = book.open_entries[0]
    assert [leg.client_id for leg in entry.legs] == ["e-sl", "e-tp"]
    assert entry.without(entry.legs[0]).legs == (entry.legs[1],)
