"""The token bucket and its lane for risk reduction."""

from __future__ import annotations

import threading
import time

import pytest

from trading.brokers.budget import RateBudget, budget_for


def test_polls_never_take_the_reserve_and_cancels_can() -> None:
    budget = RateBudget(per_second=0.001, burst=10, reserve=4)
    assert [budget.take("general", wait=0) for _ in range(8)].count(True) == 6
    assert [budget.take("reduce", wait=0) for _ in range(6)].count(True) == 4


def test_a_token_comes_back_with_time() -> None:
    budget = RateBudget(per_second=50, burst=2, reserve=0)
    assert budget.take("general", wait=0) and budget.take("general", wait=0)
    assert not budget.take("general", wait=0)
    began = time.monotonic()
    assert budget.take("general", wait=1)
    assert 0.01 < time.monotonic() - began < 0.2


def test_the_rate_holds_for_many_threads() -> None:
    budget = RateBudget(per_second=100, burst=10, reserve=0)
    taken: list[float] = []
    end = time.monotonic() + 0.5

    def poll() -> None:
        while time.monotonic() < end:
            if budget.take("general", wait=0.05):
                taken.append(time.monotonic())

    threads = [threading.Thread(target=poll) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 30 <= len(taken) <= 10 + 100 * 0.6 + 1


def test_backing_off_silences_polls_only() -> None:
    budget = RateBudget(per_second=100, burst=10, reserve=5)
    budget.back_off(0.3)
    assert not budget.take("general", wait=0.1)
    assert budget.take("reduce", wait=0)
    assert budget.take("general", wait=0.5)


def test_an_account_has_one_budget() -> None:
    first = budget_for("a test's own account", per_second=1, burst=2, reserve=1)
    assert budget_for("a test's own account", per_second=9, burst=9, reserve=1) is first
    assert budget_for("another", per_second=1, burst=2, reserve=1) is not first


@pytest.mark.parametrize(("rate", "burst", "reserve"), [(0, 2, 1), (1, 2, 2), (1, 2, -1)])
def test_a_budget_that_could_never_send_is_refused(rate: float, burst: int, reserve: int) -> None:
    with pytest.raises(ValueError, match="budget"):
        RateBudget(per_second=rate, burst=burst, reserve=reserve)
