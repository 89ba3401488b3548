"""Recording: kinds, the context of the work, secrets, and that a change without its event is not made."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from tests.conftest import CommittedDatabase
from tests.trading.services.making import START, TEST, bring_to, make_account, make_entry
from trading import context
from trading.context import Who
from trading.domain.audit_kinds import UnknownKind
from trading.models import Account, AuditEvent, Order, Restriction, User
from trading.services import approvals, audit, orders, restrictions, setup
from trading.services.audit import Actor

CANARY = "canary-5c1e77a0"


def put(account: Account, reason: str = "a test") -> Restriction:
    return restrictions.restrict(account=account, level="CLOSED", source="test", reason=reason, actor=TEST)


def test_an_unknown_kind_is_refused_and_takes_the_change_with_it(db: None) -> None:
    account = make_account()
    with pytest.raises(UnknownKind), transaction.atomic():
        put(account)
        audit.record(kind="weather.changed", actor=TEST)
    assert not Restriction.objects.exists()


def test_the_level_is_that_of_the_kind_unless_the_caller_names_another(db: None) -> None:
    assert audit.record(kind="signin.failed", actor=TEST).level == "WARNING"
    assert audit.record(kind="signin.failed", actor=TEST, level="CRITICAL").level == "CRITICAL"


def test_an_event_carries_id_address_and_cause_of_the_work_whoever_acts_in_it(db: None) -> None:
    first = audit.record(kind="process.started", actor=TEST)
    assert first.request_id == context.current().request_id and first.cause is None
    with context.entered(via="admin", request_id="click-0001", address="10.0.0.7", cause=first.pk):
        of_system = audit.record(kind="process.started", actor=Actor.system("booking"))
        own = audit.record(
            kind="process.started", actor=Actor(None, "x", "api", "other-id", "10.0.0.8"), cause=of_system
        )
    assert (of_system.actor_name, of_system.via) == ("booking", "engine"), "a part of the system keeps its name"
    assert (of_system.request_id, of_system.address, of_system.cause_id) == ("click-0001", "10.0.0.7", first.pk)
    assert (own.request_id, own.address, own.cause_id) == ("other-id", "10.0.0.8", of_system.pk)


def test_whoever_began_the_work_is_its_actor(db: None) -> None:
    ada = User.objects.create_user("ada")
    with context.entered(via="admin", who=lambda: Who("ada", ada.pk)):
        assert Actor.current() == Actor(ada, "ada", "admin")
    with context.entered(via="admin", who=lambda: Who("gone", 987654)):
        assert Actor.current() == Actor(None, "gone", "web"), "without a user no person's door"
    with context.entered(via="command", who=lambda: Who("manage.py shell")):
        assert Actor.current() == Actor(None, "manage.py shell", "command")


def test_only_committed_events_are_the_cause_of_what_is_woken(committed_db: CommittedDatabase) -> None:
    with context.entered(via="web", request_id="click-0001"):
        kept = audit.record(kind="process.started", actor=TEST)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            audit.record(kind="process.started", actor=TEST)
            raise ZeroDivisionError
        with transaction.atomic():
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                audit.record(kind="process.started", actor=TEST)
                raise ZeroDivisionError
            assert context.to_message() == {"request_id": "click-0001", "cause": kept.pk}
            last = audit.record(kind="process.started", actor=TEST)
        assert context.to_message() == {"request_id": "click-0001", "cause": last.pk}


def test_no_secret_of_the_environment_reaches_the_trail(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(audit.SECRETS):
        monkeypatch.setenv(name, f"{CANARY}{number},{CANARY}-second-{number}")
    for name in audit.ADDRESSES:
        monkeypatch.setenv(name, f"scheme://user:{CANARY}%2B{name}@host/x")
    told = " ".join([*audit.known_secrets(), f"pbkdf2_sha256$1$salt${CANARY}"])
    account = make_account()
    event = audit.record(
        kind="account.changed",
        actor=TEST,
        account=account,
        obj=Account(pk=account.pk, name=told[:400]),
        before={"endpoint": told, "policy": [{"password": CANARY}]},
        after={"endpoint": told},
        reason=told,
    )
    put(account, reason=f"the broker said {told}"[:290])
    event.refresh_from_db()
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(a::text, ' ') FROM trading_auditevent a")
        trail = str(cursor.fetchone()[0])
    assert CANARY not in trail and "[secret]" in event.after["endpoint"]


CHANGES: dict[str, Any] = {
    "restriction": lambda account: put(account),
    "order": lambda account: bring_to(make_entry(account), "WORKING"),
    "account": lambda account: setup.retire(name=account.name, reason="a test", actor=TEST),
    "config": lambda account: setup.ensure_version(kind="SESSION", name="x", body='{"x":1}'),
    "user": lambda account: User.objects.create_user("eve"),
    "proposal": lambda account: approvals.propose(
        kind="test",
        account=account,
        subject_type="trading.Account",
        subject_id=account.pk,
        subject_version=1,
        payload={"a": "b"},
        reason="because of a test",
        proposer=User.objects.get(username="ada"),
        actor=TEST,
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_whose_audit_event_cannot_be_written_is_not_made(db: None, what: str) -> None:
    account = make_account()
    User.objects.create_user("ada")
    counted = _rows()
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT before_refusal")

    def refuse(execute: Any, sql: str, params: Any, many: bool, more: Any) -> Any:
        if sql.startswith('INSERT INTO "trading_auditevent"'):
            raise DatabaseError("the disk is full")
        return execute(sql, params, many, more)

    with connection.execute_wrapper(refuse), pytest.raises(DatabaseError, match="disk is full"), transaction.atomic():
        CHANGES[what](account)
    assert _rows() == counted


def _rows() -> dict[str, str]:
    tables = ("trading_restriction", "trading_order", "trading_orderevent", "trading_account", "trading_configversion",
              "trading_user", "trading_person", "trading_proposal", "trading_auditevent")  # fmt: skip
    with connection.cursor() as cursor:
        found = {}
        for table in tables:
            cursor.execute(f"SELECT coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {table} t")
            found[table] = str(cursor.fetchone()[0])
    return found


def test_before_and_after_tell_what_a_restriction_an_order_and_an_account_were(db: None) -> None:
    account = make_account()
    row = put(account)
    restrictions.lift(restriction=row, actor=TEST, reason="it is over")
    told = AuditEvent.objects.get(kind="restriction.lifted")
    assert told.before == {
        "level": "CLOSED", "source": "test", "strategy": "", "instrument": "", "until": None, "lifted_at": None,
    }  # fmt: skip
    assert told.after["lift_reason"] == "it is over" and told.after["lifted_at"]
    order = make_entry(account, state="PLANNED")
    with transaction.atomic():
        orders.move(orders.locked(order.pk), orders.OrderState.SENDING, at=START, reason="a test")
    moved = AuditEvent.objects.get(kind="order.moved", object_id=str(order.pk))
    assert (moved.before, moved.after) == ({"state": "PLANNED"}, {"state": "SENDING"})
    planned = AuditEvent.objects.get(kind="order.planned", object_id=str(order.pk))
    assert planned.after["quantity"] == f"{Decimal(1000)}" and planned.after["instrument"] == "EURUSD"
    setup.retire(name=account.name, reason="no broker any more", actor=TEST)
    setup.retire(name=account.name, reason="no broker any more", actor=TEST)
    retired = AuditEvent.objects.get(kind="account.changed")
    assert (retired.before, retired.after) == ({"active": True}, {"active": False})
    assert Order.objects.get(pk=order.pk).state == "SENDING"


def test_orders_are_caused_by_their_decision_and_an_application_by_the_approval(db: None) -> None:
    account, ada, bob = make_account(), User.objects.create_user("ada"), User.objects.create_user("bob")
    proposal = approvals.propose(
        kind="test", account=account, subject_type="trading.Account", subject_id=account.pk, subject_version=1,
        payload={"a": "b"}, reason="because of a test", proposer=ada, actor=Actor.of(ada, "admin"),
    )  # fmt: skip
    approvals.decide(
        proposal=proposal, approver=bob, verdict="APPROVE", payload_sha256=proposal.payload_sha256, subject_version=1,
        actor=Actor.of(bob, "admin"),
    )  # fmt: skip
    approvals.record_application(proposal=proposal, applied_by=None, result={"action": "test"}, actor=TEST)
    approved = AuditEvent.objects.get(kind="proposal.approve")
    assert (approved.before, approved.after["standing"]) == ({"standing": "WAITING"}, "APPROVED")
    applied = AuditEvent.objects.get(kind="proposal.applied")
    assert applied.cause == approved and applied.after["standing"] == "APPLIED"
    assert applied.sentence == f"{proposal} was carried out by a test"
