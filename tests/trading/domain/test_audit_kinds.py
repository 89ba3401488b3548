"""The registry of audit kinds: sentences that are whole, fields that have a name, nothing unknown."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from reconciliation.domain.lifecycle import StepKind
from trading.domain.audit_kinds import FIELDS, KINDS, UnknownKind, field_name, kind_of, sentence

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("trading", "reconciliation", "backoffice")
LITERAL = re.compile(r"""kind=f?["']([a-z_]+\.[a-z_]+)["']""")


def test_every_kind_that_the_source_names_is_in_the_registry() -> None:
    named = {
        kind
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if "simulator" not in path.parts
        for kind in LITERAL.findall(path.read_text(encoding="utf-8"))
    }
    assert len(named) > 20 and not named - set(KINDS)


def test_every_step_of_a_case_and_every_verdict_has_a_kind() -> None:
    people = {"PROPOSED", "APPROVED", "REJECTED", "WITHDRAWN", "EXPIRED", "APPLIED", "NOT_APPLIED"}
    steps = {str(kind) for kind in StepKind} - {"SEEN_AGAIN"}
    assert {f"discrepancy.{step.lower()}" for step in steps | people} <= set(KINDS)
    assert {f"proposal.{verdict}" for verdict in ("approve", "reject", "withdraw")} <= set(KINDS)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_sentence_asks_only_for_what_the_kind_holds_and_every_field_has_a_name(name: str) -> None:
    kind = KINDS[name]
    asked = {field for _, field, _, _ in Formatter().parse(kind.sentence) if field}
    sides = {f"{side}_{field}" for side in ("before", "after") for field in kind.fields}
    assert asked <= {"who", "about", "reason"} | sides
    assert kind.fields <= set(FIELDS), kind.fields - set(FIELDS)
    assert len(name) <= 60 and re.fullmatch(r"[a-z_]+\.[a-z_]+", name)


def test_an_unknown_kind_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnknownKind, match="weather.changed.*nothing was changed.*audit_kinds"):
        kind_of("weather.changed")


def test_an_event_reads_as_a_sentence() -> None:
    told = sentence(
        "order.moved",
        who="orders",
        about="BUY 1000 EURUSD",
        reason="filled",
        before={"state": "WORKING"},
        after={"state": "FILLED"},
    )
    assert told == "BUY 1000 EURUSD went from WORKING to FILLED: filled"
    groups = {"groups": ["approver", "viewer"]}
    assert sentence("user.groups_changed", who="ulla", about="bob", reason="", before={}, after=groups) == (
        "ulla changed the groups of bob"
    )


def test_what_an_event_does_not_hold_and_braces_in_it_break_no_sentence() -> None:
    said = sentence("order.moved", who="x", about="{about!r} {0}", reason="{", before={}, after={"state": None})
    assert said == "{about!r} {0} went from ? to nothing: {"
    assert sentence("old.kind_of_before", who="x", about="y", reason="", before={}, after={}) == (
        "x: old kind of before y"
    )
    assert field_name("payload_sha256") == "SHA-256 of payload" and field_name("some_new") == "some new"
