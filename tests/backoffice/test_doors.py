"""Who came to the doors: sign-ins, failures, refusals, floods; the schedule; the start of processes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from backoffice import doors, floods
from backoffice.floods import Flood, Write
from tests.trading.admin.world import World, build_world
from trading import context
from trading.models import AuditEvent, User
from trading.services import starts

PASSWORD = "a-password-for-tests"
CANARY = "my-real-password-typed-as-name"


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    """People to sign in, and counters that nobody has used."""
    monkeypatch.setattr(doors, "failures", Flood())
    monkeypatch.setattr(doors, "refusals", Flood())
    return build_world()


def sign_in(username: str, password: str, address: str = "10.0.0.7") -> Any:
    """Through the form."""
    return Client(REMOTE_ADDR=address).post(reverse("admin:login"), {"username": username, "password": password})


def test_a_sign_in_and_a_sign_out_are_told(world: World) -> None:
    client = Client(REMOTE_ADDR="10.0.0.7")
    assert client.post(reverse("admin:login"), {"username": "ada", "password": PASSWORD}).status_code == 302
    assert client.post(reverse("admin:logout")).status_code == 200
    came, went = AuditEvent.objects.filter(kind__startswith="signin.").order_by("id")
    assert (came.kind, went.kind) == ("signin.succeeded", "signin.ended")
    assert came.actor == went.actor == world.people["ada"] and came.address == "10.0.0.7" and came.via == "admin"
    assert came.request_id != went.request_id


def test_a_failed_sign_in_tells_why_and_never_what_was_typed(world: World) -> None:
    User.objects.filter(username="charlie").update(is_active=False)
    for name, password in (("ada", CANARY), (CANARY, "x"), ("charlie", PASSWORD)):
        assert sign_in(name, password).status_code == 200
    told = list(AuditEvent.objects.filter(kind="signin.failed").order_by("id"))
    assert [(event.object_repr, event.reason) for event in told] == [
        ("ada", "wrong password"),
        ("", "no user of that name"),
        ("charlie", "the user is switched off"),
    ]
    assert {(event.actor, event.actor_name, event.via, event.level) for event in told} == {
        (None, "somebody not signed in", "web", "WARNING")
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(a::text, ' ') FROM trading_auditevent a")
        assert CANARY not in str(cursor.fetchone()[0])


def test_a_sign_in_that_cannot_be_told_is_none(world: World) -> None:
    def refuse(execute: Any, sql: str, params: Any, many: bool, more: Any) -> Any:
        if sql.startswith('INSERT INTO "trading_auditevent"'):
            raise DatabaseError("the disk is full")
        return execute(sql, params, many, more)

    client = Client(raise_request_exception=False)
    with connection.execute_wrapper(refuse):
        answer = client.post(reverse("admin:login"), {"username": "ada", "password": PASSWORD})
    assert answer.status_code == 500
    assert client.get(reverse("admin:index")).status_code == 302, "still at the door"
    assert User.objects.get(username="ada").last_login is None


def test_a_flood_of_failures_fills_no_table(world: World) -> None:
    for _ in range(floods.PER_ADDRESS + 15):
        doors._failed(sender=None, credentials={"username": "x"})
    kinds = list(AuditEvent.objects.filter(kind__startswith="signin.").order_by("id").values_list("kind", flat=True))
    assert kinds == ["signin.failed"] * floods.PER_ADDRESS + ["signin.flood"]


def test_a_refusal_is_told_with_who_what_and_from_where_and_stands_when_it_cannot_be(world: World) -> None:
    client = Client(REMOTE_ADDR="10.0.0.7")
    client.force_login(world.people["charlie"])
    address = reverse("admin:trading_order_add")
    assert client.post(address, {}).status_code == 403
    event = AuditEvent.objects.get(kind="access.denied")
    assert event.actor == world.people["charlie"] and event.after == {
        "method": "POST", "path": address, "address": "10.0.0.7",
    }  # fmt: skip
    assert event.sentence == f"charlie was refused POST {address}"

    def refuse(execute: Any, sql: str, params: Any, many: bool, more: Any) -> Any:
        if sql.startswith('INSERT INTO "trading_auditevent"'):
            raise DatabaseError("the disk is full")
        return execute(sql, params, many, more)

    with connection.execute_wrapper(refuse):
        assert client.post(address, {}).status_code == 403


class Clock:
    """Time that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_gets_its_share_of_a_minute_and_the_next_minute_tells_what_was_left_out() -> None:
    clock = Clock()
    flood = Flood(clock)
    said = [flood.note("a")[0] for _ in range(floods.PER_ADDRESS + 3)]
    assert said == [Write.IT] * floods.PER_ADDRESS + [Write.SUMMARY, Write.NOTHING, Write.NOTHING]
    assert flood.note("b") == (Write.IT, 0), "another address has its own share"
    clock.now += floods.WINDOW_SECONDS
    assert flood.note("a") == (Write.IT, 3)
    assert flood.note("a") == (Write.IT, 0)


def test_many_addresses_together_have_a_share_too_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floods, "MOST_ADDRESSES", 300)
    clock = Clock()
    flood = Flood(clock)
    said = [flood.note(f"10.0.{number}")[0] for number in range(1000)]
    assert said.count(Write.IT) == floods.ALTOGETHER and said.count(Write.SUMMARY) == 1
    assert len(flood._windows) <= 300
    clock.now += floods.WINDOW_SECONDS
    assert flood.note("10.0.1")[0] is Write.IT


def test_a_change_of_the_schedule_is_told_and_a_run_of_it_is_not(db: None) -> None:
    interval = IntervalSchedule.objects.create(every=5, period="seconds")
    with context.entered(via="command", who=lambda: context.Who("manage.py shell")):
        task = PeriodicTask.objects.create(name="x", task="orders.watch", interval=interval)
        task.total_run_count += 1
        task.save()
        task.enabled = False
        task.save()
        task.delete()
    told = AuditEvent.objects.filter(kind__startswith="schedule.").order_by("id")
    assert [(event.kind, event.actor_name) for event in told] == [
        ("schedule.changed", "manage.py shell"),
        ("schedule.changed", "manage.py shell"),
        ("schedule.removed", "manage.py shell"),
    ]
    assert told[0].after["interval"] == "every 5 seconds"
    assert (told[1].before, told[1].after) == ({"enabled": True}, {"enabled": False})


def test_the_start_of_a_process_is_told_with_its_version(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    starts.record_start("worker", via="task")
    event = AuditEvent.objects.get(kind="process.started")
    assert event.after["program"] == "worker" and event.after["version"].startswith("0.") and event.after["pid"]

    def fail(*_: Any, **__: Any) -> None:
        raise DatabaseError("nobody answers")

    monkeypatch.setattr(starts, "record_start", fail)
    starts.try_to_record_start("web", via="web")
