"""The same history leaves the same books, however it is cut, repeated and mixed up on its way."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.trading.services import making
from tests.trading.services.histories import History, histories, left_behind, signed, tell
from trading.domain.books import OpenLot, apply_fill, average_price, net_quantity
from trading.domain.broker import Side
from trading.models import CashEvent, Decision, Fill, Instrument, Lot, LotClose, Position, Trade
from trading.selectors import books
from trading.services import projections
from trading.services.setup import ensure_instruments

pytestmark = pytest.mark.django_db
# Without shrinking: an example is a hundred statements, and a failure must not take an hour.
each_example_rolls_back = settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def instruments(db: None) -> None:
    """The instruments, once for all examples."""
    ensure_instruments()


@dataclass(frozen=True)
class Delivery:
    """How a history is cut: ends of the batches, how far each reaches back, and a seed for the order inside."""

    ends: tuple[int, ...]
    back: tuple[int, ...]
    mixed: Any


deliveries = st.builds(
    Delivery,
    ends=st.lists(st.integers(0, 30), max_size=6).map(lambda ends: tuple(sorted(ends))),
    back=st.lists(st.integers(0, 12), min_size=8, max_size=8).map(tuple),
    mixed=st.randoms(use_true_random=False),
)


@each_example_rolls_back
@given(history=histories(), delivery=deliveries)
def test_any_cutting_repeating_and_mixing_leaves_the_same_books(history: History, delivery: Delivery) -> None:
    with transaction.atomic():
        straight, crooked = making.make_account("straight"), making.make_account("crooked")
        for event in tell(straight, history):
            making.receive(straight, event)
        events = tell(crooked, history)
        done = 0
        for end, back in zip((*delivery.ends, len(events)), delivery.back, strict=False):
            batch = events[max(done - back, 0) : max(end, done)]
            batch += batch[: back // 2]
            delivery.mixed.shuffle(batch)
            making.receive(crooked, *batch)
            done = max(end, done)
        making.receive(crooked, *reversed(events))
        assert left_behind(crooked) == left_behind(straight)
        transaction.set_rollback(True)


@each_example_rolls_back
@given(history=histories())
def test_the_books_hold_together_after_any_fills(history: History) -> None:
    with transaction.atomic():
        account = making.make_account()
        making.receive(account, *tell(account, history))
        fills = list(Fill.objects.filter(account=account).select_related("instrument").order_by("id"))
        ours = sum(len(leg.executions) for leg in history.legs)
        assert len(fills) == ours, "every execution of ours is booked, nobody else's is"
        _check_zero_sum()
        _check_cash(account, fills)
        for symbol in {fill.instrument.symbol for fill in fills}:
            _check_position(account, symbol, [fill for fill in fills if fill.instrument.symbol == symbol])
        transaction.set_rollback(True)


def _check_zero_sum() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT commodity_id, sum(amount) FROM ledger_posting GROUP BY 1 HAVING sum(amount) <> 0")
        assert cursor.fetchall() == []
        cursor.execute("SELECT 1 FROM ledger_posting GROUP BY entry_id, commodity_id HAVING sum(amount) <> 0")
        assert cursor.fetchall() == []


def _check_cash(account: Any, fills: list[Fill]) -> None:
    moved = sum((fill.realised + fill.financing + fill.commission for fill in fills), Decimal(0))
    moved += sum((row.amount for row in CashEvent.objects.filter(account=account)), Decimal(0))
    assert books.cash_balances(account).get("USD", Decimal(0)) == moved
    for kind, field in (("REALISED", "realised"), ("FINANCING", "financing"), ("COMMISSION", "commission")):
        expected = sum((getattr(fill, field) for fill in fills), Decimal(0))
        if kind == "FINANCING":
            expected += sum((c.amount for c in CashEvent.objects.filter(account=account, kind="FINANCING")), Decimal(0))
        assert -books.balances(account, kind).get("USD", Decimal(0)) == expected


def _check_position(account: Any, symbol: str, fills: list[Fill]) -> None:
    lots: tuple[OpenLot, ...] = ()
    closed = Decimal(0)
    for fill in fills:
        lots, closings = apply_fill(lots, Side(fill.side), fill.quantity, fill.price, lot_id=str(fill.pk))
        closed += sum((closing.quantity for closing in closings), Decimal(0))
    instrument = Instrument.objects.get(symbol=symbol)
    held, row = signed(fills), Position.objects.get(account=account, instrument=instrument)
    standing = books.open_lots(account, instrument)
    assert net_quantity(lots) == held == row.quantity == books.balances(account, "POSITION")[symbol]
    assert [(lot.quantity, lot.unit_cost) for lot in standing] == [(lot.quantity, lot.price) for lot in lots]
    assert sum((lot.quantity * lot.side for lot in standing), Decimal(0)) == held
    opened = sum((lot.quantity for lot in Lot.objects.filter(account=account, instrument=instrument)), Decimal(0))
    closes = LotClose.objects.filter(lot__account=account, lot__instrument=instrument)
    assert sum((c.quantity for c in closes), Decimal(0)) == closed
    assert opened - closed == abs(held)
    wanted = average_price(lots)
    if wanted is None:
        assert row.average_price is None and symbol not in books.positions(account)
    else:
        assert row.average_price == round(wanted, 12)
        assert round(books.positions(account)[symbol].average_price or 0, 12) == round(wanted, 12)


@each_example_rolls_back
@given(history=histories())
def test_projecting_again_changes_nothing_and_the_trades_are_what_the_fills_say(history: History) -> None:
    with transaction.atomic():
        account = making.make_account()
        making.receive(account, *tell(account, history))
        before = left_behind(account)
        for decision in Decision.objects.filter(account=account).order_by("-id"):
            projections.project_trade(account, decision)
        for instrument in Instrument.objects.filter(pk__in=Lot.objects.filter(account=account).values("instrument")):
            projections.project_position(account, instrument)
        assert left_behind(account) == before
        _check_trades(account, history)
        transaction.set_rollback(True)


def _check_trades(account: Any, history: History) -> None:
    for number, leg in enumerate(history.legs):
        if leg.closes is not None:
            continue
        trade = Trade.objects.get(account=account, decision__client_plan_id=f"plan-{account.pk}-{number + 1}")
        exits = [part for other in history.legs if other.closes == number for part in other.executions]
        entered = sum((part.quantity for part in leg.executions), Decimal(0))
        left = sum((part.quantity for part in exits), Decimal(0))
        everything = [*leg.executions, *exits]
        fees = sum((part.commission + part.financing for part in everything), Decimal(0))
        pnl = sum((part.realised for part in everything), Decimal(0)) + fees
        price = round(sum((p.quantity * p.price for p in leg.executions), Decimal(0)) / entered, 12)
        risk = abs(price - trade.initial_stop) * entered
        note(f"trade {trade.pk}: pnl {pnl}, risk {risk}")
        assert (trade.quantity, trade.open_quantity) == (entered, max(entered - left, Decimal(0)))
        assert (trade.pnl, trade.fees) == (pnl, fees)
        assert trade.state == ("CLOSED" if left >= entered else "OPEN")
        assert abs(trade.entry_price - price) <= Decimal("1e-12")
        if risk:
            assert abs(trade.r - pnl / risk) <= Decimal("0.000001")
