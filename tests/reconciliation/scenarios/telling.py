"""What scenarios ask of a desk that trades: its runs, its live cases, and what people were told."""

from __future__ import annotations

from typing import Any

from reconciliation.engine.run import RunResult, run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.faults.world import World
from trading.models import Notification


def reconcile(world: World, trigger: str = Run.Trigger.MANUAL) -> RunResult:
    """One run of the desk's account, on an adapter of its own."""
    return run_reconciliation(account=world.account, trigger=trigger)


def outside(world: World, kind: str, **fields: Any) -> Any:
    """Something happens at the broker that we did not ask for."""
    return world.simulator.post(f"/accounts/{world.place.account}/external", {"kind": kind, **fields})


def cases(world: World) -> dict[str, str]:
    """The kinds of the cases that are alive, with their states."""
    rows = Discrepancy.objects.filter(account=world.account).exclude(state__in=["CLOSED", "CLEARED"])
    return {row.kind: row.state for row in rows}


def told() -> list[str]:
    """What people were told about differences."""
    return list(Notification.objects.filter(key__startswith="discrepancy:").values_list("text", flat=True))
