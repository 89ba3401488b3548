"""What the fault tests stand on: a small desk of one's own, with everything real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.conftest import CommittedDatabase
from tests.faults.places import BY_NAME, OANDA, Place
from tests.faults.world import World, worker_environment
from tests.servers import Simulator
from trading.brokers import kite_client


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
        made.append(World(start_simulator(*place.start), redis_url, environment, tmp_path, scope, place=place))
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


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Place], Simulator]]:
    """The simulator that a module's desks at a broker share, one after the other."""
    simulators: dict[str, Simulator] = {}

    def at(place: Place) -> Simulator:
        if place.name not in simulators:
            simulators[place.name] = Simulator.start(tmp_path_factory.mktemp(place.name), place.start)
        return simulators[place.name]

    yield at
    for simulator in simulators.values():
        simulator.stop()


@pytest.fixture(params=BY_NAME.values(), ids=BY_NAME)
def any_world(
    committed_db: CommittedDatabase,
    redis_url: str,
    running: Callable[[Place], Simulator],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[World]:
    """A desk at each broker in turn: its books are empty, and its account is made anew."""
    place: Place = request.param
    simulator = running(place)
    simulator.delete("/faults")
    simulator.post(f"/accounts/{place.account}/reset")
    monkeypatch.setattr(kite_client, "LOGIN_PAUSE", 0.0)  # what a test does to a key lasts no longer than its fault
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    environment = worker_environment(committed_db.urls.environment(), redis_url)
    since = simulator.journal()[-1]["seq"]
    with closing(World(simulator, redis_url, environment, tmp_path, "faults", place=place, since=since)) as world:
        yield world
    simulator.delete("/faults")
