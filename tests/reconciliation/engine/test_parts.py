"""An answer of which a part is missing: the cases that rely on the rest of it go on, the others wait."""

from __future__ import annotations

from dataclasses import replace

from django.db import connection

from backoffice.verification import INVARIANTS, check
from reconciliation.models import Run
from tests.reconciliation.conftest import EURUSD, Desk, People
from tests.reconciliation.scenarios.showing import shows
from trading.domain.broker import BrokerSnapshot, Completeness, Part


def without_cash(shown: BrokerSnapshot) -> BrokerSnapshot:
    """The cash of the day is not known yet."""
    return replace(shown, cash_part=Part(Completeness.PARTIAL, "the day is not settled"))


def without_positions(shown: BrokerSnapshot) -> BrokerSnapshot:
    """The positions could not be read."""
    return replace(shown, positions=(), positions_part=Part(Completeness.FAILED, "no answer"))


def test_a_position_is_decided_and_closed_on_a_day_whose_cash_is_not_known(desk: Desk, people: People) -> None:
    assert desk.reconcile().ok, "a look at an account that begins wants a whole answer"
    shows(desk, without_cash)
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    for state in ("SUSPECTED", "OPEN"):
        assert desk.reconcile().status == "INCOMPLETE"
        assert (desk.case().kind, desk.case().state) == ("EXTERNAL_POSITION", state)
    assert Run.objects.latest("pk").counts["complete_parts"] == [
        "answer", "flags", "history", "orders", "positions", "protection",
    ]  # fmt: skip
    desk.resolve(desk.case(), "book_fills", people)
    desk.reconcile()
    assert desk.case(kind="EXTERNAL_POSITION").state == "CLOSED" and desk.agrees()
    assert broken() == []


def test_a_case_waits_for_the_part_that_it_relies_on(desk: Desk) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    for _ in range(2):
        assert desk.reconcile().ok
    before = desk.case()
    assert before.state == "OPEN"
    real = shows(desk, without_positions)
    desk.external("trade", instrument=EURUSD, quantity="-1000", price="1.1")
    for _ in range(2):
        desk.reconcile()
    after = desk.case()
    assert (after.state, after.version, after.difference) == ("OPEN", before.version, before.difference)
    desk.broker = real
    desk.reconcile()
    assert desk.case().version == before.version + 1, "now it is known that the position is flat again"
    assert broken() == []


def broken() -> list[str]:
    """What of the invariants about runs and cases does not hold."""
    with connection.cursor() as cursor:
        found = [check(cursor, each) for each in INVARIANTS if each.id in ("I-31", "I-32")]
    return [offence.problem for result in found for offence in result.rows]
