"""The scoreboard's faults on the real desk: database, ledger, simulator processes; what a fault may change is nothing.

What always holds: the truth is what was planted at the simulator; after the runs the ledger, our orders and the
broker's account are as before, and the cases that stand open are exactly those planted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal

import pytest

from reconciliation.domain.kinds import Kind
from reconciliation.models import Discrepancy
from tests.reconciliation.conftest import Desk, opened
from tests.servers import Simulator
from trading.models import Application, CashEvent, Entry, Fill, Order, Proposal

SEEDS = range(1, 3)
MARKET = {
    "oanda": ("USD", "EUR_USD", "EURUSD", "GBP_USD", "GBPUSD"),
    "alpaca": ("USD", "AAPL", "AAPL", "MSFT", "MSFT"),
    "kite": ("INR", "NSE:INFY", "INFY", "NSE:RELIANCE", "RELIANCE"),
}


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The process that all seeds share."""
    process = Simulator.start(tmp_path_factory.mktemp("score"), ["--always-open", "--speed", "0"])
    yield process
    process.stop()


def planted(desk: Desk, broker: str, dice: random.Random) -> set[tuple[str, str]]:
    """Two or three faults at the broker that touch different things; what must come of them."""
    currency, first, ours, second, other = MARKET[broker]
    units = str(dice.randint(1, 40) * dice.choice([1, -1] if broker == "oanda" else [1]))
    amount = str(Decimal(dice.randint(1, 99_999)) / 10_000 * dice.choice([1, -1]))
    plants = [
        (lambda: desk.external("trade", instrument=first, quantity=units), (Kind.EXTERNAL_POSITION, ours)),
        (lambda: desk.external("silent_cash", amount=amount), (Kind.CASH_UNEXPLAINED, currency)),
        (
            lambda: desk.external("silent_position", instrument=second, quantity="7"),
            (Kind.EXTERNAL_POSITION, other),
        ),
    ]
    chosen = dice.sample(plants, dice.randint(2, 3))
    for plant, _ in chosen:
        plant()
    return {(str(kind), key) for _, (kind, key) in chosen}


def standing(desk: Desk) -> set[tuple[str, str]]:
    """The cases that are open."""
    rows = Discrepancy.objects.filter(account=desk.account, state="OPEN")
    return set(rows.values_list("kind", "key"))


def rows_of(desk: Desk) -> list[int]:
    """How much of everything that a fault must not change there is."""
    models = (Entry, Fill, CashEvent, Order, Proposal)
    counts = [model._default_manager.filter(account=desk.account).count() for model in models]
    return [*counts, Application.objects.count()]


def writes(desk: Desk) -> int:
    """Requests that reached the account's broker and could change something."""
    rows = [row for row in desk.simulator.journal() if row["account"] == desk.simulator.account]
    return sum(row["kind"] == "request" and row["data"]["method"] != "GET" for row in rows)


@pytest.mark.parametrize("broker", MARKET)
def test_what_is_planted_at_the_broker_is_what_the_desk_opens_and_nothing_is_changed(
    committed_db: object, lasting: Simulator, broker: str
) -> None:
    currency, first, _, second, _ = MARKET[broker]
    around = {"oanda": ("1.10000", "1.30000"), "alpaca": ("200.00", "400.00"), "kite": ("1500.00", "2900.00")}[broker]
    for name, price in zip((first, second), around, strict=True):
        lasting.post("/prices", {"instrument": name, "bid": price, "ask": price})
    for seed in SEEDS:
        with opened(lasting, broker, currency) as desk:
            desk.reconcile()
            assert standing(desk) == set()
            wanted = planted(desk, broker, random.Random(f"{broker} {seed}"))
            desk.reconcile()
            assert standing(desk) == set(), "one run is no proof"
            before = rows_of(desk), writes(desk), desk.simulator.truth()
            desk.reconcile()
            assert standing(desk) == wanted, (broker, seed)
            assert (rows_of(desk), writes(desk), desk.simulator.truth()) == before, (broker, seed)
            desk.reconcile()
            assert standing(desk) == wanted, (broker, seed)
