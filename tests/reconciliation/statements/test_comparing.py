"""What a statement and the books say of the same days: pure comparison and continuity, by property."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.facts import Fact
from reconciliation.domain.snapshots import InstrumentRule
from reconciliation.statements.compare import STATEMENT, Booked, Told, compare
from reconciliation.statements.continuity import Part, gaps
from reconciliation.statements.document import Covers

D = Decimal
STEPS = {name: InstrumentRule(name, name, D(1), D("0.01")) for name in ("ONE", "TWO")}
START = datetime(2026, 1, 5, 12, tzinfo=UTC)


def fact(ref: int, ident: str, symbol: str, side: str, quantity: int, cents: int, amount: int, hours: int) -> Fact:
    """An execution, or, without a side, a movement of cash."""
    at = START + timedelta(hours=hours)
    return Fact(
        ref, ident, "", "", symbol if side else "", side, "", D(quantity) if side else D(0),
        D(cents) / 100 if side else D(0), "USD", D(amount), at, at.date(),
    )  # fmt: skip


def sides(most: int = 12) -> st.SearchStrategy[list[Fact]]:
    """Facts of one side: ids that repeat now and then, few terms, so that much is nearly the same."""
    drawn = st.tuples(
        st.sampled_from(["", "a", "b", "c", "d", "e"]), st.sampled_from(["ONE", "TWO"]),
        st.sampled_from(["BUY", "SELL", ""]), st.integers(1, 3), st.integers(100, 102), st.integers(-2, 2),
        st.integers(0, 40),
    )  # fmt: skip
    return st.lists(drawn, max_size=most).map(lambda rows: [fact(ref, *row) for ref, row in enumerate(rows, 1)])


def told(facts: list[Fact]) -> Told:
    """The statement's side."""
    return Told(7, Covers.CASH, "The statement", tuple(facts))


@given(sides(), sides(), st.sets(st.integers(1, 12)), st.sets(st.sampled_from("abcde")))
def test_the_proof_always_holds_and_every_finding_names_its_statement(
    theirs: list[Fact], ours: list[Fact], outside: set[int], waiting: set[str]
) -> None:
    booked = Booked(tuple(ours), {each.ref: f"e{each.ref}" for each in ours}, frozenset(outside), frozenset(waiting))
    found = compare(told(theirs), booked, STEPS)
    assert all(line.unexplained == 0 for line in found.proof), found.proof
    assert all(one.evidence[STATEMENT] == 7 for one in found.findings)
    assert compare(told(theirs[::-1]), replace(booked, facts=tuple(ours[::-1])), STEPS) == found


@given(sides())
def test_equal_sides_have_no_difference(facts: list[Fact]) -> None:
    found = compare(told(facts), Booked(tuple(facts), {}), STEPS)
    assert found.findings == () and found.linked == len(facts)


@given(sides(), st.data())
def test_one_fact_less_is_one_case_of_it(facts: list[Fact], data: st.DataObject) -> None:
    named = [replace(each, external_id=f"id{each.ref}") for each in facts]
    if not named:
        return
    gone = data.draw(st.sampled_from(named))
    rest = [each for each in named if each is not gone]
    (missing,) = compare(told(named), Booked(tuple(rest), {}), STEPS).findings
    (extra,) = compare(told(rest), Booked(tuple(named), {}), STEPS).findings
    assert missing.key == extra.key and missing.key.endswith(f":id{gone.ref}")
    assert compare(told(rest), Booked(tuple(named), {}, frozenset({gone.ref})), STEPS).findings == ()
    assert compare(told(named), Booked(tuple(rest), {}, waiting=frozenset({f"id{gone.ref}"})), STEPS).findings == ()


def test_the_same_id_with_another_side_is_one_difference() -> None:
    one, other = fact(1, "a", "ONE", "BUY", 2, 100, 0, 0), fact(1, "a", "ONE", "SELL", 2, 100, 0, 0)
    (found,) = compare(told([one]), Booked((other,), {1: "event-9"}), STEPS).findings
    assert (found.kind, found.key, found.difference) == ("FILL_MISMATCH", "event:event-9", 4)


def part(number: int, first: date, last: date, opening: Decimal | None = None, closing: Decimal | None = None) -> Part:
    """A statement of whole days in UTC."""
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = datetime(last.year, last.month, last.day, 23, 59, tzinfo=UTC)
    return Part(number, begin, end, first, last, opening, closing, end)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 6)), min_size=1, max_size=8))
def test_a_gap_is_there_exactly_where_a_weekday_between_is_covered_by_none(spans: list[tuple[int, int]]) -> None:
    base = date(2026, 1, 5)
    parts = [
        part(number, base + timedelta(days=start), base + timedelta(days=start + more))
        for number, (start, more) in enumerate(spans)
    ]
    covered = {start + day for start, more in spans for day in range(more + 1)}
    stretches: list[list[date]] = [[]]
    for day in range(min(covered), max(covered) + 1):
        if day in covered:
            stretches.append([])
        else:
            stretches[-1].append(base + timedelta(days=day))
    weekdays = [[day for day in stretch if day.weekday() < 5] for stretch in stretches]
    assert [gap.key for gap in gaps(parts, busy=())] == [str(days[0]) for days in weekdays if days]
    everything = {day for stretch in stretches for day in stretch}
    assert [gap.key for gap in gaps(parts, busy=everything)] == [str(days[0]) for days in stretches if days]


def test_an_opening_that_is_not_the_closing_before_is_a_gap_and_an_overlap_is_none() -> None:
    first = part(1, date(2026, 1, 5), date(2026, 1, 5), D(0), D(10))
    later = part(2, date(2026, 1, 6), date(2026, 1, 6), D(11), D(11))
    (gap,) = gaps([later, first], busy=())
    assert (gap.key, gap.difference, gap.before.statement) == ("2026-01-06", 1, 2)
    assert gaps([first, replace(later, opening=D(10))], busy=()) == []
    assert gaps([first, replace(later, covers_from=first.covers_from)], busy=()) == []
