"""The mirror follows the paper account live, and stays flat when its broker stopped it first."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.servers import Simulator
from tests.trading.engine.live_desk import Desk, at
from trading.engine.connections import broker_for
from trading.engine.inflow import catch_up
from trading.engine.mirror import MOST_IN_VAIN, follow
from trading.models import Account, ExitIntent, Order, Trade
from trading.selectors import books


@pytest.fixture
def entered(mirrored_desk: Desk) -> Trade:
    """Paper and mirror have entered EURUSD at 07:15; the mirror's open trade."""
    mirrored_desk.run(at(7, 15))
    paper, mirror = mirrored_desk.setup.account, mirrored_desk.setup.feed_account
    trade = Trade.objects.get(account=mirror)
    assert (trade.state, trade.instrument.symbol) == ("OPEN", "EURUSD")
    assert Trade.objects.get(account=paper).decision == trade.decision
    legs = Order.objects.filter(account=mirror, rides_on__isnull=False)
    assert {leg.tag: leg.state for leg in legs} == {"STOP": "WORKING", "TP1": "WORKING"}
    return trade


def closings(mirror: Account) -> int:
    """Closing orders that were sent for the mirror."""
    return Order.objects.filter(account=mirror, tag="CLOSE").count()


def test_a_mirror_that_was_closed_first_stays_flat_and_is_not_asked_to_close_for_ever(
    entered: Trade, mirrored_desk: Desk, simulator: Simulator
) -> None:
    mirror = mirrored_desk.setup.feed_account
    (stop,) = Order.objects.filter(account=mirror, rides_on__decision=entered.decision, tag="STOP")
    simulator.post(
        f"/accounts/{simulator.account}/external",
        {"kind": "closeout", "instrument": "EUR_USD", "quantity": f"{entered.quantity:f}"},
    )
    mirrored_desk.run(at(7, 20))
    stop.refresh_from_db()
    assert stop.state == "CANCELLED"
    assert Trade.objects.get(account=mirrored_desk.setup.account, decision=entered.decision).state == "OPEN"
    mirrored_desk.run(at(10, 20), each=timedelta(minutes=30))
    paper_trade = Trade.objects.get(account=mirrored_desk.setup.account, decision=entered.decision)
    assert paper_trade.state == "CLOSED"
    told = "nobody has approved the broker's own closing yet, so the books still hold it"
    assert Trade.objects.get(pk=entered.pk).state == "OPEN", told
    exits = Order.objects.filter(account=mirror, exit_intent__decision=entered.decision)
    before = exits.count()
    for _ in range(9):
        _follow(mirrored_desk)
    assert {order.state for order in exits} == {"CANCELLED"}
    assert exits.count() <= before + MOST_IN_VAIN
    assert all(position["instrument"] != "EUR_USD" for position in simulator.truth()["positions"])


def _follow(desk: Desk) -> None:
    broker = broker_for(desk.setup.feed_account)
    try:
        follow(paper=desk.setup.account, mirror=desk.setup.feed_account, broker=broker)
    finally:
        broker.close()


def test_what_the_paper_account_left_the_mirror_leaves_once(
    entered: Trade, mirrored_desk: Desk, simulator: Simulator
) -> None:
    paper, mirror = mirrored_desk.setup.account, mirrored_desk.setup.feed_account
    Trade.objects.filter(account=paper, decision=entered.decision).update(
        state="CLOSED", open_quantity=0, close_reason="TIME", closed_at=at(7, 20), trading_day=at(7, 20).date()
    )
    broker = broker_for(mirror)
    try:
        assert [follow(paper=paper, mirror=mirror, broker=broker) for _ in range(3)] == [1, 0, 0]
        catch_up(account=mirror, broker=broker)
    finally:
        broker.close()
    entered.refresh_from_db()
    assert (entered.state, entered.close_reason, closings(mirror)) == ("CLOSED", "TIME", 1)
    assert simulator.truth()["positions"] == [] and books.positions(mirror) == {}
    assert ExitIntent.objects.get(account=mirror).state == "FILLED"


def test_a_broker_that_does_not_answer_is_followed_in_the_next_round(
    entered: Trade, mirrored_desk: Desk, simulator: Simulator
) -> None:
    paper, mirror = mirrored_desk.setup.account, mirrored_desk.setup.feed_account
    Trade.objects.filter(account=paper).update(state="CLOSED", open_quantity=0, close_reason="TIME")
    simulator.post("/faults", {"broker": "oanda", "route": "*", "when": "before", "action": "drop", "times": 100})
    broker = broker_for(mirror)
    try:
        assert follow(paper=paper, mirror=mirror, broker=broker) == 0 and closings(mirror) == 0
        simulator.delete("/faults")
        assert follow(paper=paper, mirror=mirror, broker=broker) == 1
    finally:
        broker.close()
    assert simulator.truth()["positions"] == []
