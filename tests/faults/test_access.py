"""A key that is not accepted any more, and answers about another account: no new risk until that is put right."""

from __future__ import annotations

import pytest

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.faults.standing import apart, damaged, filled, read, state, wire_of
from tests.faults.world import World
from trading.brokers import kite_client
from trading.domain.broker import OrderType
from trading.engine.canceller import cancel_order
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Entry, Notification, Order, Restriction, RiskEvent
from trading.services.restrictions import OPEN, REDUCE_ONLY, trading_state

pytestmark = pytest.mark.faults


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kite's client does not rest after a refusal, and what it learns of tokens is forgotten with the test."""
    monkeypatch.setattr(kite_client, "LOGIN_PAUSE", 0.0)
    monkeypatch.setattr(kite_client, "_account_of_token", {})


def told(text: str) -> int:
    """How many grave messages say so."""
    return Notification.objects.filter(level="CRITICAL", text__contains=text).count()


def reconcile(world: World) -> str:
    return run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL).status


def dead_key(world: World) -> None:
    world.fault("expire_token", when="before", route="*", times=1000)


@pytest.mark.fault("F-056")
def test_a_key_that_is_not_accepted_pauses_the_account_and_people_are_told_once(any_world: World) -> None:
    world = any_world
    order = world.plan()
    dead_key(world)
    send_order(order_id=order.pk)
    level, reasons = trading_state(world.account)
    assert level == REDUCE_ONLY and any(reason.startswith("login: ") for reason in reasons), reasons
    for _ in range(2):
        watch_once()
    assert reconcile(world) == "FAILED"
    assert Notification.objects.filter(level="CRITICAL", key__startswith="needs-login:").count() == 1
    assert "by telephone" in Notification.objects.get(key__startswith="needs-login:").text
    assert Restriction.objects.filter(account=world.account, lifted_at=None).count() == 1
    assert state(order) == "PLANNED" and world.copies(order) == set()


@pytest.mark.fault("F-056")
def test_an_account_without_a_login_is_asked_now_and_then_and_goes_on_by_itself_after_it(any_world: World) -> None:
    world = any_world
    resting = world.plan(type=OrderType.LIMIT, entry=world.place.bid - world.place.away / 4)
    send_order(order_id=resting.pk)
    first, second = world.plan(), world.plan()
    dead_key(world)
    watch_once()
    before = len(world.rows("request"))
    cancel_order(order_id=resting.pk, reason="a test")
    for _ in range(5):
        watch_once()
    assert len(world.rows("request")) - before <= 3, "the cancel, what follows it, and one more"
    world.simulator.delete("/faults")
    watch_once()
    assert trading_state(world.account)[0] == REDUCE_ONLY, "it is not asked again so soon"
    for _ in range(3):
        for order in (resting, first, second):
            world.pass_time(order, 31)
        watch_once()
    assert trading_state(world.account) == (OPEN, [])
    lifted = Restriction.objects.get(account=world.account, source="login")
    assert lifted.lift_reason and lifted.lifted_by is None
    assert (state(first), state(second), state(resting)) == ("FILLED", "FILLED", "CANCELLED")
    assert [len(world.copies(order)) for order in (first, second)] == [1, 1] and apart(world) == []


@pytest.mark.fault("F-056")
def test_a_signal_while_nobody_is_logged_in_makes_no_order(any_world: World) -> None:
    world = any_world
    dead_key(world)
    assert reconcile(world) == "FAILED"
    with pytest.raises(AssertionError, match="login"):
        world.plan()
    assert RiskEvent.objects.filter(account=world.account, kind="MIRROR_REFUSED").count() == 1
    world.simulator.delete("/faults")
    assert reconcile(world) == "COMPLETE"
    assert trading_state(world.account) == (OPEN, []), "a complete run is a login, too"


@pytest.mark.fault("F-033")
def test_an_answer_about_another_account_stops_entries_until_a_person_has_looked(any_world: World) -> None:
    world, (route, path) = any_world, wire_of(any_world).account
    order, entries = world.plan(), Entry.objects.count()
    kite_client._account_of_token.clear()  # as in a process that has just begun
    with damaged(world, route, path, "101-001-9999999-001"):
        assert reconcile(world) == "FAILED"
        level, reasons = trading_state(world.account)
        assert level == REDUCE_ONLY and any(reason.startswith("other account: ") for reason in reasons), reasons
        assert told("another account") == 1
        assert reconcile(world) == "FAILED" and told("another account") == 1, "once"
    send_order(order_id=order.pk)
    assert (state(order), world.copies(order)) == ("CANCELLED", set()) and "other account" in order.reason
    assert reconcile(world) == "COMPLETE"
    assert trading_state(world.account)[0] == REDUCE_ONLY, "only a person lifts this"
    assert Entry.objects.count() == entries
    assert not Discrepancy.objects.filter(account=world.account).exclude(state="CLEARED").exists()


@pytest.mark.fault("F-033", broker="oanda")
def test_a_history_of_another_account_is_never_read_as_ours(world: World) -> None:
    order = world.plan()
    with damaged(world, wire_of(world).history, "transactions.*.accountID", "101-001-9999999-001"):
        send_order(order_id=order.pk)
        assert read(world)
        watch_once()
        assert filled(order) == 0 and not Order.objects.filter(state="FILLED").exists()
        assert trading_state(world.account)[0] == REDUCE_ONLY and told("another account") == 1
    read(world)
    assert state(order) == "FILLED" and world.problems(order) == [] and apart(world) == []
