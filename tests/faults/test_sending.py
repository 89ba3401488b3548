"""probe"""
import pytest
from tests.faults.world import World, worker_environment, START
from trading.engine.sender import send_order

@pytest.fixture
def world(committed_db, redis_url, start_simulator, tmp_path):
    w = World(start_simulator(*START), redis_url, worker_environment(committed_db.urls.environment(), redis_url), tmp_path)
    yield w
    w.close()

def test_probe(world):
    order = world.plan()
    send_order(order_id=order.pk)
    assert world.problems(order) == []
    assert world.differences() == []
    w = world.start_worker(name="one")
    world.wait_for_worker(w)
    order = world.plan()
    world.send_task("orders.send", order.pk)
    world.wait(lambda: not world.problems(order), 5, "sent")
    print(world.wall_time(world.posts(order)[0]))
