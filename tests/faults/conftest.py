"""What the fault tests stand on: a small desk of one's own, with everything real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.conftest import CommittedDatabase
from tests.faults.world import START, World, worker_environment
from tests.servers import Simulator


@pytest.fixture
def world(
    committed_db: CommittedDatabase, redis_url: str, start_simulator: Callable[..., Simulator], tmp_path: Path
) -> Iterator[World]:
    """A desk with one account at a simulator of its own, and an empty Redis; its workers are killed after the test."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    environment = worker_environment(committed_db.urls.environment(), redis_url)
    made = World(start_simulator(*START), redis_url, environment, tmp_path)
    try:
        yield made
    finally:
        made.close()
