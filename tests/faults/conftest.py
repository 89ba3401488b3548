"""What the fault tests stand on: a small desk of one's own, with everything real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.conftest import CommittedDatabase
from tests.faults.places import OANDA, PLACES, Place
from tests.faults.world import START, World, worker_environment
from tests.servers import Simulator


@pytest.fixture
def make_world(
    committed_db: CommittedDatabase, redis_url: str, start_simulator: Callable[..., Simulator], tmp_path: Path
) -> Iterator[Callable[..., World]]:
    """Make a desk with one account at a simulator of its own, and an empty Redis; its workers die after the test."""
    made: list[World] = []

    def make(scope: str = "faults", place: Place = OANDA) -> World:
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        environment = worker_environment(committed_db.urls.environment(), redis_url)
        made.append(World(start_simulator(*START), redis_url, environment, tmp_path, scope, place=place))
        return made[-1]

    try:
        yield make
    finally:
        for world in made:
            world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """One such desk, whose workers block nothing as they start."""
    return make_world()


@pytest.fixture(params=PLACES, ids=[place.name for place in PLACES])
def any_world(make_world: Callable[..., World], request: pytest.FixtureRequest) -> World:
    """The same at each broker in turn."""
    return make_world(place=request.param)
