"""What a statement and the books say of the same days: pure comparison and continuity, by property."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.facts import Fact
from reconciliation.domain.kinds import family
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


def test_an_execution_outside_of_the_statements_time_is_found_by_its_id_and_by_nothing_else() -> None:
    line, ours = fact(1, "", "ONE", "BUY", 2, 100, 0, 0), fact(9, "b", "ONE", "BUY", 2, 100, 0, 1)
    assert compare(told([line]), Booked((ours,), {}), STEPS).findings == (), "within its time the terms are enough"
    (found,) = compare(told([line]), Booked((ours,), {}, frozenset({9})), STEPS).findings
    assert found.kind == "MISSING_FILL"
    named = replace(line, external_id="b")
    assert compare(told([named]), Booked((ours,), {}, frozenset({9})), STEPS).findings == ()


def test_two_executions_whose_ids_are_known_and_differ_are_two_whatever_their_terms() -> None:
    line, ours = fact(1, "a", "ONE", "BUY", 2, 100, 0, 0), fact(9, "b", "ONE", "BUY", 2, 100, 0, 0)
    found = compare(told([line]), Booked((ours,), {}), STEPS)
    assert [(one.kind, one.key) for one in found.findings] == [("EXTRA_FILL", "fill:b"), ("MISSING_FILL", "fill:a")]
    assert all(each.unexplained == 0 for each in found.proof)


@given(sides(), sides(), st.sets(st.integers(1, 12)))
def test_no_two_findings_are_one_case(theirs: list[Fact], ours: list[Fact], outside: set[int]) -> None:
    found = compare(told(theirs), Booked(tuple(ours), {}, frozenset(outside)), STEPS).findings
    assert len({(family(one.kind), one.key) for one in found}) == len(found)


def test_an_execution_missing_and_one_too_many_of_the_same_terms_are_two_cases() -> None:
    line = fact(1, "", "ONE", "BUY", 2, 100, 0, 0)
    ours = replace(line, ref=9, product="MIS")
    found = compare(told([line]), Booked((ours,), {}), STEPS).findings
    assert {one.kind for one in found} == {"MISSING_FILL", "EXTRA_FILL"}
    assert len({(family(one.kind), one.key) for one in found}) == 2


def test_the_rest_of_a_day_that_no_statement_covers_is_a_gap_where_our_books_hold_something_of_it() -> None:
    day = date(2026, 1, 5)
    first = replace(part(1, day, day), covers_until=START)
    later = part(2, date(2026, 1, 6), date(2026, 1, 6))
    assert gaps([first, later], busy=()) == []
    asked: list[tuple[datetime, datetime]] = []

    def held(begin: datetime, end: datetime) -> bool:
        asked.append((begin, end))
        return True

    (gap,) = gaps([first, later], busy=(), held=held)
    assert asked == [(START, later.covers_from)]
    assert (gap.key, gap.before.statement) == ("2026-01-05T12:00:00", 2)
    between = replace(part(3, day, day), covers_from=START, covers_until=later.covers_from)
    assert gaps([first, between, later], busy=(), held=held) == []
    chained = [replace(first, closing=D(4)), replace(later, opening=D(4))]
    assert gaps(chained, busy=(), held=held) == [], "the balances say that nothing was moved between them"
