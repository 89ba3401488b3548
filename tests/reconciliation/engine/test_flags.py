"""What a broker blocks, end to end: told although it gives no cash that counts, and ended when it says so no more."""

from __future__ import annotations

from reconciliation.models import Discrepancy
from tests.reconciliation.conftest import opened
from tests.servers import Simulator


def test_shares_that_kite_has_switched_off_for_the_account_are_a_case(
    committed_db: object, simulator: Simulator
) -> None:
    with opened(simulator, "kite", "INR") as desk:
        assert desk.reconcile().live == 0
        fault = {"broker": "kite", "route": "GET /user/margins", "when": "after", "action": "bad_value", "times": 1000}
        simulator.post("/faults", {**fault, "args": {"path": "data.equity.enabled", "value": False}})
        desk.reconcile()
        assert desk.case(kind="ACCOUNT_BLOCKED").state == "SUSPECTED"
        desk.reconcile()
        case = desk.case(kind="ACCOUNT_BLOCKED")
        assert (case.state, case.key) == ("OPEN", "flag:equity_disabled")
        assert not Discrepancy.objects.filter(kind="CASH_UNEXPLAINED").exists()

        simulator.delete("/faults")
        fault = {"broker": "kite", "route": "GET /user/margins", "when": "after", "action": "status", "times": 1000}
        simulator.post("/faults", {**fault, "args": {"status": 500}})
        desk.reconcile()
        case.refresh_from_db()
        assert case.state == "OPEN", "an answer that did not come says nothing"

        simulator.delete("/faults")
        desk.reconcile()
        case.refresh_from_db()
        assert case.state == "CLEARED"
