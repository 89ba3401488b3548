"""Every address that takes a POST, and every verb that changes something: none of them changes anything silently.

Two nets: here everything registered is called, and round every test stands `tests/audited.py`, which fails a test when
a transaction wrote a watched table and no audit event.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from backoffice import floods
from reconciliation.models import Discrepancy
from tests.audited import FACTS
from tests.trading.admin.world import World
from trading.models import AuditEvent, User

ROOT = Path(__file__).resolve().parents[3]
SERVICES = (ROOT / "trading" / "services", ROOT / "reconciliation" / "services")
CALL = re.compile(r"\b(\w+)\(")


def patterns(resolver: Any = None) -> Iterator[URLPattern]:
    """Every address there is."""
    for one in (resolver or get_resolver()).url_patterns:
        if isinstance(one, URLResolver):
            yield from patterns(one)
        else:
            yield one


def addresses(world: World, case: Discrepancy) -> dict[str, str]:
    """The address of each named page, about a row that there is."""
    known: dict[str, Any] = {
        "account_id": world.account.pk, "id": world.people["bob"].pk, "app_label": "trading", "url": "nowhere",
        "content_type_id": 1, "discrepancy_id": case.pk, "case_id": case.pk,
    }  # fmt: skip
    found = {}
    names = {one.name for one in patterns() if one.name}
    for name in sorted(names):
        prefix = "admin:" if name not in {"healthz", "readyz"} else ""
        for key, args in (
            get_resolver("backoffice.urls").namespace_dict["admin"][1].reverse_dict.lists() if prefix else ()
        ):
            if key != name:
                continue
            wanted = args[0][0][0][1]
            found[name] = reverse(f"{prefix}{name}", kwargs={arg: known.get(arg, _pk(name)) for arg in wanted})
    return found


def _pk(name: str) -> Any:
    """The first row of the model that a page is about."""
    app, _, rest = name.partition("_")
    for model in apps.get_models():
        if model._meta.app_label == app and rest.startswith(f"{model._meta.model_name}_"):
            return model._default_manager.order_by("pk").values_list("pk", flat=True).first() or 1
    return 1


def state() -> str:
    """What stands in every watched table, but for sign-ins."""
    row = "(to_jsonb(t) - 'last_login')::text"
    tables = (f"(SELECT coalesce(md5(string_agg({row}, ',' ORDER BY {row})), '') FROM {table} t)" for table in FACTS)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT concat_ws(' ', {', '.join(tables)})")
        return str(cursor.fetchone()[0])


EVERYTHING = {
    "post": "yes", "_save": "1", "confirmed": "1", "reason": "because of a test", "verdict": "approve",
    "username": "eve", "password1": "a-long-password-7", "password2": "a-long-password-7", "usable_password": "true",
    "is_active": "on", "name": "x", "verb": "comment", "text": "written by a test",
}  # fmt: skip


def test_no_post_changes_anything_silently(world: World, case: Discrepancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floods, "PER_ADDRESS", 10_000)
    monkeypatch.setattr(floods, "ALTOGETHER", 10_000)
    root = User.objects.create_superuser("root", password="a-password-for-tests")
    client = Client(raise_request_exception=False)
    client.force_login(root)
    found = addresses(world, case)
    assert len(found) > 100, "the walk has lost its way"
    changed, refused, before = set(), 0, state()
    for name, address in found.items():
        last = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first()
        answer = client.post(address, EVERYTHING)
        assert answer.status_code in (200, 302, 400, 403, 404, 405), f"{name} {address}: {answer.status_code}"
        told = set(AuditEvent.objects.filter(id__gt=last).values_list("kind", flat=True))
        after = state()
        if after != before:
            changed.add(name)
            assert told - {"access.denied"}, f"{name} changed something and told nobody"
        before = after
        if answer.status_code == 403:
            assert told == {"access.denied"}, name
            refused += 1
        if "signin.ended" in told:
            client.force_login(root)
    assert changed and refused > 50, "nothing was changed or refused: the walk proves nothing"


def test_every_verb_that_names_an_actor_is_called_by_a_test() -> None:
    verbs = {
        function.name
        for folder in SERVICES
        for path in folder.glob("*.py")
        for function in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(function, ast.FunctionDef)
        and not function.name.startswith("_")
        and "actor" in {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
    }
    assert len(verbs) > 15
    called: dict[str, Counter[str]] = {"tests": Counter(), "ours": Counter()}
    for room in ("tests", "trading", "reconciliation", "backoffice"):
        for path in (ROOT / room).rglob("*.py"):
            called["tests" if room == "tests" else "ours"].update(CALL.findall(path.read_text(encoding="utf-8")))
    by_tests = {verb for verb in verbs if called["tests"][verb]}
    through_others = {verb for verb in verbs - by_tests if called["ours"][verb] > 1}  # its own `def` is one
    assert not verbs - by_tests - through_others


def test_nothing_sends_a_task_but_wake() -> None:
    sending = re.compile(r"\.(?:apply_async|delay|send_task)\(")
    found = {
        str(path.relative_to(ROOT))
        for room in ("trading", "reconciliation", "backoffice")
        for path in (ROOT / room).rglob("*.py")
        if sending.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"trading/wake.py"}
