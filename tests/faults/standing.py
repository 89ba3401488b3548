"""A desk at each broker that stands for all tests of a module, and what tests of faults do with it.

What always holds: each test plans orders of its own and leaves no fault behind, so that tests share servers, books and
the broker's account; the judge is the same as for a desk of one's own: the simulator's journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import redis

from tests.faults.places import BY_NAME, Place
from tests.faults.world import World, worker_environment
from tests.servers import DatabaseServer, Simulator
from trading.brokers.registry import (
    SIMULATOR_ALPACA_KEY,
    SIMULATOR_ALPACA_SECRET,
    SIMULATOR_KITE_KEY,
    SIMULATOR_KITE_TOKEN,
    SIMULATOR_OANDA_TOKEN,
)
from trading.domain.broker import BrokerUnreachable
from trading.engine.oco import look_after
from trading.engine.watcher import watch_once
from trading.models import Fill, Order, RiskEvent
from trading.selectors import books

PAST_QUARANTINE = 27


@dataclass(frozen=True, slots=True)
class Wire:
    """Where things stand on a broker's wire: routes, and the members of a fill's row (`fill` is the path to it).

    `flipped` are the members that make a fill one of the other side, `filled` the member of an order in the list of
    `open_orders`; `number` writes a number as the broker does, a JSON one without its fraction; `headers` sign a
    request of a tester's own.
    """

    history: str
    fill: str
    id: str
    price: str
    quantity: str
    flipped: tuple[str, object]
    instrument: str
    at: str
    order: str
    kind: str
    account: tuple[str, str]
    positions: tuple[str, str]
    open_orders: tuple[str, str]
    filled: str
    by_client_id: str
    headers: dict[str, str]
    number: Callable[[str], object] = str


_OANDA = "/v3/accounts/101-001-1000001-001"
WIRES = {
    "oanda": Wire(
        history=f"GET {_OANDA}/transactions/sinceid",
        fill="transactions.*",
        id="id",
        price="price",
        quantity="units",
        flipped=("units", "-1000"),
        instrument="instrument",
        at="time",
        order="orderID",
        kind="type",
        account=(f"GET {_OANDA}", "account.id"),
        positions=(f"GET {_OANDA}", "account.positions"),
        open_orders=(f"GET {_OANDA}", "account.orders"),
        filled="filledUnits",
        by_client_id=f"GET {_OANDA}/orders/@",
        headers={"Authorization": f"Bearer {SIMULATOR_OANDA_TOKEN}"},
    ),
    "alpaca": Wire(
        history="GET /v2/account/activities",
        fill="-1",
        id="id",
        price="price",
        quantity="qty",
        flipped=("side", "sell"),
        instrument="symbol",
        at="transaction_time",
        order="order_id",
        kind="activity_type",
        account=("GET /v2/account", "account_number"),
        positions=("GET /v2/positions", "*"),
        open_orders=("GET /v2/orders", ""),
        filled="filled_qty",
        by_client_id="GET /v2/orders:by_client_order_id",
        headers={"APCA-API-KEY-ID": SIMULATOR_ALPACA_KEY, "APCA-API-SECRET-KEY": SIMULATOR_ALPACA_SECRET},
    ),
    "kite": Wire(
        history="GET /trades",
        fill="data.-1",
        id="trade_id",
        price="average_price",
        quantity="quantity",
        flipped=("transaction_type", "SELL"),
        instrument="tradingsymbol",
        at="fill_timestamp",
        order="order_id",
        kind="exchange",
        account=("GET /user/profile", "data.user_id"),
        positions=("GET /portfolio/positions", "data.net"),
        open_orders=("GET /orders", "data"),
        filled="filled_quantity",
        by_client_id="GET /orders",
        headers={"Authorization": f"token {SIMULATOR_KITE_KEY}:{SIMULATOR_KITE_TOKEN}"},
        number=lambda text: int(Decimal(text)),
    ),
}


def wire_of(world: World) -> Wire:
    """The wire of the broker that this desk trades at."""
    return WIRES[world.place.name]


@pytest.fixture(scope="module", params=BY_NAME.values(), ids=BY_NAME)
def standing_world(
    request: pytest.FixtureRequest,
    database_server: DatabaseServer,
    django_db_setup: None,
    template_database: str,
    django_db_blocker: Any,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """The desk that stands for the module, at each broker in turn."""
    place: Place = request.param
    directory = tmp_path_factory.mktemp("standing")
    with (
        pytest.MonkeyPatch.context() as patch,
        django_db_blocker.unblock(),
        database_server.lend(template_database, patch.setenv) as (_, urls),
    ):
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        simulator = Simulator.start(directory / "simulator", place.start)
        try:
            environment = worker_environment(urls.environment(), redis_url)
            world = World(simulator, redis_url, environment, directory, place=place)
            yield world
            world.close()
        finally:
            simulator.stop()


@pytest.fixture
def standing(standing_world: World, django_db_blocker: Any) -> Iterator[World]:
    """That desk without any fault, before and after the test."""
    with django_db_blocker.unblock():
        standing_world.simulator.delete("/faults")
        standing_world.price(standing_world.place.bid, standing_world.place.ask)
        look_after(standing_world.account)  # what the test before has left
        yield standing_world
        standing_world.simulator.delete("/faults")


def state(order: Order) -> str:
    """The order's state by now."""
    order.refresh_from_db()
    return str(order.state)


def settle(world: World, *orders: Order, rounds: int = 4) -> None:
    """Whatever the fault was: wait past lease and quarantine, and let the watcher do its work."""
    for _ in range(rounds):
        for order in orders:
            world.pass_time(order, PAST_QUARANTINE)
        watch_once()
        if all(state(order) in ("FILLED", "WORKING", "REJECTED", "CANCELLED", "EXPIRED") for order in orders):
            break


def watch_until(what: Callable[[], Any], seconds: float = 10) -> None:
    """Rounds of the watcher in this process until it is true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        watch_once()
        time.sleep(0.1)


def once(world: World, order: Order, posts: int = 1) -> None:
    """The judge: one order at the broker, booked once, asked for so often; and all books equal the broker's."""
    look_after(world.account)
    assert (world.problems(order), len(world.posts(order))) == ([], posts)
    assert apart(world) == []


def apart(world: World) -> list[str]:
    """Where books and broker differ in cash or units. What a unit cost is rounded or averaged by each broker's rule."""
    ours = {symbol: held.quantity for symbol, held in books.positions(world.account).items() if held.quantity}
    theirs = {
        world.place.symbol_of(row["instrument"]): Decimal(row["quantity"]) * (1 if row["side"] == "LONG" else -1)
        for row in world.truth()["positions"]
        if Decimal(row["quantity"])
    }
    units = [] if ours == theirs else [f"units: books {ours}, broker {theirs}"]
    return units + [line for line in world.differences() if line.startswith("cash")]


@contextmanager
def damaged(world: World, route: str, path: str, value: object) -> Iterator[None]:
    """Every answer at this route has this value in it, and no other fault is in force."""
    world.simulator.delete("/faults")
    world.fault("bad_value", route=route, times=1000, path=path, value=value)
    try:
        yield
    finally:
        world.simulator.delete("/faults")


def unread(world: World) -> Order:
    """An order that the broker has filled and whose fill nobody has read yet."""
    from trading.engine.sender import send_order

    order = world.plan()
    world.fault("status", when="before", route=wire_of(world).history, times=1000, status=503)
    send_order(order_id=order.pk)
    assert world.copies(order) and not Fill.objects.filter(order=order).exists()
    world.simulator.delete("/faults")
    return order


def read(world: World) -> str:
    """Read what the broker tells; the complaint when it cannot be used."""
    with suppress(BrokerUnreachable):
        world.catch_up()
        return ""
    return "the broker's history cannot be used"


def filled(order: Order) -> Decimal:
    """What our books say of the order."""
    return sum((fill.quantity for fill in Fill.objects.filter(order=order)), Decimal(0))


def whole_or_told(world: World, order: Order) -> None:
    """The fill is booked once; or its first reading was kept unread, and people are told that it says more now."""
    if filled(order):
        once(world, order)
        return
    told = {"EVENT_BODY_CHANGED", "EVENT_NOT_BOOKED", "FOREIGN_ANSWER"}
    assert RiskEvent.objects.filter(account=world.account, kind__in=told).exists()
    assert order.state != "FILLED", "nobody takes it for filled before its fill is booked"
