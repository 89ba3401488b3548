"""Scenarios of runs: too many requests, exits after somebody else's, and that a run says the same twice."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from reconciliation.models import Discrepancy, Run, Snapshot
from tests.faults.standing import state
from tests.faults.world import World
from tests.reconciliation.conftest import EURUSD, Desk, People
from tests.reconciliation.engine.share_desk import AAPL, ShareDesk
from tests.reconciliation.scenarios.bound import fills, ours
from tests.reconciliation.scenarios.showing import shows
from tests.reconciliation.scenarios.telling import cases, outside, reconcile
from trading.clock import now, store_broker_clock
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import CashEvent, Fill, Trade
from trading.selectors import books
from trading.services.exits import plan_exit

# What one run may ask of a broker of several answers: history before and after, account, orders, positions, clock.
REQUESTS_OF_A_RUN = 30
# The smallest step of a unit's cost in the books.
SMALLEST = Decimal(1).scaleb(-12)


@pytest.mark.scenario("S-84")
def test_a_broker_that_has_had_too_many_requests_within_a_run_is_read_later_and_nothing_is_concluded(
    share_desk: ShareDesk,
) -> None:
    desk = share_desk
    desk.reconcile()
    fills(desk, ours(desk, "10"), "10")
    desk.external("fee", currency="USD", amount="-1")
    since = desk.simulator.journal()[-1]["seq"]
    desk.simulator.post(
        "/faults",
        {"broker": "alpaca", "route": "GET /v2/positions", "when": "before", "action": "rate_limit", "times": 1000,
         "args": {"seconds": 1}},
    )  # fmt: skip
    result = desk.reconcile()
    assert result.status == "INCOMPLETE" and "positions" in result.error, result
    asked = [row["data"] for row in desk.simulator.journal(since) if row["kind"] == "request"]
    assert len(asked) <= REQUESTS_OF_A_RUN, "no storm of repeated requests"
    assert not Discrepancy.objects.filter(kind__contains="POSITION").exists(), "absence was not concluded"
    assert Fill.objects.count() == 1 and CashEvent.objects.filter(kind="FEE").exists(), "what was read is kept"
    desk.simulator.delete("/faults")
    again = desk.reconcile()
    assert again.ok and again.findings is not None and again.findings.findings == () and desk.agrees()
    assert Run.objects.order_by("id").last().status == "COMPLETE"  # type: ignore[union-attr]


@pytest.mark.scenario("S-65")
def test_an_exit_of_more_than_somebody_left_sells_no_more_than_is_held(any_world: World) -> None:
    world = any_world
    entry = world.plan()
    send_order(order_id=entry.pk)
    world.catch_up()
    trade = Trade.objects.get(account=world.account, decision=entry.decision)
    exit_order = plan_exit(
        account=world.account,
        decision=trade.decision,
        exit_type="TIME",
        reason="a scenario",
        quantity=trade.open_quantity,
        at=now(world.account),
    )
    outside(world, "closeout", instrument=world.place.instrument, quantity=str(trade.open_quantity - 2))
    send_order(order_id=exit_order.pk)
    for _ in range(3):
        world.pass_time(exit_order, 30)
        watch_once()
    positions = world.truth()["positions"]
    assert not any(row["side"] == "SHORT" for row in positions), (positions, state(exit_order))
    for _ in range(2):
        reconcile(world)
    assert positions == [] or cases(world), "what is left is closed, or people see it"


@pytest.mark.fault("F-112", broker="every")
def test_the_same_sides_twice_give_the_same_hash_and_another_side_another(desk: Desk) -> None:
    moment = desk.broker.now()
    store_broker_clock(account=desk.account, broker_at=moment, speed=Decimal(0))
    shows(desk, lambda shown: replace(shown, at=moment))
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    desk.reconcile()
    desk.reconcile()
    first, second = Run.objects.order_by("id")
    assert (first.sha256, first.findings, first.proof) == (second.sha256, second.findings, second.proof)
    assert Snapshot.objects.values("side", "sha256").distinct().count() == 2
    desk.external("silent_cash", currency="USD", amount="1")
    desk.reconcile()
    third = Run.objects.latest("id")
    assert third.sha256 != first.sha256 and third.findings != first.findings


@pytest.mark.fault("F-106", broker="every")
def test_what_a_split_in_thirds_leaves_over_is_bounded_and_stands_on_the_rounding_account(
    share_desk: ShareDesk, people: People
) -> None:
    desk = share_desk
    desk.reconcile()
    desk.external("trade", instrument=AAPL, quantity="10", price="100")
    desk.resolve(desk.opened(), "book_fills", people)
    desk.reconcile()
    desk.external("split", instrument=AAPL, ratio="3")
    desk.resolve(desk.opened(), "adjust", people)
    left = books.balances(desk.account, "ROUNDING")["USD"]
    assert 0 < abs(left) <= 30 * SMALLEST / 2 and desk.agrees(), "half a step of the cost of each unit, and no more"
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == ()
