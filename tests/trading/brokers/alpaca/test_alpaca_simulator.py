"""The Alpaca adapter against the simulator's own process: what it says must be what the simulator's books say."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.servers import Simulator
from tests.trading.brokers.alpaca.alpaca_desk import Desk, bracket, order
from trading.brokers.registry import credentials_from_environment, open_broker
from trading.domain.bars import Bar
from trading.domain.broker import (
    Absent,
    Accepted,
    BrokerOrderStatus,
    Completeness,
    EventKind,
    Found,
    LegRole,
    OrderType,
    Refused,
    Side,
)


def test_the_account_says_who_it_is_and_its_history_begins_with_its_deposit(desk: Desk) -> None:
    identity = desk.broker.identity()
    assert (identity.account_id, identity.currency, identity.hedging) == (desk.account, "USD", False)
    [deposit] = [move for event in desk.seen.values() for move in event.cash]
    assert (deposit.kind, deposit.amount, deposit.currency) == (EventKind.TRANSFER, Decimal(100000), "USD")


def test_a_fresh_account_is_flat_and_complete(desk: Desk) -> None:
    snapshot = desk.broker.snapshot()
    assert snapshot.completeness is Completeness.COMPLETE
    assert snapshot.positions == () and snapshot.orders == () and snapshot.cash == {"USD": Decimal(100000)}
    assert snapshot.last_event_id == desk.cursor and snapshot.at == desk.broker.now()


def test_time_shares_and_prices_are_the_simulators(desk: Desk) -> None:
    assert desk.broker.now() == desk.control.clock()[0]
    assert {"AAPL", "SPY", "MSFT", "IBM", "GOOG"} <= {each.symbol for each in desk.broker.instruments()}
    [price] = desk.broker.prices(["AAPL"])
    assert (price.bid, price.ask, price.tradeable) == (Decimal("199.99"), Decimal("200.01"), True)


def test_a_market_order_fills_once_and_books_say_the_same(desk: Desk) -> None:
    outcome = desk.broker.submit(order("simple"))
    assert isinstance(outcome, Accepted)
    [fill] = [fill for event in desk.news() for fill in event.fills]
    assert (fill.client_id, fill.side, fill.quantity, fill.price) == (
        "simple",
        Side.BUY,
        Decimal(10),
        Decimal("200.01"),
    )
    assert fill.broker_order_id == outcome.broker_order_id and fill.settles_on is not None
    assert desk.posts() == 1 and len(desk.rows("fill")) == 1


def test_cash_and_positions_are_what_events_add_up_to(desk: Desk) -> None:
    desk.broker.submit(order("in"))
    desk.step()
    desk.price("203.00", "203.02")
    desk.broker.submit(order("part", side=Side.SELL, quantity=Decimal(4), reduce_only=True))
    desk.step()
    desk.control.external(desk.account, "dividend", currency="USD", amount="2.40", instrument="AAPL")
    desk.control.external(desk.account, "fee", currency="USD", amount="-0.07")
    desk.control.external(desk.account, "transfer", currency="USD", amount="-500")
    desk.control.external(desk.account, "financing", currency="USD", amount="-1.37")
    desk.news()
    events = desk.seen.values()
    moved = sum((move.amount for event in events for move in event.cash), Decimal(0))
    traded = sum((-f.side.sign * f.quantity * f.price for event in events for f in event.fills), Decimal(0))
    snapshot = desk.broker.snapshot()
    assert moved + traded == Decimal(desk.truth()["cash"]["USD"]) == snapshot.cash["USD"]
    [position] = snapshot.positions
    assert (position.side, position.quantity) == (Side.BUY, Decimal(6))
    kinds = [move.kind for event in events for move in event.cash]
    wanted = [EventKind.TRANSFER, EventKind.DIVIDEND, EventKind.FEE, EventKind.TRANSFER, EventKind.FINANCING]
    assert sorted(kinds) == sorted(wanted)


def test_a_bracket_is_one_entry_and_two_legs_that_know_their_entry(desk: Desk) -> None:
    outcome = desk.broker.submit(bracket("guarded"))
    assert isinstance(outcome, Accepted) and desk.posts() == 1
    legs = {leg.leg: leg.broker_order_id for leg in outcome.legs}
    assert set(legs) == {LegRole.STOP, LegRole.TP1}
    assert all(leg.parent_client_id == "guarded" for leg in outcome.legs)
    news = [news for event in desk.news() for news in event.orders if news.leg is not None]
    assert {(each.broker_order_id, each.parent_client_id) for each in news} == {
        (each, "guarded") for each in legs.values()
    }
    snapshot = desk.broker.snapshot()
    assert {(each.broker_order_id, each.leg) for each in snapshot.orders} == {(v, k) for k, v in legs.items()}
    found = desk.broker.order_by_client_id("guarded")
    assert isinstance(found, Found) and {each.broker_order_id for each in found.legs} == set(legs.values())


def test_the_target_fills_and_the_stop_goes(desk: Desk) -> None:
    outcome = desk.broker.submit(bracket("reached"))
    assert isinstance(outcome, Accepted)
    legs = {leg.leg: leg.broker_order_id for leg in outcome.legs}
    desk.news()
    desk.step(60)
    desk.price("210.50", "210.52")
    events = desk.news()
    [fill] = [fill for event in events for fill in event.fills]
    assert (fill.broker_order_id, fill.side, fill.quantity) == (legs[LegRole.TP1], Side.SELL, Decimal(10))
    ended = {news.broker_order_id: news.status for event in events for news in event.orders}
    assert ended[legs[LegRole.STOP]] is BrokerOrderStatus.CANCELLED
    assert desk.broker.snapshot().positions == () and desk.broker.snapshot().orders == ()


def test_units_that_a_leg_guards_cannot_be_sold_until_its_cancel_is_known(desk: Desk) -> None:
    outcome = desk.broker.submit(bracket("reserved"))
    assert isinstance(outcome, Accepted) and desk.broker.capabilities.legs_reserve_units
    leave = order("leave", side=Side.SELL, reduce_only=True)
    refused = desk.broker.submit(leave)
    assert isinstance(refused, Refused) and refused.code == "40310000"
    for leg in outcome.legs:
        cancelled = desk.broker.cancel(broker_order_id=leg.broker_order_id, client_id=leg.client_id)
        assert isinstance(cancelled, Accepted) and cancelled.status is BrokerOrderStatus.CANCELLED
    assert isinstance(desk.broker.submit(leave), Accepted)
    assert desk.broker.snapshot().positions == ()


def test_an_order_that_may_only_reduce_never_opens_a_short_position(desk: Desk) -> None:
    outcome = desk.broker.submit(order("nothing-there", side=Side.SELL, reduce_only=True))
    assert isinstance(outcome, Refused) and outcome.code == "NO_POSITION_TO_REDUCE"
    assert desk.posts() == 0 and desk.broker.snapshot().positions == ()


@pytest.mark.parametrize("type", [OrderType.LIMIT, OrderType.STOP])
def test_a_resting_order_is_placed_read_back_and_cancelled(desk: Desk, type: OrderType) -> None:
    price = Decimal("220.00") if type is OrderType.STOP else Decimal("180.50")
    outcome = desk.broker.submit(order("rests", type=type, price=price))
    assert isinstance(outcome, Accepted) and outcome.status is BrokerOrderStatus.WORKING
    found = desk.broker.order_by_client_id("rests")
    assert isinstance(found, Found)
    assert (found.order.price, found.order.quantity, found.order.type) == (price, Decimal(10), type.value)
    desk.news()
    cancelled = desk.broker.cancel(broker_order_id="", client_id="rests")
    assert isinstance(cancelled, Accepted) and cancelled.status is BrokerOrderStatus.CANCELLED
    again = desk.broker.cancel(broker_order_id=outcome.broker_order_id, client_id="rests")
    assert isinstance(again, Accepted) and again.reason == "HAD_ENDED (canceled)"
    [ended] = desk.news()
    assert ended.orders[0].status is BrokerOrderStatus.CANCELLED and ended.orders[0].client_id == "rests"


def test_a_cancel_that_comes_after_the_fill_says_that_it_filled(desk: Desk) -> None:
    outcome = desk.broker.submit(order("quick"))
    assert isinstance(outcome, Accepted)
    late = desk.broker.cancel(broker_order_id=outcome.broker_order_id, client_id="quick")
    assert isinstance(late, Accepted) and late.status is BrokerOrderStatus.FILLED


def test_a_cancel_of_an_order_that_never_was_is_refused(desk: Desk) -> None:
    outcome = desk.broker.cancel(broker_order_id="", client_id="never-was")
    assert isinstance(outcome, Refused) and outcome.code == "ORDER_DOESNT_EXIST"


def test_a_look_up_of_nothing_is_absent(desk: Desk) -> None:
    assert isinstance(desk.broker.order_by_client_id("never-sent", since=desk.cursor), Absent)


@pytest.mark.parametrize(
    "bad",
    [
        {"quantity": Decimal(100_000)},
        {"instrument": "NOPE"},
        {"type": OrderType.LIMIT, "price": Decimal("180.505")},
        {"instrument": "EUR_USD"},
    ],
)
def test_what_alpaca_does_not_take_is_refused_with_its_code(desk: Desk, bad: dict[str, object]) -> None:
    outcome = desk.broker.submit(order("bad", **bad))
    assert isinstance(outcome, Refused) and outcome.code.isdigit(), outcome
    assert desk.broker.snapshot().positions == () and desk.broker.snapshot().orders == ()


def test_a_trade_by_other_hands_shows_in_history_and_snapshot_without_our_id(desk: Desk) -> None:
    desk.control.external(desk.account, "trade", instrument="AAPL", quantity="-25", price="200")
    [fill] = [fill for event in desk.news() for fill in event.fills]
    assert (fill.side, fill.quantity) == (Side.SELL, Decimal(25))
    [position] = desk.broker.snapshot().positions
    assert (position.side, position.quantity) == (Side.SELL, Decimal(25))


def test_a_silent_change_of_cash_shows_in_the_snapshot_and_in_no_event(desk: Desk) -> None:
    desk.control.external(desk.account, "silent_cash", currency="USD", amount="-12.34")
    assert desk.news() == []
    assert desk.broker.snapshot().cash == {"USD": Decimal("99987.66")}


def test_an_order_that_rests_for_days_is_followed_to_its_end(desk: Desk) -> None:
    outcome = desk.broker.submit(order("patient", type=OrderType.LIMIT, price=Decimal(150)))
    assert isinstance(outcome, Accepted)
    for _ in range(3):
        desk.step(2 * 86_400)
        desk.news()
        assert [each.client_id for each in desk.broker.snapshot().orders] == ["patient"]
    desk.broker.cancel(broker_order_id=outcome.broker_order_id, client_id="patient")
    [ended] = desk.news()
    assert ended.orders[0].status is BrokerOrderStatus.CANCELLED


def test_played_bars_come_back_as_candles(desk: Desk) -> None:
    start = desk.control.clock()[0].replace(hour=15, minute=0, second=0, microsecond=0) + timedelta(days=1)
    rows = [("210", "212", "209", "211"), ("211", "213", "210", "212.5"), ("212.5", "213", "207", "208")]
    bars = [
        Bar("AAPL", start + n * timedelta(minutes=5), 300, *(Decimal(text) for text in row), Decimal(700))
        for n, row in enumerate(rows)
    ]
    desk.control.play_bars("AAPL", bars, half_spread=Decimal("0.01"))
    closed = [candle for candle in desk.broker.candles("AAPL", since=start) if candle.complete]
    assert [(c.start, c.open, c.high, c.low, c.close) for c in closed] == [
        (bar.start, bar.open, bar.high, bar.low, bar.close) for bar in bars
    ]
    middle = desk.broker.candles("AAPL", since=bars[1].start, until=bars[2].start)
    assert [candle.start for candle in middle] == [bars[1].start]


def test_the_simulators_default_account_is_reached_by_its_address_alone(running: Simulator) -> None:
    connection = credentials_from_environment("alpaca", {"SIMULATOR_URL": running.control_url})
    assert connection is not None and connection.url == running.alpaca_url
    assert open_broker(connection).identity().account_id == "SIMALPACA"
