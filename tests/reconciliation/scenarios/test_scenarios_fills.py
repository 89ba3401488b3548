"""Scenarios of fills: told again, late, after the end, or too many: each is booked once, and people are told."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from reconciliation.models import Discrepancy
from tests.reconciliation.conftest import EURUSD, Desk, People
from tests.reconciliation.engine.share_desk import AAPL, ShareDesk, books_hold
from tests.reconciliation.engine.test_own_orders import bracket
from tests.reconciliation.scenarios.bound import fills, ours
from trading.engine.connections import broker_for
from trading.models import BrokerEvent, CashEvent, Entry, Fill, Notification, Restriction, RiskEvent
from trading.selectors import books
from trading.selectors.policies import policy_of
from trading.services import cursors
from trading.services.inbox import INFLOW
from trading.services.setup import ensure_version


@pytest.mark.scenario("S-14", "S-13")
def test_a_history_that_is_told_again_after_a_restart_is_known_already(desk: Desk) -> None:
    bracket(desk)
    desk.reconcile()
    before = [model.objects.count() for model in (BrokerEvent, Fill, Entry, CashEvent)]
    desk.broker.close()
    desk.broker = broker_for(desk.account)
    cursors.put(account=desk.account, name=INFLOW, value="")
    for _ in range(2):
        result = desk.reconcile()
        assert result.ok and result.findings is not None and result.findings.findings == ()
    assert [model.objects.count() for model in (BrokerEvent, Fill, Entry, CashEvent)] == before and desk.agrees()


@pytest.mark.scenario("S-17")
def test_a_fill_that_nobody_knows_yet_waits_and_is_a_case_only_once_it_is_confirmed(desk: Desk) -> None:
    desk.reconcile()
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.reconcile()
    assert desk.case().state == "SUSPECTED" and not Notification.objects.exists()
    desk.reconcile()
    assert desk.case().state == "OPEN" and Notification.objects.get().key.startswith("discrepancy:")
    assert BrokerEvent.objects.filter(kind="ORDER_FILLED").exists() and not Fill.objects.exists()


@pytest.mark.scenario("S-20")
def test_what_a_position_holds_already_is_booked_once_although_its_row_is_told_after_later_ones(
    share_desk: ShareDesk,
) -> None:
    desk = share_desk
    desk.reconcile()
    order = ours(desk, "10")
    desk.simulator.post(
        "/faults",
        {"broker": "alpaca", "route": "*", "when": "before", "action": "hide", "times": 1,
         "args": {"what": "fill", "page": "skip"}},
    )  # fmt: skip
    fills(desk, order, "10")
    desk.external("fee", currency="USD", amount="-1.5")
    desk.reconcile()
    assert CashEvent.objects.filter(kind="FEE").exists(), "what came after it was read"
    assert not Fill.objects.exists(), "nothing is booked from a position"
    assert not Discrepancy.objects.exclude(state="SUSPECTED").exists()
    desk.simulator.delete("/faults")
    for _ in range(2):
        result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == ()
    assert Fill.objects.get().order == order and desk.agrees()
    books_hold()


@pytest.mark.scenario("S-23")
def test_one_more_than_was_ordered_is_booked_is_critical_and_locks_its_instrument(share_desk: ShareDesk) -> None:
    desk = share_desk
    desk.reconcile()
    order = ours(desk, "100")
    for part in ("60", "41"):
        fills(desk, order, part)
        desk.reconcile()
    desk.reconcile()
    order.refresh_from_db()
    assert (order.state, order.filled_quantity) == ("FILLED", 101) and desk.agrees()
    case = desk.case(kind="OVERFILL")
    assert (case.state, case.severity) == ("OPEN", "CRITICAL")
    assert books.positions(desk.account)[AAPL].quantity == 101
    assert Restriction.objects.filter(account=desk.account, lifted_at=None, instrument__symbol=AAPL).exists()
    key = f"discrepancy:{case.pk}:0:v{case.version}:CRITICAL"
    assert Notification.objects.filter(key=key, level="CRITICAL").exists()


@pytest.mark.scenario("S-25")
@pytest.mark.parametrize("by_itself", [True, False])
def test_an_order_that_we_hold_for_cancelled_and_that_fills_on_is_booked_and_told_of(
    share_desk: ShareDesk, people: People, by_itself: bool
) -> None:
    desk = share_desk
    if not by_itself:
        policy = replace(policy_of(desk.account), apply_exact_own_fills=False)
        desk.account.policy = ensure_version(kind="POLICY", name="careful", body=policy.canonical)
        desk.account.save(update_fields=["policy"])
    desk.reconcile()
    order = ours(desk, "100", state="CANCELLED")
    fills(desk, order, "40")
    desk.reconcile()
    desk.reconcile()
    if not by_itself:
        case = desk.case(kind="MISSING_FILL", state="OPEN")
        assert not Fill.objects.exists(), "it waits for two people"
        desk.resolve(case, "book_fills", people)
        desk.reconcile()
    order.refresh_from_db()
    assert order.filled_quantity == 40 and Fill.objects.get().order == order and desk.agrees()
    assert RiskEvent.objects.filter(account=desk.account, kind="LATE_FILL").exists() == by_itself, "else the case tells"
    books_hold()


@pytest.mark.scenario("S-29")
def test_a_fee_in_a_currency_of_its_own_balances_in_that_currency_and_moves_no_other(share_desk: ShareDesk) -> None:
    desk = share_desk
    desk.reconcile()
    desk.external("fee", currency="USD", amount="-1.5")
    desk.simulator.post(
        "/faults",
        {"broker": "alpaca", "route": "GET /v2/account/activities", "when": "after", "action": "bad_value",
         "times": 1000, "args": {"path": "-1.currency", "value": "EUR"}},
    )  # fmt: skip
    desk.reconcile()
    row = CashEvent.objects.get(kind="FEE")
    assert (row.currency, row.amount) == ("EUR", Decimal("-1.5"))
    assert books.balances(desk.account, "FEE") == {"EUR": Decimal("1.5")}
    assert books.cash_balances(desk.account) == {"USD": Decimal(100_000), "EUR": Decimal("-1.5")}
    books_hold()
