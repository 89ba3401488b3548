"""Bad pages of history go through inflow and inbox into a database: nothing wrong is booked, nothing right lost."""

from __future__ import annotations

import pytest

from tests.trading.brokers.fuzz.inbox_cases import BOOKS, InboxFuzzer
from tests.trading.brokers.fuzz.subjects import Tape

# A few only: each reads a whole history into the books twice. `make fuzz` plays more of them.
CASES = 12
SEED = 20260105
# Seed and numbers of pages that the judge once could not judge.
ONCE_UNJUDGED = {"kite": (1, (142, 394, 494))}


@pytest.mark.django_db
@pytest.mark.parametrize("broker", [each.broker for each in BOOKS])
def test_bad_pages_never_book_what_was_not_said_and_never_stop_what_was(tapes: list[Tape], broker: str) -> None:
    fuzzer = InboxFuzzer(next(tape for tape in tapes if tape.subject == broker), SEED)
    tally = fuzzer.run(range(CASES))
    assert tally.wrong == []
    assert tally.cases == CASES
    assert tally.booked > len(fuzzer.baseline), "pages that are bad in one place still book what they say elsewhere"


@pytest.mark.django_db
@pytest.mark.parametrize("broker", ONCE_UNJUDGED)
def test_pages_that_the_judge_could_not_read_are_judged(tapes: list[Tape], broker: str) -> None:
    seed, numbers = ONCE_UNJUDGED[broker]
    tally = InboxFuzzer(next(tape for tape in tapes if tape.subject == broker), seed).run(numbers)
    assert tally.wrong == [] and tally.cases == len(numbers)
