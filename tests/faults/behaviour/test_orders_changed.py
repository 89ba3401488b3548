"""What the broker does that nobody asked for: both legs at once, cash in another currency."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.faults.places import ALPACA
from tests.faults.standing import WIRES, damaged, filled, read, state
from tests.faults.world import World
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import CashEvent, Fill, Order

pytestmark = pytest.mark.faults
at_alpaca = pytest.mark.parametrize("any_world", [ALPACA], indirect=True, ids=["alpaca"])


@at_alpaca
@pytest.mark.fault("F-054", broker="alpaca")
@pytest.mark.scenario("S-57")
def test_when_stop_and_target_both_fill_people_see_what_is_too_much_and_nothing_is_sent(any_world: World) -> None:
    world = any_world
    order = world.plan()
    send_order(order_id=order.pk)
    world.fault("both_legs", when="before", route="*")
    target = world.place.ask + 2 * world.place.away
    world.price(target + 1, target + Decimal("1.02"))
    read(world)
    legs = Order.objects.filter(rides_on=order)
    assert {state(leg) for leg in legs} == {"FILLED"}
    assert sum(filled(leg) for leg in legs) == 2 * order.quantity, "what happened is booked as it happened"
    sent = len([row for row in world.rows("request") if row["data"]["method"] == "POST"])
    for _ in range(2):
        run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
        watch_once()
    assert sent == len([row for row in world.rows("request") if row["data"]["method"] == "POST"])
    case = Discrepancy.objects.get(account=world.account, kind="OVER_CLOSED_TRADE")
    assert (case.state, case.severity) == ("OPEN", "CRITICAL")
    held = {row["instrument"]: row["quantity"] for row in world.truth()["positions"]}
    assert abs(Decimal(held["AAPL"])) == order.quantity, "short by one leg, until people decide"


@at_alpaca
@pytest.mark.fault("F-031", broker="alpaca")
@pytest.mark.parametrize("currency", ["", "U$D", None, 7])
def test_cash_without_a_currency_that_there_is_moves_the_accounts_own_or_none(
    any_world: World, currency: object
) -> None:
    world = any_world
    world.simulator.post(
        f"/accounts/{world.place.account}/external", {"kind": "fee", "currency": "USD", "amount": "-1.50"}
    )
    with damaged(world, WIRES["alpaca"].history, "-1.currency", currency):
        read(world)
    booked = CashEvent.objects.filter(account=world.account, kind="FEE")
    assert {row.currency for row in booked} <= {"USD"}
    assert not Fill.objects.filter(account=world.account).exists()


@at_alpaca
@pytest.mark.fault("F-031", broker="alpaca")
def test_cash_in_another_currency_is_booked_in_its_own_or_waits(any_world: World) -> None:
    world = any_world
    world.simulator.post(
        f"/accounts/{world.place.account}/external", {"kind": "fee", "currency": "USD", "amount": "-1.50"}
    )
    with damaged(world, WIRES["alpaca"].history, "-1.currency", "EUR"):
        read(world)
    booked = list(CashEvent.objects.filter(account=world.account, kind="FEE"))
    assert [(row.currency, row.amount) for row in booked] in ([], [("EUR", Decimal("-1.50"))]), "never converted"
