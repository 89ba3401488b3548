"""Kite's postbacks at the desk's own door: the simulator's are believed and wake the reader, all others are refused."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from backoffice import doors
from backoffice.floods import PER_ADDRESS, Flood
from tests.servers import Simulator
from tests.trading.brokers.kite.kite_desk import Desk
from tests.trading.services.making import START
from trading.brokers.errors import BadData
from trading.brokers.kite_postback import MOST_BYTES, read
from trading.brokers.registry import SIMULATOR_KITE_SECRET
from trading.engine import postbacks
from trading.engine.sender import send_order
from trading.models import Account, AuditEvent, BrokerEvent, Notification, Order
from trading.services.setup import ensure_account
from trading.tasks import read as read_task

SAID = {"user_id": "SIMKITE", "order_id": "151220000000000", "status": "COMPLETE"}
AT = "2026-01-14 10:30:00"


def signed(secret: str = SIMULATOR_KITE_SECRET, **fields: Any) -> dict[str, Any]:
    """A postback as Kite makes it with this secret."""
    said = {**SAID, "order_timestamp": AT, **fields}
    text = f"{said['order_id']}{said['order_timestamp']}{secret}"
    return {**said, "checksum": hashlib.sha256(text.encode()).hexdigest()}


def test_what_kite_has_signed_is_believed() -> None:
    told = read(json.dumps(signed()).encode(), SIMULATOR_KITE_SECRET)
    assert (told.user_id, told.order_id, told.event_id) == ("SIMKITE", SAID["order_id"], f"{SAID['order_id']}:COMPLETE")


@pytest.mark.parametrize(
    ("body", "secret"),
    [
        (json.dumps(signed("another")), "a-secret"),
        (json.dumps(signed("")), ""),
        (json.dumps({**signed("a-secret"), "order_id": "2"}), "a-secret"),
        (json.dumps({**signed("a-secret"), "order_timestamp": "2026-01-14 10:30:01"}), "a-secret"),
        (json.dumps({**signed("a-secret"), "checksum": None}), "a-secret"),
        (json.dumps({**signed("a-secret"), "checksum": "é" * 64}), "a-secret"),
        (json.dumps({**signed("a-secret"), "checksum": signed("a-secret")["checksum"].upper()}), "a-secret"),
        (json.dumps({**signed("a-secret"), "user_id": 5}), "a-secret"),
        (json.dumps([signed("a-secret")]), "a-secret"),
        ("", "a-secret"),
        ("{", "a-secret"),
        ("\xff", "a-secret"),
        ('{"order_id":' * 5000, "a-secret"),
        (" " * MOST_BYTES + json.dumps(signed("a-secret")), "a-secret"),
    ],
)
def test_whatever_kite_has_not_signed_is_not_believed(body: str, secret: str) -> None:
    with pytest.raises(BadData) as raised:
        read(body.encode("latin-1", "replace"), secret)
    assert "a-secret" not in str(raised.value)


@pytest.fixture
def account(db: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account of the desk at the simulator's own user, and counters that nobody has used."""
    monkeypatch.setattr(doors, "refusals", Flood())
    return ensure_account(
        name="kite india",
        broker=Account.Broker.KITE,
        environment=Account.Environment.SIMULATOR,
        external_id="SIMKITE",
        currency="INR",
        endpoint="http://127.0.0.1:9",
        opened_at=START,
    )


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The tasks that were woken."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(postbacks, "wake", lambda *task: found.append(task))
    return found


def post(body: Any, name: str = "kite india") -> int:
    """What a stranger's browser or Kite gets: no session, no token against forgery."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    knocking = Client(enforce_csrf_checks=True, REMOTE_ADDR="203.0.113.7")
    return knocking.post(f"/hooks/kite/{name}", text, content_type="application/json").status_code


def test_a_signed_postback_wakes_the_reader_of_that_account_once(account: Account, woken: list[Any]) -> None:
    assert post(signed()) == 200 and woken == [("orders.read", account.pk)]
    assert not BrokerEvent.objects.exists() and not Notification.objects.exists()
    BrokerEvent.objects.create(
        account=account, external_id=f"{SAID['order_id']}:COMPLETE", sequence=1, at=START, kind="ORDER_FILLED",
        body={}, body_sha256="0" * 64, facts={},
    )  # fmt: skip
    assert post(signed()) == 200 and len(woken) == 1, "what was read already is not read again"
    assert post(signed(status="UPDATE")) == 200 and len(woken) == 2


def test_a_postback_that_is_not_kites_is_refused_told_and_audited_within_bounds(
    account: Account, woken: list[Any]
) -> None:
    wrong = [signed("guessed"), {**signed(), "order_id": "1"}, signed(user_id="SOMEBODY"), {}, "[]", b"\xff"]
    for body in wrong:
        assert post(body) == 403
    for _ in range(2 * PER_ADDRESS):
        assert post(signed("guessed")) == 403
    assert post(signed(), name="nobody") == 403 and post(signed(), name="kite%20indi") == 403
    assert woken == []
    [told] = Notification.objects.all()
    assert told.level == "WARNING" and "KITE_API_SECRET" in told.text and SIMULATOR_KITE_SECRET not in told.text
    kinds = list(AuditEvent.objects.filter(kind__startswith="access.").values_list("kind", flat=True))
    assert kinds.count("access.denied") == PER_ADDRESS and kinds.count("access.flood") == 1
    assert AuditEvent.objects.filter(kind="access.denied").first().after["path"].startswith("/hooks/kite/")  # type: ignore[union-attr]


def test_too_much_and_other_verbs_are_turned_away(account: Account, woken: list[Any]) -> None:
    assert post(b"x" * (MOST_BYTES + 1)) == 413
    assert Client().get("/hooks/kite/kite%20india").status_code == 405
    assert woken == []


def test_without_a_secret_nothing_is_believed(account: Account, woken: list[Any], settings: Any) -> None:
    account.environment = Account.Environment.LIVE
    account.save()
    assert post(signed()) == 403 and post(signed("")) == 403 and woken == []


@pytest.fixture
def running(start_simulator: Any) -> Simulator:
    process: Simulator = start_simulator("--always-open", "--speed", "1", "--start", "2026-01-14T05:00:00Z")
    return process


@pytest.fixture
def desk(web: str, running: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """An account whose postbacks the simulator sends to the desk's own web."""
    made = Desk(running)
    keys = made.connection.credentials
    for name, value in (
        ("SIMULATOR_URL", running.control_url),
        ("KITE_API_KEY", keys["key"]),
        ("KITE_ACCESS_TOKEN", keys["access_token"]),
        ("KITE_API_SECRET", made.secret),
    ):
        monkeypatch.setenv(name, value)
    running.post(f"/accounts/{made.id}/postback", {"url": f"{web}/hooks/kite/{made.account.name}"})
    yield made
    made.broker.close()


def test_the_simulators_postback_reaches_the_books_through_the_history(desk: Desk, woken: list[Any]) -> None:
    order = desk.plan()
    send_order(order_id=order.pk, broker=desk.broker)
    end = time.monotonic() + 8
    while not woken and time.monotonic() < end:
        time.sleep(0.05)
    assert woken[0] == ("orders.read", desk.account.pk)
    for _, account_id in woken[:1]:
        read_task(account_id)
    assert Order.objects.get(pk=order.pk).state == "FILLED"
