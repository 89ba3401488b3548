"""The ledger's benchmark: that it runs on its own, says every figure, and never calls a target met that it missed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.ledger import data
from benchmarks.ledger.figures import TARGETS, Rounds, targets

PROJECT = Path(__file__).resolve().parents[1]


def test_a_quick_run_says_every_figure_and_does_not_pretend() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.ledger", "--quick"],
        cwd=PROJECT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("DATABASE", "BACKOFFICE"))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert answer.stdout, answer.stderr
    result = json.loads(answer.stdout.splitlines()[-1])
    assert set(result["targets"]) == {target.name for target in TARGETS}
    for target in TARGETS:
        hordak = "hordak" in target.other
        assert (result["targets"][target.name]["measured"] is None) == hordak, target.name
        for name in (target.ours, *([target.other] if target.other and not hordak else [])):
            assert result["figures"][name] > 0, name
    assert result["figures"]["machine"]["fsync"] == "on"
    assert result["met"] is False and answer.returncode == 1, "a run without the peer proves nothing"


def test_a_ratio_is_taken_within_a_round_before_the_median() -> None:
    rounds = Rounds(rates={"ours": [10.0, 40.0, 90.0], "peer": [10.0, 20.0, 30.0]})
    assert rounds.ratio("ours", "peer") == (2.0, 1.0, 3.0)
    assert rounds.ratio("ours", "nobody") is None


def test_a_target_is_met_at_its_bound_and_missed_beyond_it() -> None:
    rounds = Rounds(facts={"bytes_a_transfer": 320.1})
    assert targets(rounds)["bytes_a_transfer"]["met"] is False
    rounds.facts["bytes_a_transfer"] = 320.0
    assert targets(rounds)["bytes_a_transfer"]["met"] is True
    rounds.rates = {"single_ours_entries_per_s": [200.0], "single_hordak_entries_per_s": [100.0]}
    assert targets(rounds)["single_to_hordak_single"]["met"] is True
    rounds.rates["single_ours_entries_per_s"] = [199.0]
    assert targets(rounds)["single_to_hordak_single"]["met"] is False
    rounds.rates |= {"bulk_unchained_postings_per_s": [126.0], "bulk_ours_postings_per_s": [100.0]}
    assert targets(rounds)["chain_overhead"]["met"] is False, "at most means at most"
    assert targets(rounds)["verify_rows_to_bulk_rows"]["met"] is False, "what was not measured is not met"


def test_every_ledger_is_given_the_same_events() -> None:
    rows = data.events(0, 40)
    assert rows[7:9] == data.events(7, 2), "an event is made from its number alone"
    assert len({event.key for event in rows}) == 40
    assert all(len(event.moves) == data.TRANSFERS_PER_ENTRY for event in rows)
    for move in (move for event in rows for move in event.moves):
        debit, credit = data.BOOKS[move.debit], data.BOOKS[move.credit]
        assert move.amount > 0 and debit != credit and debit.owner == credit.owner
        assert debit.commodity == credit.commodity == move.commodity
    assert sum(len(piece) for piece in data.batches(rows, 7)) == 40
