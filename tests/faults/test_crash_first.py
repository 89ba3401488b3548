"""The short run of `make crash-first`: each point at which a worker can die around a send, once."""

from __future__ import annotations

import pytest

from tests.faults.crash_first import CrashFirst
from tests.faults.places import PLACES
from tests.faults.world import World

pytestmark = pytest.mark.faults
REPETITIONS = 3


@pytest.mark.parametrize("any_world", PLACES, indirect=True, ids=lambda place: place.name)
@pytest.mark.scenario("S-06")
def test_a_worker_killed_around_the_send_leaves_exactly_one_order_at_the_broker(any_world: World) -> None:
    world = any_world
    run = CrashFirst(world, REPETITIONS)
    cells = run.run()
    assert [problem for cell in cells for problem in cell.problems] == []
    assert [len(cell.repetitions) for cell in cells] == [REPETITIONS] * 3
    assert len(run.sent_again(cells[2])) == 2, "killed between claim and send, and sent again after the quarantine"
    assert world.differences() == []
