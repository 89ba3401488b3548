"""A long statement is matched by the database, a short one in memory: the findings, and the run, are the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.facts import Fact
from reconciliation.engine import statements
from reconciliation.models import Discrepancy, Run
from reconciliation.selectors import matching
from reconciliation.statements.compare import Booked, compare
from tests.reconciliation.conftest import EURUSD, TEST, Desk
from tests.reconciliation.statements.files import Rows, oanda_json, save
from tests.reconciliation.statements.test_comparing import START, STEPS, sides, told


@given(sides(8), sides(8), st.sets(st.integers(1, 8)), st.sets(st.sampled_from("abcde")))
@pytest.mark.django_db
def test_the_database_finds_what_memory_finds(
    theirs: list[Fact], ours: list[Fact], outside: set[int], waiting: set[str]
) -> None:
    booked = Booked(tuple(ours), {each.ref: f"e{each.ref}" for each in ours}, frozenset(outside), frozenset(waiting))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "LARGE", 1)
        found = compare(told(theirs), booked, STEPS, matcher=matching.match_by_size)
    assert found == compare(told(theirs), booked, STEPS)


def test_of_six_thousand_lines_both_find_the_same_by_every_rule(db: None) -> None:
    theirs, ours = long_sides(6_000)
    booked = Booked(tuple(ours), {})
    found = compare(told(theirs), booked, STEPS, matcher=matching.match_by_size)
    assert found == compare(told(theirs), booked, STEPS)
    assert len(found.findings) == 4 * 6 and all(line.unexplained == 0 for line in found.proof)
    assert "2: 6, 3: 6, 4: 6, 5: 6" in found.notes[0], found.notes


def long_sides(many: int) -> tuple[list[Fact], list[Fact]]:
    """Of each thousand, each side has one alone, one price and one amount differ, and four need later rules."""
    theirs: list[Fact] = []
    ours: list[Fact] = []
    for number in range(many):
        at = START + timedelta(minutes=number)
        one = Fact(
            4 * number, f"id{number}", f"c{number}", f"o{number}", "ONE", "BUY", "", Decimal(4 * number + 4),
            Decimal(1), "USD", Decimal(0), at, at.date(),
        )  # fmt: skip
        line, other = one, one
        nameless = replace(one, external_id="")
        match number % 1000:
            case 0:
                theirs.append(one)
                continue
            case 1:
                ours.append(one)
                continue
            case 2:
                other = replace(one, price=Decimal(2))
            case 3:
                other = replace(one, amount=Decimal(-1))
            case 4:
                line = nameless
            case 5:
                line = replace(nameless, client_id="")
            case 6:
                line = replace(nameless, client_id="", price=Decimal("1.01"))
            case 7:
                line = replace(nameless, client_id="")
                other = replace(one, quantity=one.quantity / 2)
                ours.append(replace(other, ref=one.ref + 1, external_id=f"more{number}"))
        theirs.append(line)
        ours.append(other)
    return theirs, ours


def test_a_run_of_a_long_statement_is_the_run_of_a_short_one(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.reconcile()
    for quantity in ("1000", "2000", "-1000"):
        desk.external("trade", instrument=EURUSD, quantity=quantity, price="1.1")
    desk.external("transfer", amount="250")

    def changed(rows: Rows) -> Rows:
        return [row | ({"price": "1.2"} if row["type"] == "ORDER_FILL" else {}) for row in rows]

    shown: list[tuple[str, int, int]] = []
    path = save(tmp_path / "a.json", oanda_json(desk.simulator, changed))
    outcome = statements.import_file(
        account=desk.account, path=path, actor=TEST, progress=lambda *step: shown.append(step)
    )
    assert shown == [("Storing lines", 5, 5), ("Comparing", 0, 0)]
    assert outcome.result.findings is not None and outcome.result.findings.findings
    cases = set(Discrepancy.objects.values_list("fingerprint", flat=True))
    asked: list[int] = []
    by_database = matching.match

    def counted(*facts: object, **more: object) -> object:
        asked.append(1)
        return by_database(*facts, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(matching, "match", counted)
    for module in (matching, statements):
        monkeypatch.setattr(module, "LARGE", 1)
    again = statements.run_statement(outcome.imported.statement)
    assert asked and again.findings == outcome.result.findings
    assert set(Discrepancy.objects.values_list("fingerprint", flat=True)) == cases
    assert len(set(Run.objects.filter(trigger="STATEMENT").values_list("sha256", flat=True))) == 1
