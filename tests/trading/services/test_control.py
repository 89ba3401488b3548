"""Control that survives restarts: restrictions, leases, cursors, attempts, audit."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections

from tests.conftest import CommittedDatabase
from tests.trading.services.making import TEST, instrument, make_account, moment
from trading.clock import wall_now
from trading.models import Account, AuditEvent, Notification, Restriction, User
from trading.services import attempts, audit, cursors, leases
from trading.services.audit import Actor
from trading.services.restrictions import lift, restrict, trading_state


@pytest.fixture
def account(db: None) -> Account:
    return make_account()


def test_the_trading_state_is_the_strictest_live_restriction(account: Account) -> None:
    assert trading_state(account) == ("OPEN", [])
    soft = restrict(account=account, level="REDUCE_ONLY", source="drawdown", reason="3 % down", actor=TEST)
    hard = restrict(level="CLOSED", source="kill", reason="everything stops", actor=TEST)
    assert trading_state(account) == ("CLOSED", ["drawdown: 3 % down", "kill: everything stops"])
    lift(restriction=hard, actor=TEST, reason="over")
    assert trading_state(account) == ("REDUCE_ONLY", ["drawdown: 3 % down"])
    lift(restriction=soft, actor=TEST, reason="over")
    assert trading_state(account)[0] == "OPEN"


def test_a_restriction_holds_for_its_own_scope(account: Account) -> None:
    other = make_account("oanda-other")
    restrict(account=account, strategy="orb", level="CLOSED", source="test", reason="one", actor=TEST)
    restrict(instrument=instrument("XAUUSD"), level="REDUCE_ONLY", source="test", reason="two", actor=TEST)
    assert trading_state(account, "orb")[0] == "CLOSED" and trading_state(account, "other")[0] == "OPEN"
    assert trading_state(other, "orb")[0] == "OPEN" and trading_state(account)[0] == "OPEN"
    assert trading_state(other, "orb", instrument("XAUUSD"))[0] == "REDUCE_ONLY"
    assert trading_state(other, "orb", instrument("EURUSD"))[0] == "OPEN"


def test_a_restriction_ends_by_itself_at_its_time_on_the_accounts_clock(account: Account) -> None:
    restrict(account=account, level="CLOSED", source="test", reason="a while", until=moment(60), actor=TEST)
    assert trading_state(account, at=moment(59))[0] == "CLOSED"
    assert trading_state(account, at=moment(60))[0] == "OPEN"


def test_the_same_restriction_twice_is_one_and_lifting_it_twice_is_once(account: Account) -> None:
    boss = Actor.of(User.objects.create_user("boss"), via="admin")
    first = restrict(account=account, level="CLOSED", source="test", reason="one", actor=TEST)
    assert restrict(account=account, level="CLOSED", source="test", reason="again", actor=TEST) == first
    lift(restriction=first, actor=boss, reason="looked")
    lift(restriction=first, actor=TEST, reason="again")
    row = Restriction.objects.get()
    assert (row.lifted_by, row.lift_reason) == (boss.user, "looked")
    assert restrict(account=account, level="CLOSED", source="test", reason="anew", actor=TEST) != first
    kinds = AuditEvent.objects.filter(kind__startswith="restriction").order_by("id").values_list("kind", flat=True)
    assert list(kinds) == ["restriction.put", "restriction.lifted", "restriction.put"]


def test_a_lease_is_held_by_one_and_its_token_only_grows(db: None) -> None:
    token = leases.acquire(key="k", holder="one", seconds=30)
    assert token == 1 and leases.held("k") and leases.still_holds(key="k", token=token)
    assert leases.acquire(key="k", holder="two", seconds=30) is None
    assert leases.acquire(key="k", holder="one", seconds=30) is None, "not even by its own holder"
    leases.release(key="k", token=token)
    assert not leases.held("k")
    later = leases.acquire(key="k", holder="two", seconds=30)
    assert later == 2 and not leases.still_holds(key="k", token=token)
    assert not leases.renew(key="k", token=token, seconds=30)
    leases.release(key="k", token=token)
    assert leases.still_holds(key="k", token=later), "an old holder cannot give away what is not its own any more"


def test_a_lease_that_ran_out_can_be_taken_and_the_old_holder_knows(db: None) -> None:
    old = leases.acquire(key="k", holder="one", seconds=0)
    assert old is not None and not leases.still_holds(key="k", token=old)
    new = leases.acquire(key="k", holder="two", seconds=30)
    assert new == old + 1 and not leases.renew(key="k", token=old, seconds=30)


def test_of_eight_that_want_a_lease_at_once_one_gets_it(committed_db: CommittedDatabase) -> None:
    barrier, tokens = threading.Barrier(8), []

    def work() -> None:
        try:
            barrier.wait()
            tokens.append(leases.acquire(key="k", holder="x", seconds=30))
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(tokens, key=str) == [1, *[None] * 7]


def test_a_cursor_is_remembered_for_its_account_and_name(account: Account) -> None:
    other = make_account("oanda-other")
    assert cursors.get(account, "events") == ""
    cursors.put(account=account, name="events", value="17")
    cursors.put(account=account, name="events", value="18")
    assert (cursors.get(account, "events"), cursors.get(other, "events"), cursors.get(account, "x")) == ("18", "", "")


def test_work_that_never_ends_is_dead_after_its_limit_and_people_are_told_once(db: None) -> None:
    for _ in range(attempts.LIMIT):
        assert attempts.begin(key="orders.send:7")
    for _ in range(3):
        assert not attempts.begin(key="orders.send:7")
    (note,) = Notification.objects.all()
    assert note.level == "CRITICAL" and "orders.send:7" in note.text
    attempts.end(key="orders.send:7")
    assert not attempts.begin(key="orders.send:7"), "only a person brings it back"


def test_work_that_ends_starts_counting_afresh(db: None) -> None:
    for _ in range(10):
        assert attempts.begin(key="k")
        attempts.end(key="k")
    assert not Notification.objects.exists()


def test_every_audit_event_has_an_actor_a_door_and_a_time(account: Account) -> None:
    user = User.objects.create_user("ada")
    by_person = audit.record(
        kind="account.changed", actor=Actor.of(user, via="admin", request_id="r-1"), obj=account, reason="x" * 600
    )
    by_system = audit.record(kind="user.changed", actor=Actor.system("beat"), account=account, cause=by_person)
    assert (by_person.actor, by_person.actor_name, by_person.via, by_person.request_id) == (user, "ada", "admin", "r-1")
    assert (by_system.actor, by_system.actor_name, by_system.via) == (None, "beat", "engine")
    assert (by_person.object_type, by_person.object_id) == ("trading.Account", str(account.pk))
    assert len(by_person.reason) == 500 and by_system.cause == by_person
    assert abs(by_person.at - wall_now()) < timedelta(minutes=1)


def test_wall_time_of_a_lease_is_the_databases(db: None) -> None:
    leases.acquire(key="k", holder="one", seconds=30)
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM until - clock_timestamp()) FROM trading_lease WHERE key = 'k'")
        (left,) = cursor.fetchone()
    assert 25 < left <= 30
