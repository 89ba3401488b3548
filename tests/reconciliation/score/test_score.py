"""The scoreboard itself, on one seed of each broker: every fault alone and some in pairs, and that it can say no."""

from __future__ import annotations

from datetime import date

import pytest

from benchmarks.recon_score import house as houses
from benchmarks.recon_score.catalogue import EVERY, of, together
from benchmarks.recon_score.judge import Verdict, judge
from benchmarks.recon_score.score import BEGIN, END, Score, section
from reconciliation.domain.compare import reconcile
from reconciliation.domain.findings import Findings

SEED = 20


@pytest.mark.parametrize("broker", EVERY)
def test_every_fault_is_found_by_its_name_and_nothing_else_is(broker: str) -> None:
    verdicts = judge(broker, SEED, pairs=2)
    assert [each.told() for each in verdicts if not each.good] == []
    assert {each.faults[0] for each in verdicts if len(each.faults) == 1} == {fault.name for fault in of(broker)}
    assert sum(len(each.faults) == 2 for each in verdicts) == 2
    assert all(runs == 2 for each in verdicts for _, runs, _ in each.detected)


@pytest.mark.parametrize("broker", EVERY)
def test_at_each_broker_twenty_five_kinds_of_fault_can_be_planted_and_hundreds_of_pairs(broker: str) -> None:
    assert len(of(broker)) >= 25 and len(together(broker)) > 300


def test_a_comparison_that_says_nothing_is_told_as_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*sides: object) -> Findings:
        found = reconcile(*sides)  # type: ignore[arg-type]
        return Findings((), found.proof, found.completeness, found.notes, 0, 0, 0, complete_parts=found.complete_parts)

    monkeypatch.setattr(houses, "reconcile", silent)
    verdicts = judge("oanda", SEED, pairs=0, only=("cash_moves_without_a_record",))
    assert verdicts and all(each.missed == (("CASH_UNEXPLAINED", "USD"),) and not each.good for each in verdicts)


def test_the_same_seed_gives_the_same_verdicts() -> None:
    name = ("others_turn_a_position_around",)
    assert judge("oanda", 7, pairs=0, only=name) == judge("oanda", 7, pairs=0, only=name)


def test_a_case_under_a_wrong_kind_is_a_miss_and_a_false_one() -> None:
    score = Score()
    wrong = (("PHANTOM_POSITION", "EURUSD"),), (("SIDE_MISMATCH", "EURUSD"),)
    score.add([Verdict("oanda", 1, ("a",), ("first",), wrong[0], wrong[0], wrong[1])])
    score.add([Verdict("oanda", 2, ("a",), ("first",), wrong[0], detected=(("PHANTOM_POSITION", 2, 400.0),))])
    alone = score.alone["oanda"]
    assert (alone.recall, alone.precision) == (0.5, 0.5)
    targets = score.targets(["oanda"])
    assert not targets["recall_alone"]["met"] and not targets["precision_alone"]["met"]
    assert "--broker oanda --seed 1 --fault a" in score.wrong[0]


@pytest.mark.parametrize("flaw", [{"writes": 1}, {"posted": 1}, {"extra": (("COST_BASIS", "X"),)}])
def test_a_clean_stream_that_leaves_anything_meets_no_target(flaw: dict[str, object]) -> None:
    score = Score()
    score.add([Verdict("kite", 3, (), (), **flaw)])  # type: ignore[arg-type]
    targets = score.targets(["kite"])
    assert not (targets["wrong_mutations"]["met"] and targets["false_cases_on_clean_streams"]["met"])


def test_the_table_is_written_between_its_marks_with_date_seeds_and_command() -> None:
    text = section(Score(), seeds=9, command="make recon-score SEEDS=9", on=date(2026, 3, 4))
    assert text.startswith(BEGIN) and text.endswith(END)
    assert "2026-03-04" in text and "seeds 1 to 9" in text and "`make recon-score SEEDS=9`" in text
