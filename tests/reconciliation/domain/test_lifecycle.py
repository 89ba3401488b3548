"""A case from run to run: when it opens, what closes it, and what only a complete run may do."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.compare import reconcile
from reconciliation.domain.findings import Finding
from reconciliation.domain.fingerprint import fingerprint
from reconciliation.domain.kinds import Confidence, Kind, family
from reconciliation.domain.lifecycle import ENDED, Case, State, Step, StepKind, plan
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.snapshots import BooksSnapshot
from tests.reconciliation.domain.sides import AT, FAILED, books, broker, event, fill, position, two_sides
from trading.domain.broker import BrokerSnapshot, Completeness

POLICY = ReconciliationPolicy(confirm_runs=2, race_window_seconds=60)
FINDING = reconcile(broker(position()), books(), POLICY).findings[0]
OTHER = reconcile(broker(position(quantity="2000")), books(), POLICY).findings[0]

cases = st.builds(
    Case,
    state=st.sampled_from(list(State)),
    substance=st.sampled_from([FINDING.substance, OTHER.substance]),
    times_seen=st.integers(0, 5),
    first_seen_at=st.just(AT),
    accepted_substance=st.sampled_from(["", FINDING.substance]),
    just_applied=st.booleans(),
    order_pending=st.booleans(),
    order_failed=st.booleans(),
    relies_on=st.frozensets(st.sampled_from(Confidence), min_size=1, max_size=2),
)
some_parts = st.frozensets(st.sampled_from(Confidence))
seen = st.sampled_from([None, FINDING, OTHER])


def step(
    case: Case | None,
    finding: Finding | None,
    *,
    complete: bool = True,
    later: int = 1,
    parts: Collection[Confidence] = (),
) -> Step | None:
    """What one run does to one case."""
    steps = plan(
        standing={"f": case} if case is not None else {},
        found={"f": finding} if finding is not None else {},
        complete=complete,
        at=AT + timedelta(seconds=later),
        policy=POLICY,
        parts=parts,
    )
    return steps[0] if steps else None


def a_case(state: State, **more: object) -> Case:
    """A case of FINDING, seen once."""
    return replace(Case(state, FINDING.substance, 1, AT), **more)  # type: ignore[arg-type]


@given(st.one_of(st.none(), cases), seen)
def test_an_incomplete_run_moves_no_case_and_at_most_raises_a_suspicion(
    case: Case | None, finding: Finding | None
) -> None:
    made = step(case, finding, complete=False)
    if made is not None:
        assert made.to_state == (State.SUSPECTED if case is None else case.state)
        assert not made.new_version and not made.counts


@given(st.one_of(st.none(), cases), seen, some_parts)
def test_a_part_that_is_complete_counts_for_the_cases_that_rely_on_it_and_for_no_other(
    case: Case | None, finding: Finding | None, parts: frozenset[Confidence]
) -> None:
    needed = (case.relies_on if case is not None else frozenset()) | ({finding.relies_on} if finding else set())
    made = step(case, finding, complete=False, parts=parts)
    assert made == step(case, finding, complete=needed <= parts)


def test_a_position_that_vanished_clears_although_the_cash_is_not_known() -> None:
    case = a_case(State.OPEN, relies_on=frozenset({Confidence.POSITIONS}))
    made = step(case, None, complete=False, parts={Confidence.POSITIONS, Confidence.HISTORY})
    assert made is not None and made.to_state is State.CLEARED
    assert step(case, None, complete=False, parts={Confidence.CASH, Confidence.HISTORY}) is None


def test_a_case_known_before_its_part_was_kept_needs_them_all() -> None:
    every_other = set(Confidence) - {Confidence.CASH}
    assert step(a_case(State.OPEN), None, complete=False, parts=every_other) is None
    assert step(a_case(State.OPEN), None, complete=False, parts=set(Confidence)) is not None


def test_what_a_poorer_answer_shows_of_a_case_does_not_change_it() -> None:
    """Positions were known and are not now: what the history alone says is less, not something else."""
    case = a_case(State.PROPOSED, relies_on=frozenset({Confidence.POSITIONS}))
    poorer = reconcile(broker(positions_part=FAILED), books(unposted=(event(fill()),)), POLICY).findings[0]
    assert poorer.relies_on is Confidence.HISTORY
    made = step(case, poorer, complete=False, parts={Confidence.HISTORY, Confidence.CASH})
    assert made is not None and (made.kind, made.to_state) == (StepKind.SEEN_AGAIN, State.PROPOSED)


@given(two_sides())
def test_a_comparison_says_which_parts_it_may_conclude_from(sides: tuple[BrokerSnapshot, BooksSnapshot]) -> None:
    found = reconcile(*sides, POLICY)
    shown = {
        Confidence.CASH: sides[0].cash_part,
        Confidence.POSITIONS: sides[0].positions_part,
        Confidence.ORDERS: sides[0].orders_part,
    }
    complete = {name for name, part in shown.items() if part.completeness is Completeness.COMPLETE}
    guarded = {Confidence.PROTECTION} if {Confidence.POSITIONS, Confidence.ORDERS} <= complete else set()
    read = sides[0].flags or sides[0].cash_part.completeness is not Completeness.FAILED
    flags = {Confidence.FLAGS} if read else set()
    assert found.complete_parts <= {*complete, *guarded, *flags, Confidence.HISTORY}
    assert reconcile(replace(sides[0], last_event_id="10"), sides[1], POLICY).complete_parts == frozenset()


@given(st.one_of(st.none(), cases), seen)
def test_nothing_that_people_decide_is_decided_by_a_run(case: Case | None, finding: Finding | None) -> None:
    made = step(case, finding)
    if made is not None and case is not None and made.to_state is not case.state:
        assert made.to_state not in (State.PROPOSED, State.APPROVED, State.APPLIED)


@given(cases, seen)
def test_a_changed_matter_always_gets_a_new_version_while_it_is_alive(case: Case, finding: Finding | None) -> None:
    made = step(case, finding)
    if made is None or finding is None or case.state in ENDED or case.just_applied:
        return
    if finding.substance != case.substance and made.to_state is not State.CLOSED and not case.order_pending:
        assert made.new_version


@given(cases)
def test_a_case_that_was_just_resolved_is_left_to_the_next_run(case: Case) -> None:
    assert step(replace(case, just_applied=True), FINDING) is None


def test_a_first_sight_is_a_suspicion_and_a_second_opens_it() -> None:
    first = step(None, FINDING)
    assert first is not None and (first.kind, first.to_state) == (StepKind.SEEN, State.SUSPECTED)
    second = step(a_case(State.SUSPECTED), FINDING)
    assert second is not None and (second.kind, second.to_state) == (StepKind.OPENED, State.OPEN)


def test_a_suspicion_from_an_incomplete_run_needs_as_many_complete_ones() -> None:
    made = step(a_case(State.SUSPECTED, times_seen=0), FINDING)
    assert made is not None and made.to_state is State.SUSPECTED


def test_a_suspicion_older_than_the_race_window_opens_at_once() -> None:
    made = step(a_case(State.SUSPECTED, times_seen=0), FINDING, later=60)
    assert made is not None and made.to_state is State.OPEN


@pytest.mark.parametrize("state", [State.SUSPECTED, State.OPEN, State.PROPOSED, State.APPROVED])
def test_what_is_gone_clears_itself(state: State) -> None:
    made = step(a_case(state), None)
    assert made is not None and made.to_state is State.CLEARED and made.new_version


@pytest.mark.parametrize("state", [State.PROPOSED, State.APPROVED])
def test_a_proposal_falls_when_the_difference_changes(state: State) -> None:
    made = step(a_case(state), OTHER)
    assert made is not None and (made.to_state, made.new_version) == (State.OPEN, True)


def test_a_resolution_is_closed_by_a_run_that_no_longer_finds_it_and_by_nothing_else() -> None:
    gone = step(a_case(State.APPLIED), None)
    assert gone is not None and gone.to_state is State.CLOSED
    there = step(a_case(State.APPLIED), FINDING)
    assert there is not None and (there.kind, there.to_state) == (StepKind.NOT_CURED, State.OPEN)
    assert step(a_case(State.APPLIED), None, complete=False) is None


def test_a_flatten_waits_for_its_order_and_says_when_it_did_not_fill() -> None:
    assert step(a_case(State.APPLIED, order_pending=True), None) is None
    failed = step(a_case(State.APPLIED, order_failed=True), None)
    assert failed is not None and failed.kind is StepKind.NOT_FLATTENED


def test_an_accepted_difference_closes_stays_closed_and_opens_again_when_it_changes() -> None:
    accepted = a_case(State.APPLIED, accepted_substance=FINDING.substance)
    closed = step(accepted, FINDING)
    assert closed is not None and closed.kind is StepKind.ACCEPTED and closed.to_state is State.CLOSED
    standing = replace(accepted, state=State.CLOSED)
    assert step(standing, FINDING) is None
    changed = step(standing, OTHER)
    assert changed is not None and changed.kind is StepKind.REOPENED
    over = step(standing, None)
    assert over is not None and over.kind is StepKind.ACCEPTANCE_ENDED


@pytest.mark.parametrize("state", [State.CLOSED, State.CLEARED])
def test_what_comes_back_is_the_same_case_suspected_again(state: State) -> None:
    made = step(a_case(state), FINDING)
    assert made is not None and (made.kind, made.to_state) == (StepKind.REOPENED, State.SUSPECTED)


def test_a_position_that_changes_its_shape_stays_the_same_case() -> None:
    names = {
        fingerprint(account="a", kind=kind, key="EURUSD")
        for kind in (Kind.EXTERNAL_POSITION, Kind.PHANTOM_POSITION, Kind.QUANTITY_MISMATCH, Kind.MISSING_FILL)
    }
    assert len(names) == 1


identities = st.tuples(st.text(), st.sampled_from(list(Kind)), st.text())


@given(identities, identities)
def test_different_cases_never_share_a_fingerprint(a: tuple[str, Kind, str], b: tuple[str, Kind, str]) -> None:
    same = (a[0], family(a[1]), a[2]) == (b[0], family(b[1]), b[2])
    first, second = (fingerprint(account=row[0], kind=row[1], key=row[2]) for row in (a, b))
    assert (first == second) == same


def test_the_substance_ignores_balances_that_move_under_an_unchanged_difference() -> None:
    first = reconcile(broker(cash="105"), books(cash="100"), POLICY).findings[0]
    second = reconcile(broker(cash="205"), books(cash="200"), POLICY).findings[0]
    third = reconcile(broker(cash="206"), books(cash="200"), POLICY).findings[0]
    assert first.substance == second.substance != third.substance
