"""The adapter against the simulator's own process: what it says must be what the simulator's journal and books say."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.servers import Simulator
from tests.trading.brokers.simulator_desk import Desk, order
from trading.brokers.registry import credentials_from_environment, open_broker
from trading.brokers.simulator_control import SimulatorControl
from trading.domain.bars import Bar
from trading.domain.broker import (
    Absent,
    Accepted,
    BrokerOrderStatus,
    Completeness,
    EventKind,
    Found,
    OrderType,
    ProtectiveLeg,
    Refused,
    Side,
)

HALF = Decimal("0.00005")


def test_the_account_says_who_it_is_and_its_history_begins_with_its_deposit(desk: Desk) -> None:
    identity = desk.broker.identity()
    assert (identity.account_id, identity.currency, identity.hedging) == (desk.account, "USD", False)
    events = desk.broker.events_since("").events
    assert [event.kind for event in events] == [EventKind.OTHER, EventKind.TRANSFER]
    [deposit] = events[1].cash
    assert (deposit.amount, deposit.currency) == (Decimal(100000), "USD")
    assert events[1].balance_after == Decimal(100000)


def test_a_fresh_account_is_flat_and_complete(desk: Desk) -> None:
    snapshot = desk.broker.snapshot()
    assert snapshot.completeness is Completeness.COMPLETE
    assert snapshot.positions == () and snapshot.orders == () and snapshot.cash == {"USD": Decimal(100000)}


def test_the_broker_time_is_the_simulators(desk: Desk) -> None:
    assert desk.broker.now() == desk.control.clock()[0]


def test_instruments_have_their_precision(desk: Desk) -> None:
    by_symbol = {each.symbol: each for each in desk.broker.instruments()}
    assert {"EUR_USD", "GBP_USD", "USD_JPY", "EUR_GBP", "XAU_USD"} <= set(by_symbol)
    assert (by_symbol["EUR_USD"].price_decimals, by_symbol["EUR_USD"].pip_size) == (5, Decimal("0.0001"))
    assert by_symbol["USD_JPY"].pip_size == Decimal("0.01")


def test_prices_are_those_of_the_market(desk: Desk) -> None:
    [price] = desk.broker.prices(["EUR_USD"])
    assert (price.bid, price.ask, price.tradeable) == (Decimal("1.1"), Decimal("1.1001"), True)


def test_a_bracket_is_one_post_one_fill_and_two_guards_under_our_ids(desk: Desk) -> None:
    request = order(
        "bracket-entry",
        stop_loss=ProtectiveLeg("bracket-stop", Decimal("1.09500")),
        take_profit=ProtectiveLeg("bracket-target", Decimal("1.11000")),
    )
    outcome = desk.broker.submit(request)
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.FILLED
    assert desk.posts() == 1
    events = desk.news()
    assert [event.kind for event in events] == [
        EventKind.ORDER_CREATED,
        EventKind.ORDER_FILLED,
        EventKind.ORDER_CREATED,
        EventKind.ORDER_CREATED,
    ]
    [fill] = events[1].fills
    [journal] = desk.rows("fill")
    assert (fill.client_id, fill.broker_order_id) == ("bracket-entry", outcome.broker_order_id)
    assert (fill.quantity, fill.price) == (Decimal(journal["quantity"]), Decimal(journal["price"]))
    guards = {news.client_id: news.trade_id for event in events[2:] for news in event.orders}
    assert guards == {"bracket-stop": fill.opened_trade_id, "bracket-target": fill.opened_trade_id}
    snapshot = desk.broker.snapshot()
    assert snapshot.completeness is Completeness.COMPLETE and snapshot.last_event_id == desk.cursor
    assert {each.client_id: (each.side, each.quantity) for each in snapshot.orders} == {
        "bracket-stop": (Side.SELL, Decimal(1000)),
        "bracket-target": (Side.SELL, Decimal(1000)),
    }
    [position] = snapshot.positions
    assert (position.side, position.quantity, position.average_price) == (Side.BUY, Decimal(1000), Decimal("1.1001"))


def test_cash_of_all_events_adds_up_to_the_simulators_cash(desk: Desk) -> None:
    desk.broker.submit(order("round-in", quantity=Decimal(10000)))
    desk.control.set_price("EUR_USD", Decimal("1.10333"), Decimal("1.10343"))
    desk.broker.submit(order("round-out", side=Side.SELL, quantity=Decimal(4000), reduce_only=True))
    desk.broker.submit(order("round-flip", side=Side.SELL, quantity=Decimal(9000)))
    desk.control.external(desk.account, "financing", currency="USD", amount="-1.37", instrument="EUR_USD")
    desk.control.external(desk.account, "transfer", currency="USD", amount="-500")
    events = desk.broker.events_since("").events
    cash = sum((move.amount for event in events for move in event.cash), Decimal(0))
    fills = sum((f.realised + f.financing + f.commission for event in events for f in event.fills), Decimal(0))
    assert cash + fills == Decimal(desk.truth()["cash"]["USD"]) == desk.broker.snapshot().cash["USD"]
    assert events[-1].balance_after == cash + fills
    held = sum((f.side.sign * f.quantity for event in events for f in event.fills), Decimal(0))
    [position] = desk.broker.snapshot().positions
    assert held == position.side.sign * position.quantity == Decimal(-3000)
    kinds = [event.kind for event in events]
    assert kinds.count(EventKind.FINANCING) == 1 and kinds.count(EventKind.TRANSFER) == 2


def test_a_closing_order_cannot_flip_the_position(desk: Desk) -> None:
    desk.broker.submit(order("open"))
    outcome = desk.broker.submit(order("close", side=Side.SELL, quantity=Decimal(5000), reduce_only=True))
    assert isinstance(outcome, Accepted)
    assert all(position.side is Side.BUY for position in desk.broker.snapshot().positions)


@pytest.mark.parametrize("type", [OrderType.LIMIT, OrderType.STOP, OrderType.MARKET_IF_TOUCHED])
def test_a_resting_order_is_placed_read_back_and_cancelled(desk: Desk, type: OrderType) -> None:
    price = Decimal("1.20000") if type is OrderType.STOP else Decimal("1.05000")
    request = order(f"rest-{type}", type=type, price=price, good_till=desk.broker.now() + timedelta(hours=2))
    outcome = desk.broker.submit(request)
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.WORKING
    found = desk.broker.order_by_client_id(request.client_id)
    assert isinstance(found, Found)
    assert (found.order.broker_order_id, found.order.price, found.order.quantity, found.order.type) == (
        outcome.broker_order_id,
        price,
        Decimal(1000),
        type.value,
    )
    cancelled = desk.broker.cancel(broker_order_id=outcome.broker_order_id, client_id=request.client_id)
    assert isinstance(cancelled, Accepted) and cancelled.status is BrokerOrderStatus.CANCELLED
    again = desk.broker.cancel(broker_order_id=outcome.broker_order_id, client_id=request.client_id)
    assert isinstance(again, Accepted) and again.reason == "ALREADY_CANCELLED"
    assert [row["status"] for row in desk.truth()["orders"] if row["status"] == "PENDING"] == []


def test_an_order_that_runs_out_of_time_expires(desk: Desk) -> None:
    resting = order(
        "ends", type=OrderType.LIMIT, price=Decimal("1.05"), good_till=desk.broker.now() + timedelta(hours=1)
    )
    assert isinstance(desk.broker.submit(resting), Accepted)
    desk.control.step_clock(Decimal(3700))
    [ended] = [event for event in desk.news() if event.kind is EventKind.ORDER_CANCELLED]
    assert ended.orders[0].status is BrokerOrderStatus.EXPIRED and ended.orders[0].client_id == "ends"


def test_a_cancel_that_comes_after_the_fill_says_that_it_filled(desk: Desk) -> None:
    outcome = desk.broker.submit(order("quick"))
    assert isinstance(outcome, Accepted)
    late = desk.broker.cancel(broker_order_id=outcome.broker_order_id, client_id="quick")
    assert isinstance(late, Refused) and late.code == "ORDER_DOESNT_EXIST" and "FILLED" in late.message


def test_a_cancel_of_an_order_that_never_was_is_refused(desk: Desk) -> None:
    outcome = desk.broker.cancel(broker_order_id="", client_id="never-was")
    assert isinstance(outcome, Refused) and outcome.code == "ORDER_DOESNT_EXIST"


def test_the_stop_fills_when_the_price_gets_there_and_the_target_goes(desk: Desk) -> None:
    desk.broker.submit(
        order(
            "guarded",
            stop_loss=ProtectiveLeg("guard-stop", Decimal("1.09500")),
            take_profit=ProtectiveLeg("guard-target", Decimal("1.11000")),
        )
    )
    desk.news()
    desk.control.set_price("EUR_USD", Decimal("1.09400"), Decimal("1.09410"))
    events = desk.news()
    [fill] = [fill for event in events for fill in event.fills]
    assert (fill.client_id, fill.side, fill.closed[0][1]) == ("guard-stop", Side.SELL, Decimal(1000))
    assert fill.realised < 0
    cancels = [news for event in events for news in event.orders if news.status is BrokerOrderStatus.CANCELLED]
    assert [news.client_id for news in cancels] == ["guard-target"]
    assert desk.broker.snapshot().positions == ()


def test_an_order_with_wrong_precision_is_refused_and_consumes_an_id(desk: Desk) -> None:
    outcome = desk.broker.submit(order("precise", type=OrderType.LIMIT, price=Decimal("1.0500001")))
    assert isinstance(outcome, Refused) and outcome.code == "PRICE_PRECISION_EXCEEDED"
    [event] = desk.news()
    assert event.kind is EventKind.ORDER_REJECTED and event.orders[0].client_id == "precise"
    found = desk.broker.order_by_client_id("precise", since=str(int(desk.cursor) - 1))
    assert isinstance(found, Found) and found.order.status is BrokerOrderStatus.REJECTED


def test_an_unknown_instrument_is_refused(desk: Desk) -> None:
    assert isinstance(desk.broker.submit(order("nowhere", instrument="EUR_XXX")), Refused)
    assert desk.truth()["orders"] == []


def test_an_order_beyond_the_margin_is_accepted_and_cancelled_with_its_reason(desk: Desk) -> None:
    outcome = desk.broker.submit(order("too-big", quantity=Decimal(50_000_000)))
    assert isinstance(outcome, Accepted)
    assert (outcome.status, outcome.reason) == (BrokerOrderStatus.CANCELLED, "INSUFFICIENT_MARGIN")


def test_a_look_up_of_nothing_is_absent(desk: Desk) -> None:
    assert isinstance(desk.broker.order_by_client_id("never-sent", since=desk.cursor), Absent)


def test_a_filled_closing_order_is_found_though_it_opened_no_trade(desk: Desk) -> None:
    desk.broker.submit(order("opens"))
    since = desk.news()[-1].external_id
    desk.broker.submit(order("closes", side=Side.SELL, reduce_only=True))
    found = desk.broker.order_by_client_id("closes", since=since)
    assert isinstance(found, Found) and found.order.status is BrokerOrderStatus.FILLED


def test_a_foreign_trade_shows_in_history_and_snapshot_without_our_id(desk: Desk) -> None:
    desk.control.external(desk.account, "trade", instrument="EUR_USD", quantity="-2500", price="1.1")
    [fill] = [fill for event in desk.news() for fill in event.fills]
    assert (fill.client_id, fill.side, fill.quantity) == ("", Side.SELL, Decimal(2500))
    [position] = desk.broker.snapshot().positions
    assert (position.side, position.quantity) == (Side.SELL, Decimal(2500))


def test_a_hedging_account_shows_both_sides(running: Simulator, control: SimulatorControl) -> None:
    desk = Desk(running, control, hedging=True)
    desk.broker.submit(order("hedge-long"))
    desk.broker.submit(order("hedge-short", side=Side.SELL, quantity=Decimal(300)))
    snapshot = desk.broker.snapshot()
    assert {(position.side, position.quantity) for position in snapshot.positions} == {
        (Side.BUY, Decimal(1000)),
        (Side.SELL, Decimal(300)),
    }
    assert snapshot.completeness is Completeness.COMPLETE and desk.broker.identity().hedging


def test_played_bars_come_back_as_candles(desk: Desk) -> None:
    start = desk.control.clock()[0].replace(minute=0, second=0, microsecond=0) + timedelta(days=1)
    prices = [("1.2", "1.21", "1.19", "1.205"), ("1.205", "1.22", "1.2", "1.21"), ("1.21", "1.215", "1.19", "1.2")]
    bars = []
    for number, row in enumerate(prices):
        opened, high, low, close = (Decimal(text) for text in row)
        bars.append(Bar("EURUSD", start + timedelta(minutes=5 * number), 300, opened, high, low, close, Decimal(7)))
    desk.control.play_bars("EUR_USD", bars, half_spread=HALF)
    assert desk.control.clock()[0] == bars[-1].end == desk.broker.now()
    candles = desk.broker.candles("EUR_USD", since=start)
    closed = [candle for candle in candles if candle.complete]
    assert [(c.start, c.open, c.high, c.low, c.close) for c in closed] == [
        (bar.start, bar.open, bar.high, bar.low, bar.close) for bar in bars
    ]
    middle = desk.broker.candles("EUR_USD", since=bars[1].start, until=bars[2].start)
    assert [candle.start for candle in middle] == [bars[1].start]


def test_the_simulators_default_account_is_reached_by_its_address_alone(running: Simulator) -> None:
    connection = credentials_from_environment("oanda", {"SIMULATOR_URL": running.control_url})
    assert connection is not None and connection.url == running.oanda_url
    assert open_broker(connection).identity().account_id == "101-001-1000001-001"
