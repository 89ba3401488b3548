"""Scenarios of positions: what only one side has, what differs, what lags, what stays, and what is only dust."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.lifecycle import ENDED, Case, State, StepKind
from reconciliation.engine.startup import block_entries_until_reconciled
from reconciliation.models import Discrepancy, DiscrepancyEvent, Run
from reconciliation.selectors.discrepancies import age
from reconciliation.services.runs import block_until_reconciled
from tests.faults.places import ALPACA, OANDA
from tests.faults.world import World
from tests.reconciliation.conftest import EURUSD, TEST, Desk, People
from tests.reconciliation.domain.sides import AT
from tests.reconciliation.domain.test_lifecycle import FINDING, POLICY, step
from tests.reconciliation.engine.share_desk import AAPL, ShareDesk
from tests.reconciliation.engine.test_own_orders import bracket
from tests.reconciliation.scenarios.bound import fills, ours
from tests.reconciliation.scenarios.showing import shows
from tests.reconciliation.scenarios.telling import cases, outside, reconcile
from trading.clock import store_broker_clock
from trading.domain.broker import BrokerSnapshot
from trading.engine.connections import broker_for
from trading.engine.sender import send_order
from trading.models import Entry, Fill, Notification, Order, Restriction, RiskEvent, Trade
from trading.selectors import books
from trading.services.restrictions import OPEN, REDUCE_ONLY, trading_state

D = Decimal


def held(desk: Desk, quantity: str) -> None:
    """A position that both sides have: made by hand, booked by nobody's strategy."""
    desk.external("trade", instrument=EURUSD, quantity=quantity, price="1.1")


@pytest.mark.scenario("S-32")
@pytest.mark.parametrize("any_world", [OANDA], indirect=True, ids=["oanda"])
def test_a_position_that_only_the_broker_has_is_not_added_to_and_not_adopted_by_itself(
    any_world: World, people: People
) -> None:
    world = any_world
    outside(world, "trade", instrument=EURUSD, quantity="1000", price="1.1")
    for _ in range(2):
        assert reconcile(world).ok
    assert cases(world) == {"EXTERNAL_POSITION": "OPEN"}
    assert not Fill.objects.filter(account=world.account).exists() and books.positions(world.account) == {}
    with pytest.raises(AssertionError, match="reconciliation: EXTERNAL_POSITION"):
        world.plan()
    assert RiskEvent.objects.filter(account=world.account, kind="MIRROR_REFUSED").exists()
    desk = Desk(world.account, world.simulator, broker_for(world.account))
    desk.resolve(desk.case(), "book_fills", people)
    position = books.positions(world.account)["EURUSD"]
    assert position.quantity == position.external_quantity == D(1000)
    assert not Trade.objects.filter(account=world.account, decision__isnull=False).exists(), "no strategy's result"
    desk.broker.close()


@pytest.mark.scenario("S-34")
@pytest.mark.parametrize("any_world", [ALPACA], indirect=True, ids=["alpaca"])
def test_a_position_that_is_missing_from_a_bad_answer_has_not_gone_and_entries_wait(any_world: World) -> None:
    world = any_world
    send_order(order_id=world.plan().pk)
    world.catch_up()
    entries = Entry.objects.count()
    block_until_reconciled(account=world.account, reason="a start", actor=TEST)
    for action, arguments in (("status", {"status": 503}), ("truncate", {"bytes": 20}), ("body", {"text": "[{}]"})):
        world.fault(action, route="GET /v2/positions", times=1000, **arguments)
        for _ in range(2):
            result = reconcile(world)
            assert result.status == "INCOMPLETE" and "positions" in result.error, result
        world.simulator.delete("/faults")
        assert trading_state(world.account)[0] == REDUCE_ONLY, "no entry before a whole answer"
    assert not Discrepancy.objects.exclude(kind="FETCH_FAILED").exists() and Entry.objects.count() == entries
    assert reconcile(world).ok and trading_state(world.account)[0] == OPEN and world.differences() == []


@pytest.mark.scenario("S-34")
def test_an_empty_list_of_positions_closes_nothing_by_itself(share_desk: ShareDesk) -> None:
    desk = share_desk
    desk.reconcile()
    fills(desk, ours(desk, "10"), "10")
    desk.reconcile()
    real = shows(desk, lambda shown: replace(shown, positions=()))
    for _ in range(4):
        desk.reconcile()
    assert books.positions(desk.account)[AAPL].quantity == 10 and Trade.objects.get().state == "OPEN"
    assert Discrepancy.objects.get().kind == "PHANTOM_POSITION", "one case for people, and nothing made up"
    desk.broker = real
    desk.reconcile()
    assert Discrepancy.objects.get().state == "CLEARED" and desk.agrees()


@pytest.mark.scenario("S-35")
@pytest.mark.parametrize(("first", "then"), [("100", "50"), ("-100", "-50"), ("150", "-50")])
def test_a_difference_has_its_sign_on_both_sides_of_zero_and_fills_are_looked_for_first(
    desk: Desk, people: People, first: str, then: str
) -> None:
    held(desk, first)
    desk.reconcile()
    desk.reconcile()
    desk.resolve(desk.case(state="OPEN"), "book_fills", people)
    desk.reconcile()
    desk.external("silent_position", instrument=EURUSD, quantity=then)
    desk.reconcile()
    case = desk.case()
    assert (case.kind, case.difference) == ("QUANTITY_MISMATCH", D(then))
    assert "book_fills" not in case.evidence["actions"] and "no fill that explains it" in case.cause
    desk.external("silent_position", instrument=EURUSD, quantity=str(-D(then)))
    desk.reconcile()
    held(desk, then)
    desk.reconcile()
    case.refresh_from_db()
    assert (case.kind, case.difference) == ("QUANTITY_MISMATCH", D(then))
    assert case.evidence["actions"][0] == "book_fills" and case.cause.startswith("1 fill of EUR_USD")


@pytest.mark.scenario("S-37")
def test_another_average_price_is_a_case_of_its_own_that_blocks_nothing_and_names_its_tolerance(desk: Desk) -> None:
    bracket(desk)
    desk.reconcile()
    (real,) = desk.broker.snapshot().positions
    assert real.average_price is not None
    dearer = replace(real, average_price=real.average_price * D("1.01"))
    shows(desk, lambda shown: replace(shown, positions=(dearer,)))
    for _ in range(2):
        assert desk.reconcile().ok
    case = desk.case()
    assert (case.kind, case.state, case.severity) == ("COST_BASIS", "OPEN", "LOW")
    assert trading_state(desk.account, instrument=case.instrument)[0] == OPEN and not Notification.objects.exists()
    assert Run.objects.latest("id").counts["tolerances"]["price_steps"] == "1", "what was let pass stands on the run"


@pytest.mark.scenario("S-38")
def test_a_restart_above_a_short_whose_fill_is_long_past_finds_and_posts_nothing(share_desk: ShareDesk) -> None:
    desk = share_desk
    desk.reconcile()
    order = ours(desk, "10", side="SELL")
    fills(desk, order, "10")
    desk.reconcile()
    desk.wait_days(30)
    desk.reconcile()
    entries = list(Entry.objects.values_list("pk", flat=True))
    desk.broker.close()
    desk.broker = broker_for(desk.account)
    assert block_entries_until_reconciled() == 1
    result = desk.reconcile(Run.Trigger.STARTUP)
    assert result.ok and result.findings is not None and result.findings.findings == ()
    assert not Discrepancy.objects.exists() and list(Entry.objects.values_list("pk", flat=True)) == entries
    assert books.positions(desk.account)[AAPL].quantity == -10 and desk.agrees()
    assert not Restriction.objects.filter(account=desk.account, lifted_at=None).exists()


@pytest.mark.scenario("S-41")
def test_two_strategies_in_one_net_position_are_compared_as_one_and_what_is_left_has_no_guessed_owner(
    share_desk: ShareDesk,
) -> None:
    desk = share_desk
    desk.reconcile()
    first, second = ours(desk, "5", strategy="orb"), ours(desk, "3", side="SELL", number=2, strategy="lsg")
    fills(desk, first, "5")
    desk.reconcile()
    fills(desk, second, "3")
    for _ in range(2):
        result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == () and desk.agrees()
    trades = list(Trade.objects.order_by("id").values_list("decision_id", "open_quantity", "state"))
    desk.external("silent_position", instrument=AAPL, quantity="-1")
    for _ in range(2):
        desk.reconcile()
    case = desk.case(state="OPEN")
    assert (case.kind, case.key, case.difference) == ("QUANTITY_MISMATCH", AAPL, -1)
    assert not {"decision", "strategy"} & set(case.evidence.get("evidence", {})), "nobody's until people say whose"
    assert list(Trade.objects.order_by("id").values_list("decision_id", "open_quantity", "state")) == trades


@pytest.mark.scenario("S-46")
def test_a_part_that_the_broker_liquidates_is_found_by_the_next_run_with_its_reason(desk: Desk, people: People) -> None:
    held(desk, "314")
    desk.reconcile()
    desk.reconcile()
    desk.resolve(desk.case(state="OPEN"), "book_fills", people)
    desk.reconcile()
    desk.external("closeout", instrument=EURUSD, quantity="231")
    result = desk.reconcile()
    assert result.findings is not None
    (finding,) = result.findings.findings
    assert (finding.books_value, finding.broker_value) == (D(314), D(83)) and "margin close-out" in finding.cause
    desk.reconcile()
    case = desk.case(state="OPEN")
    assert Notification.objects.filter(key__startswith=f"discrepancy:{case.pk}:").exists(), "people hear of it"
    assert Restriction.objects.filter(instrument__symbol="EURUSD", lifted_at=None).exists()
    desk.resolve(case, "book_fills", people)
    assert Entry.objects.filter(kind="MARGIN_CLOSEOUT").exists() and desk.agrees()
    assert books.positions(desk.account)["EURUSD"].quantity == 83


@pytest.mark.scenario("S-48")
def test_a_broker_whose_positions_lag_behind_our_fill_leaves_no_case_and_no_alert(share_desk: ShareDesk) -> None:
    desk = share_desk
    desk.reconcile()
    first = ours(desk, "10")
    fills(desk, first, "10")
    desk.reconcile()
    before = desk.broker.snapshot().positions
    fills(desk, ours(desk, "5", number=2), "5")
    real = shows(desk, lambda shown: replace(shown, positions=before))
    desk.reconcile()
    assert [(row.kind, row.state) for row in Discrepancy.objects.all()] == [("QUANTITY_MISMATCH", "SUSPECTED")]
    desk.broker = real
    desk.reconcile()
    assert Discrepancy.objects.get().state == "CLEARED" and not Notification.objects.exists()
    assert not Restriction.objects.filter(lifted_at=None).exists() and desk.agrees()


@pytest.mark.scenario("S-48")
@given(st.lists(st.sampled_from(["seen", "gone", "unclear"]), max_size=12))
def test_what_never_is_seen_twice_without_a_gap_opens_no_case_within_the_race_window(sights: list[str]) -> None:
    case: Case | None = None
    run, steps = 0, []
    for sight in sights:
        made = step(case, None if sight == "gone" else FINDING, complete=sight != "unclear", later=1)
        run = run + 1 if sight == "seen" else 0 if sight == "gone" else run
        if made is None:
            continue
        steps.append(made.kind)
        seen = case.times_seen if case is not None and case.state not in ENDED else 0
        case = Case(made.to_state, FINDING.substance, seen + made.counts, AT)
        if run < POLICY.confirm_runs and made.kind is not StepKind.CLEARED:
            assert made.to_state is State.SUSPECTED, (sights, steps)
        if run >= POLICY.confirm_runs:
            return


@pytest.mark.scenario("S-50")
@pytest.mark.fault("F-111", broker="every")
def test_a_difference_that_stays_is_one_case_that_ages_and_is_counted_and_nothing_else_grows(desk: Desk) -> None:
    store_broker_clock(account=desk.account, broker_at=desk.broker.now(), speed=D(0))
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    desk.reconcile()
    desk.reconcile()
    case = desk.case(state="OPEN")
    growing = (DiscrepancyEvent, Notification, Restriction, Entry, Order, Discrepancy)
    told = [model.objects.count() for model in growing]
    for _ in range(12):
        assert desk.reconcile().ok
    assert [model.objects.count() for model in growing] == told
    store_broker_clock(account=desk.account, broker_at=case.first_seen_at + timedelta(days=3), speed=D(0))
    for _ in range(2):
        assert desk.reconcile().ok
    told[1] += 1  # nobody has dealt with it in time: that is told, once
    assert [model.objects.count() for model in growing] == told
    before, first = case.version, case.first_seen_at
    case.refresh_from_db()
    assert (case.times_seen, case.state, case.version, case.first_seen_at) == (16, "OPEN", before, first)
    assert age(case) == timedelta(days=3) and Run.objects.count() == 16


@pytest.mark.scenario("S-50")
@pytest.mark.fault("F-111", broker="every")
def test_a_hundred_runs_of_the_same_sides_are_one_sight_each_and_no_further_step() -> None:
    case: Case | None = None
    taken = []
    for number in range(100):
        made = step(case, FINDING, later=number * 300)
        assert made is not None and made.finding is not None
        taken.append((made.kind, made.to_state, made.new_version))
        case = Case(made.to_state, made.finding.substance, number + 1, AT)
    assert [kind for kind, _, _ in taken[:2]] == [StepKind.SEEN, StepKind.OPENED]
    assert set(taken[2:]) == {(StepKind.SEEN_AGAIN, State.OPEN, False)}


@pytest.mark.scenario("S-47")
@pytest.mark.parametrize(("extra", "kinds"), [("0", []), ("1", ["QUANTITY_MISMATCH"])])
def test_units_are_compared_exactly_in_steps_of_their_instrument(desk: Desk, extra: str, kinds: list[str]) -> None:
    bracket(desk)
    desk.reconcile()

    def blurred(shown: BrokerSnapshot) -> BrokerSnapshot:
        (position,) = shown.positions
        return replace(shown, positions=(replace(position, quantity=D("999.9") + D("0.1") + D(extra)),))

    shows(desk, blurred)
    result = desk.reconcile()
    assert result.findings is not None and [str(each.kind) for each in result.findings.findings] == kinds


@pytest.mark.scenario("S-47", "S-29")
@pytest.mark.fault("F-104", broker="every")
@pytest.mark.parametrize("rest", ["0.000000001", "-0.000000001", "0.9"])
def test_what_is_less_than_one_step_of_an_instrument_is_dust_that_the_run_names(desk: Desk, rest: str) -> None:
    bracket(desk)
    desk.reconcile()
    real = desk.broker.snapshot().positions[0]
    shows(desk, lambda shown: replace(shown, positions=(replace(real, quantity=real.quantity + D(rest)),)))
    for _ in range(2):
        result = desk.reconcile()
        assert result.ok and result.findings is not None and result.findings.findings == ()
        assert any("dust" in note and "EURUSD" in note for note in result.findings.notes)
    assert not Discrepancy.objects.exists() and books.positions(desk.account)["EURUSD"].quantity == 1000
