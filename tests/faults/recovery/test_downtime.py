"""The desk was away while its broker went on: what it finds when it comes back, and what it must not do.

What stands elsewhere is not shown again: answers of another account (`faults/test_access.py`), processes that are
killed within a run (`reconciliation/engine/test_struck.py`), runs without a broker (`faults/wire/test_answers.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from reconciliation.engine.run import RunResult, run_reconciliation
from reconciliation.engine.startup import block_entries_until_reconciled
from reconciliation.models import Discrepancy, Run
from tests.faults.standing import state
from tests.faults.world import World
from trading.clock import store_broker_clock
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import CashEvent, Entry, Fill, Trade
from trading.services.restrictions import OPEN, REDUCE_ONLY, trading_state

pytestmark = pytest.mark.faults
MakeWorld = Callable[..., World]


def reconcile(world: World, trigger: str = Run.Trigger.MANUAL) -> RunResult:
    return run_reconciliation(account=world.account, trigger=trigger)


def happens(world: World, kind: str, **body: str) -> None:
    world.simulator.post(f"/accounts/{world.place.account}/external", {"kind": kind, **body})


def a_day_later(world: World) -> None:
    """The broker's clock goes on by a day; we hear of that when we are back."""
    later: datetime = world.broker_now() + timedelta(days=1)
    world.simulator.post("/clock", {"now": later.isoformat()})


def test_a_day_away_is_caught_up_before_any_entry_and_nothing_old_is_sent(make_world: MakeWorld) -> None:
    world = make_world(scope="")
    held, stale = world.plan(), world.plan()
    send_order(order_id=held.pk)
    assert reconcile(world).live == 0 and world.problems(held) == []

    below = world.place.bid - 2 * world.place.away
    world.price(below, below + Decimal("0.0001"))  # through the stop
    happens(world, "financing", currency="USD", amount="-1.25")
    happens(world, "fee", currency="USD", amount="-0.50")
    a_day_later(world)

    assert block_entries_until_reconciled() == 1
    store_broker_clock(account=world.account, broker_at=world.broker_now(), speed=Decimal(1))
    watch_once()
    assert trading_state(world.account)[0] == REDUCE_ONLY and world.posts(stale) == []
    result = reconcile(world, Run.Trigger.STARTUP)
    assert result.ok and result.findings is not None and result.findings.findings == ()
    assert trading_state(world.account) == (OPEN, []) and not Discrepancy.objects.exists()
    assert Trade.objects.get(account=world.account, decision=held.decision).state == "CLOSED"
    assert sorted(CashEvent.objects.filter(amount__lt=0).values_list("kind", flat=True)) == ["FEE", "FINANCING"]
    assert world.differences() == []

    watch_once()
    assert state(stale) == "EXPIRED" and world.posts(stale) == []
    assert len(world.posts(held)) == 1
    again = reconcile(world)
    assert again.live == 0 and world.differences() == []


@pytest.mark.parametrize("cut", ["GET /v3/accounts/{account}/transactions", "GET /v3/accounts/{account}"])
def test_a_network_that_is_cut_within_a_run_leaves_a_failed_run_and_nothing_else(
    make_world: MakeWorld, cut: str
) -> None:
    world = make_world(scope="")
    held = world.plan()
    send_order(order_id=held.pk)
    assert reconcile(world).live == 0
    happens(world, "financing", currency="USD", amount="-1.25")
    block_entries_until_reconciled()
    world.fault("reset", when="before", route=cut.format(account=world.place.account), times=1000)
    fills = Fill.objects.count()
    result = reconcile(world)
    assert (result.status, result.findings) == ("FAILED", None) and result.error
    run = Run.objects.latest("id")
    assert (run.status, run.findings, run.broker_snapshot) == ("FAILED", [], None)
    assert not Discrepancy.objects.exists() and Fill.objects.count() == fills
    assert trading_state(world.account)[0] == REDUCE_ONLY
    world.simulator.delete("/faults")
    assert reconcile(world).live == 0
    assert trading_state(world.account) == (OPEN, []) and world.differences() == []
    assert Entry.objects.filter(kind="FINANCING").count() == 1
