"""A slice of the nightly run (`make nightly-ledger`): random books, against a plain model, refusals included."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.trading.ledger.machine import BooksMachine, prepare, tally

SEQUENCES, STEPS = 8, 50


@pytest.mark.django_db
def test_any_sequence_of_operations_leaves_the_books_of_the_model_and_a_whole_chain() -> None:
    prepare()
    before = tally.sequences, tally.operations, tally.refused
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        BooksMachine,
        settings=settings(
            max_examples=SEQUENCES + 2,  # the first are cut short
            stateful_step_count=STEPS + 1,
            deadline=None,
            database=None,
            derandomize=True,
            # Without shrinking: a sequence is a thousand statements, and a failure must not take an hour.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
        _min_steps=STEPS + 1,
    )
    sequences, operations, refused = (after - then for after, then in zip(
        (tally.sequences, tally.operations, tally.refused), before, strict=True))  # fmt: skip
    assert sequences >= SEQUENCES and operations >= SEQUENCES * STEPS and refused >= SEQUENCES
