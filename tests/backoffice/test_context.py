"""The context of requests, tasks, processes and log lines: from a click to what a real worker writes because of it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker
from django.db import connections
from django.test import Client
from django.urls import reverse

from backoffice.context import door_of
from backoffice.logs import UtcFormatter
from backoffice.settings import broker_url
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy
from reconciliation.services import resolutions
from tests.conftest import CommittedDatabase
from tests.reconciliation.admin.still_broker import StillBroker
from tests.trading.admin.world import World, build_world
from trading import context
from trading.models import Application, AuditEvent
from trading.services import cursors
from trading.services.audit import Actor
from trading.services.inbox import INFLOW

PASSWORD = "a-password-for-tests"


@pytest.fixture
def world(db: None) -> World:
    """People, and a row on every list."""
    return build_world()


def test_every_answer_names_its_request_and_takes_over_a_well_formed_id(db: None) -> None:
    first, second = Client().get("/healthz"), Client().get("/healthz")
    assert context.well_formed(first["X-Request-ID"]) and first["X-Request-ID"] != second["X-Request-ID"]
    given = uuid.uuid4().hex
    assert Client().get("/no-such-page", headers={"X-Request-ID": given})["X-Request-ID"] == given
    for bad in ("short", "x" * 65, "with space 1234", "<script>alert(1)</script>"):
        assert Client().get("/healthz", headers={"X-Request-ID": bad})["X-Request-ID"] != bad


def test_what_a_person_does_on_a_page_carries_request_address_and_user(world: World) -> None:
    client = Client(REMOTE_ADDR="10.0.0.7", headers={"X-Forwarded-For": "6.6.6.6", "X-Request-ID": "click-0001"})
    assert client.login(username="bob", password=PASSWORD)
    data = {"old_password": PASSWORD, "new_password1": "a-long-password-7", "new_password2": "a-long-password-7"}
    assert client.post(reverse("admin:password_change"), data).status_code == 302
    event = AuditEvent.objects.get(kind="user.password_changed")
    assert (event.actor, event.via) == (world.people["bob"], "admin")
    assert (event.request_id, event.address) == ("click-0001", "10.0.0.7"), "the peer's address, never a header's"
    assert context.entered_scope() is None


def test_doors_are_told_by_whole_words_of_the_path() -> None:
    assert [door_of(path) for path in ("/admin/", "/admin", "/administer", "/api/v1/x", "/healthz", "/")] == [
        "admin", "admin", "web", "api", "web", "web",
    ]  # fmt: skip


def test_a_log_line_names_the_request_it_belongs_to() -> None:
    record = logging.LogRecord("trading.engine", logging.WARNING, __file__, 1, "an order was late", None, None)
    with context.entered(via="web", request_id="click-0001"):
        assert UtcFormatter().format(record).endswith("WARNING trading.engine [click-0001] an order was late")
    other = logging.LogRecord("x", logging.INFO, __file__, 1, "y", None, None)
    assert f"[{context.current().request_id}]" in UtcFormatter().format(other)


def test_a_process_has_one_id_for_what_it_does_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_process", context._process)
    context.begin_process(via="command", name="manage.py x")
    first = context.current()
    assert (first.via, context.who()) == ("command", context.Who("manage.py x"))
    assert context.to_message() == {"request_id": first.request_id}, "what a command wakes is the command's"
    context.begin_process(via="task", name="beat")
    assert context.current().request_id != first.request_id and context.to_message() is None


@pytest.fixture
def queue(
    committed_db: CommittedDatabase, redis_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The application with a real queue, and its worker in a thread."""
    from backoffice.celery import app

    settings.REDIS_URL = redis_url
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setattr(context, "_process", context._process)  # a worker that starts begins its process's own
    monkeypatch.setattr(app.conf, "broker_url", broker_url(redis_url))
    monkeypatch.setattr(app, "_pool", None, raising=False)
    app.set_current()
    with start_worker(
        app, pool="solo", queues=["reconciliation"], perform_ping_check=False, shutdown_timeout=20, loglevel="ERROR"
    ):
        yield app


def wait(what: Callable[[], bool]) -> None:
    """Until it is so."""
    import time

    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end, "not within 30 seconds"
        time.sleep(0.05)


def test_what_a_woken_worker_does_carries_the_clicks_id_and_is_caused_by_its_event(queue: Any) -> None:
    world = build_world()
    cursors.put(account=world.account, name=INFLOW, value="900")
    for _ in range(2):
        broker = StillBroker(world.account, Decimal(10700))
        run_reconciliation(account=world.account, trigger="MANUAL", broker=broker)  # type: ignore[arg-type]
    case = Discrepancy.objects.get(key="EURUSD")
    ada, bob = world.people["ada"], world.people["bob"]
    proposal = resolutions.propose(
        discrepancy_id=case.pk, action="book_fills", reason="seen at the broker", proposer=ada,
        actor=Actor.of(ada, via="admin"),
    )  # fmt: skip
    with context.entered(via="admin", request_id="click-0001", address="10.0.0.7"):
        resolutions.approve(
            proposal_id=proposal.pk, approver=bob, payload_sha256=proposal.payload_sha256,
            subject_version=proposal.subject_version, actor=Actor.of(bob, via="admin"),
        )  # fmt: skip
    wait(lambda: Application.objects.filter(proposal=proposal).exists())
    clicked = AuditEvent.objects.get(kind="discrepancy.approved")
    applied = AuditEvent.objects.get(kind="discrepancy.applied")
    assert (applied.request_id, applied.address, applied.cause) == ("click-0001", "10.0.0.7", clicked)
    assert applied.actor is None, "the worker acts under its own name"
    booked = AuditEvent.objects.filter(request_id="click-0001", kind="fill.booked").get()
    assert booked.cause == clicked
    connections.close_all()


def test_a_task_that_nobody_woke_has_an_id_of_its_own_and_one_with_a_strange_cause_goes_on(
    committed_db: CommittedDatabase,
) -> None:
    from backoffice.celery import app

    seen: list[context.Context] = []

    @app.task(name="slow.test_context", shared=False)  # type: ignore[untyped-decorator]
    def look() -> None:
        seen.append(context.current())

    try:
        look.apply()
        look.apply()
        look.apply(headers={context.HEADER: {"request_id": "click-0001", "cause": 987654321}})
        look.apply(headers={context.HEADER: "nonsense"})
    finally:
        app.tasks.unregister("slow.test_context")
    assert len({work.request_id for work in seen}) == 4 and {work.via for work in seen} == {"task"}
    assert (seen[2].request_id, seen[2].cause) == ("click-0001", None), "this database has no such event"
    assert context.entered_scope() is None
