"""Books of an old backup under a broker that has gone on: everything is found, nothing is sent or adopted by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from reconciliation.engine.applications import sweep
from reconciliation.engine.run import RunResult, run_reconciliation
from reconciliation.engine.startup import block_entries_until_reconciled
from reconciliation.models import Discrepancy, Run
from reconciliation.services import resolutions
from tests.conftest import CommittedDatabase
from tests.faults.places import ALPACA, KITE, OANDA, Place
from tests.faults.standing import state
from tests.faults.test_survivors import exit_of
from tests.faults.world import World
from tests.reconciliation.conftest import TEST, People
from tests.servers import DatabaseServer
from trading.engine.oco import send_and_cover
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Fill, Order
from trading.selectors import books
from trading.services.restrictions import REDUCE_ONLY, trading_state

pytestmark = pytest.mark.faults


@pytest.fixture
def backup(
    database_server: DatabaseServer, committed_db: CommittedDatabase
) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Two verbs: keep the books as they are now, and put what was kept in the place of the books."""
    name = f"{committed_db.name}_backup"
    urls = []

    def keep() -> None:
        database_server.close_connections()
        urls.append(database_server.clone(committed_db.name, name))

    def restore() -> None:
        database_server.point_django_at(urls[0], name)

    yield keep, restore
    database_server.point_django_at(committed_db.urls, committed_db.name)
    if urls:
        database_server.drop(name)


def posts(world: World) -> int:
    """How many requests have asked the broker for an order."""
    return len([row for row in world.rows("request") if row["data"]["method"] == "POST"])


def reconcile(world: World, trigger: str = Run.Trigger.MANUAL) -> RunResult:
    return run_reconciliation(account=world.account, trigger=trigger)


def decided(case: Discrepancy, action: str, people: People) -> None:
    """Ada proposes, bob approves, the sweep applies."""
    proposal = resolutions.propose(
        discrepancy_id=case.pk, action=action, reason="made after the backup", proposer=people.ada, actor=TEST
    )
    resolutions.approve(
        proposal_id=proposal.pk,
        approver=people.bob,
        payload_sha256=proposal.payload_sha256,
        subject_version=proposal.subject_version,
        reason="seen at the broker",
        actor=TEST,
    )
    sweep(case.account)


@pytest.mark.fault("F-094", broker="oanda")
def test_orders_of_after_an_old_backup_are_found_and_neither_sent_again_nor_adopted(
    people: People, make_world: Callable[..., World], backup: tuple[Callable[[], None], Callable[[], None]]
) -> None:
    keep, restore = backup
    world = make_world(scope="")
    first = world.plan()
    send_order(order_id=first.pk)
    assert reconcile(world).live == 0
    planned = world.plan()
    keep()
    send_order(order_id=planned.pk)
    lost = world.plan()
    send_order(order_id=lost.pk)
    world.catch_up()
    assert world.problems(planned) == world.problems(lost) == [] and reconcile(world).live == 0
    sent = posts(world)

    restore()
    planned.refresh_from_db()
    assert planned.state == "PLANNED" and not Order.objects.filter(client_order_id=lost.client_order_id).exists()
    assert block_entries_until_reconciled() == 1
    watch_once()
    assert state(planned) == "FILLED", "its fill is read before anything is sent, and linked by the id of our intent"
    held = books.positions(world.account)
    for trigger in (Run.Trigger.STARTUP, Run.Trigger.MANUAL):
        assert reconcile(world, trigger).ok
    assert world.problems(planned) == []
    case = _position_case()
    assert {told["client_id"] for told in case.evidence["evidence"]["fills"]} == {lost.client_order_id}
    legs = {row.evidence["evidence"]["client_id"] for row in Discrepancy.objects.filter(kind="EXTERNAL_ORDER")}
    assert legs, "the stop and target of an order that these books never knew"
    assert trading_state(world.account, instrument=first.instrument)[0] == REDUCE_ONLY
    watch_once()
    assert posts(world) == sent
    assert not Fill.objects.filter(account=world.account, order=None).exists()
    assert books.positions(world.account) == held

    decided(case, "book_fills", people)
    for row in Discrepancy.objects.filter(kind="EXTERNAL_ORDER"):
        decided(row, "accept", people)
    final = reconcile(world)
    assert final.ok and final.live == 0, list(Discrepancy.objects.values_list("kind", "key", "state", "cause"))


@pytest.mark.fault("F-094", broker="oanda")
@pytest.mark.fault("F-094", broker="alpaca")
@pytest.mark.fault("F-094", broker="kite")
@pytest.mark.parametrize(("place", "sent_by"), [(OANDA, "round"), (OANDA, "task"), (ALPACA, "task"), (KITE, "round")])
def test_an_exit_that_had_left_after_an_old_backup_does_not_leave_again(
    make_world: Callable[..., World], backup: tuple[Callable[[], None], Callable[[], None]], place: Place, sent_by: str
) -> None:
    keep, restore = backup
    world = make_world(scope="", place=place)
    entry = world.plan()
    send_order(order_id=entry.pk)
    leaving = exit_of(world, entry)
    keep()
    send_order(order_id=leaving.pk)
    assert world.truth()["positions"] == []
    sent = posts(world)

    restore()
    leaving.refresh_from_db()
    assert leaving.state == "PLANNED" and block_entries_until_reconciled() == 1
    if sent_by == "task":
        send_and_cover(account_id=world.account.pk)
    else:
        watch_once()
    assert posts(world) == sent and world.truth()["positions"] == []
    for trigger in (Run.Trigger.STARTUP, Run.Trigger.MANUAL):
        assert reconcile(world, trigger).live == 0
    assert state(leaving) == "FILLED" and world.differences() == []


def _position_case() -> Discrepancy:
    return Discrepancy.objects.exclude(kind="EXTERNAL_ORDER").get(state="OPEN")
