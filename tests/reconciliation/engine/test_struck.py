"""A reconciliation that is struck in the middle leaves nothing of itself, and the next one is complete."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reconciliation.engine.run import LEASE_SECONDS
from reconciliation.models import Discrepancy, DiscrepancyEvent, Run, Snapshot
from tests.reconciliation.conftest import EURUSD, Desk
from trading.failpoints import FailpointReached
from trading.models import AuditEvent, Restriction
from trading.services import leases


def test_a_run_that_dies_between_its_cases_and_its_end_has_found_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row F-066 of the fault catalogue."""
    desk.external("trade", instrument=EURUSD, quantity="700", price="1.1")
    trail = AuditEvent.objects.filter(kind__startswith="reconciliation").count()
    monkeypatch.setenv("FAILPOINTS", "cases_written:raise")
    with pytest.raises(FailpointReached):
        desk.reconcile()
    for table in (Run, Snapshot, Discrepancy, DiscrepancyEvent, Restriction):
        assert not table.objects.exists(), table
    assert AuditEvent.objects.filter(kind__startswith="reconciliation").count() == trail
    monkeypatch.delenv("FAILPOINTS")
    assert desk.reconcile().ok
    assert desk.case(state="SUSPECTED").difference == Decimal(700)


def test_the_lease_of_a_process_that_was_killed_holds_the_next_run_up_and_ends_by_itself(desk: Desk) -> None:
    key = f"reconcile:{desk.account.pk}"
    assert leases.acquire(key=key, holder="a process that is gone", seconds=LEASE_SECONDS)
    assert desk.reconcile().status == "BUSY" and not Run.objects.exists()
    leases.release(key=key, token=1)
    assert desk.reconcile().ok and LEASE_SECONDS <= 60
