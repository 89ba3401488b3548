"""The short run of `make crash-matrix`: every point, mode, kind of work and broker, in few cells."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.conftest import CommittedDatabase
from tests.faults.matrix.cells import BROKERS, HOLDING, KINDS, MODES, POINTS, all_cells, batches, slice_of
from tests.faults.matrix.lane import Lane
from tests.faults.world import worker_environment

pytestmark = pytest.mark.faults


def test_the_matrix_has_all_of_its_cells_and_the_slice_something_of_everything() -> None:
    assert len(set(all_cells())) == len(POINTS) * len(MODES) * len(KINDS) * len(BROKERS) and len(POINTS) == 14
    short = slice_of()
    assert {cell.point for cell in short} == set(POINTS) and {cell.mode for cell in short} == set(MODES)
    assert {(cell.kind, cell.broker) for cell in short} == {(kind, broker) for kind in KINDS for broker in BROKERS}
    assert any(cell.waits_for_people for cell in short)
    assert any(cell.point in HOLDING and cell.mode == "stop" for cell in short)
    assert sorted(cell for batch in batches(all_cells()) for cell in batch) == sorted(all_cells())


@pytest.mark.scenario("S-06")
def test_processes_struck_anywhere_leave_each_order_once_at_the_broker_and_each_fill_once_in_the_books(
    committed_db: CommittedDatabase, redis_url: str, tmp_path: Path
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    lane = Lane(tmp_path, worker_environment(committed_db.urls.environment(), redis_url), redis_url)
    cells = slice_of()
    try:
        together = [cell for cell in cells if not cell.freezes_the_books]
        outcomes = lane.run(together)
        for cell in cells:
            if cell.freezes_the_books:
                outcomes += lane.run([cell])
    finally:
        lane.close()
    assert [f"{outcome.cell}: {problem}" for outcome in outcomes for problem in outcome.problems] == []
    assert len(outcomes) == len(POINTS)
