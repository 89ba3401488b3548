"""The lots of one instrument on one account, walked through in the broker's order, at first in first out or at average.

What always holds: open lots all have one side, the units opened earliest come first, and AVERAGE keeps one pool; each
profit is rounded once, to what the books store; what shares stand at is the cost of their open lots, rounded once, so
that what a step's roundings leave over is its `rounding`, and nothing is left when flat; the order of booking does not
matter between two acts of people, because a fill goes to its place in the broker's order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from trading.domain.books import LotClosing, OpenLot, apply_fill
from trading.domain.broker_data import Side
from trading.domain.money import ONE, STORED_STEP, ZERO, round_to_step
from trading.domain.settlement import payment


class LotMethod(StrEnum):
    """Which cost a close gives up: that of the oldest units, or the average of all."""

    FIFO = "FIFO"
    AVERAGE = "AVERAGE"


@dataclass(frozen=True, slots=True)
class Execution:
    """One booked execution. `fill` names it; `sequence` is the broker's, None for what people decided.

    `replaces` names the one in whose place it stands; one that was taken back does not count, but keeps its place.
    """

    fill: str
    side: Side
    quantity: Decimal
    price: Decimal
    sequence: int | None
    replaces: str = ""
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """What one execution did: closes with their profits (quote currency), and the lot that it opened.

    `realised` is the sum of the profits; `rounding` what its roundings took out of what is held at cost.
    """

    fill: str
    closings: tuple[LotClosing, ...]
    opened: OpenLot | None
    realised: Decimal
    rounding: Decimal


@dataclass(frozen=True, slots=True)
class Walk:
    """Every execution's step, and the lots at the end, the oldest first."""

    steps: tuple[Step, ...]
    lots: tuple[OpenLot, ...]


def in_order(booked: Iterable[Execution]) -> tuple[Execution, ...]:
    """The executions that count, in the broker's order, from the order in which they were booked.

    What people decided (no sequence) is a barrier: they decided on the books as they stood, so what the broker tells
    later of a time before comes after it. A replacement stands where what it replaces stood.
    """
    done: list[Execution] = []
    since: list[Execution] = []
    places: list[int] = []
    for each in booked:
        if each.replaces and _take_place(each, done):
            continue
        if each.replaces and (index := _take_place(each, since)):
            places.insert(index, places[index - 1])
        elif each.sequence is None:
            done, since, places = [*done, *since, each], [], []
        else:
            index = bisect_right(places, each.sequence)
            since.insert(index, each)
            places.insert(index, each.sequence)
    return tuple(each for each in (*done, *since) if each.counts)


def _take_place(each: Execution, stretch: list[Execution]) -> int:
    """Put a replacement after what it replaces; where it stands now, 0 if that is not in this stretch."""
    for index, other in enumerate(stretch, 1):
        if other.fill == each.replaces:
            stretch.insert(index, each)
            return index
    return 0


def cost_held(lots: Iterable[OpenLot], *, multiplier: Decimal = ONE) -> Decimal:
    """What open lots cost (short ones below zero), in the quote currency, rounded once to what the books store."""
    cost = sum((lot.quantity * lot.price * lot.side.sign for lot in lots), ZERO)
    return round_to_step(cost * multiplier, STORED_STEP)


def step(
    method: LotMethod,
    lots: Sequence[OpenLot],
    execution: Execution,
    *,
    multiplier: Decimal = ONE,
) -> tuple[Step, tuple[OpenLot, ...]]:
    """One execution against the open lots: what it does, and the lots after it.

    At AVERAGE an addition closes what stands at its own cost, without profit, and opens all of it at the average cost,
    rounded half-even to what is stored; the pool keeps the origin of its first units. A flip begins a new lot.
    Raises `ValueError` as `apply_fill` does.
    """
    side, quantity, price = execution.side, execution.quantity, execution.price
    after, closings = apply_fill(lots, side, quantity, price, lot_id=execution.fill, multiplier=multiplier)
    if after and after[-1].lot_id == execution.fill:
        after = (*after[:-1], replace(after[-1], origin=execution.fill))
    if method is LotMethod.AVERAGE and len(after) > 1:
        after, closings = _pooled(after, lots, execution.fill)
    closings = tuple(replace(each, pnl_quote=round_to_step(each.pnl_quote, STORED_STEP)) for each in closings)
    realised = sum((each.pnl_quote for each in closings), ZERO)
    rounding = (
        cost_held(lots, multiplier=multiplier)
        - payment(side, quantity, price, multiplier=multiplier)
        + realised
        - cost_held(after, multiplier=multiplier)
    )
    opened = next((lot for lot in after if lot.lot_id == execution.fill), None)
    return Step(execution.fill, closings, opened, realised, rounding), after


def _pooled(
    after: Sequence[OpenLot], standing: Sequence[OpenLot], lot_id: str
) -> tuple[tuple[OpenLot, ...], tuple[LotClosing, ...]]:
    quantity = sum((lot.quantity for lot in after), ZERO)
    average = round_to_step(sum((lot.quantity * lot.price for lot in after), ZERO) / quantity, STORED_STEP)
    pool = OpenLot(lot_id, after[0].side, quantity, average, after[0].origin)
    return (pool,), tuple(LotClosing(lot.lot_id, lot.quantity, lot.price, lot.price, ZERO) for lot in standing)


def walk(
    method: LotMethod,
    executions: Iterable[Execution],
    *,
    lots: Sequence[OpenLot] = (),
    multiplier: Decimal = ONE,
) -> Walk:
    """Walk through executions that are in order, from the lots that stood before the first of them."""
    standing, steps = tuple(lots), []
    for execution in executions:
        made, standing = step(method, standing, execution, multiplier=multiplier)
        steps.append(made)
    return Walk(tuple(steps), standing)
