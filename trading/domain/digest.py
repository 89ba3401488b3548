"""What closed trades come to, as pure functions: totals, win rate, cost drag, the line of cumulative R.

What always holds here: nothing is rounded but quotients (averages, rates, drag); amounts of different currencies are
never added; a trade whose risk is not known counts as a trade, with no R of its own.

Worked cost drag, as in `costs.py`: a spread of 0.6 pips and one pip of slippage cost 1.3 pips a side. A trade whose
stop is 10 pips from the mid risks 11.3 pips, and loses 2.6 / 11.3 = 0.230 R to costs, whether it wins or loses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from trading.domain.broker import Side
from trading.domain.money import HUNDRED, ONE, ZERO

R_STEP = Decimal("0.000001")
PERCENT_STEP = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One closed trade: P&L after fees in `currency`; `r` and `drag` (both in R) are None when its risk is unknown."""

    symbol: str
    strategy: str
    currency: str
    pnl: Decimal
    r: Decimal | None
    drag: Decimal | None
    closed_at: datetime


@dataclass(frozen=True, slots=True)
class Tally:
    """What trades come to. `pnl` per currency; `win_rate` in percent; averages are None without anything to average."""

    trades: int
    winners: int
    losers: int
    win_rate: Decimal | None
    r: Decimal
    average_r: Decimal | None
    best_r: Decimal | None
    worst_r: Decimal | None
    average_drag: Decimal | None
    without_r: int
    pnl: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class ExitFill:
    """A fill that left a trade: `level` is the price its stop or target lay at, None for an order without one."""

    quantity: Decimal
    price: Decimal
    level: Decimal | None


def tally(outcomes: Sequence[Outcome]) -> Tally:
    """Add trades up."""
    known = [outcome.r for outcome in outcomes if outcome.r is not None]
    drags = [outcome.drag for outcome in outcomes if outcome.drag is not None]
    winners = sum(1 for outcome in outcomes if outcome.pnl > 0)
    pnl: dict[str, Decimal] = {}
    for outcome in sorted(outcomes, key=lambda one: one.currency):
        pnl[outcome.currency] = pnl.get(outcome.currency, ZERO) + outcome.pnl
    return Tally(
        trades=len(outcomes),
        winners=winners,
        losers=sum(1 for outcome in outcomes if outcome.pnl < 0),
        win_rate=_rounded(HUNDRED * winners / len(outcomes), PERCENT_STEP) if outcomes else None,
        r=sum(known, ZERO),
        average_r=_average(known),
        best_r=max(known, default=None),
        worst_r=min(known, default=None),
        average_drag=_average(drags),
        without_r=len(outcomes) - len(known),
        pnl=pnl,
    )


def tally_by(outcomes: Sequence[Outcome], key: Callable[[Outcome], str]) -> list[tuple[str, Tally]]:
    """The same for each group, by name."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key(outcome), []).append(outcome)
    return [(name, tally(groups[name])) for name in sorted(groups)]


def cumulative_r(outcomes: Sequence[Outcome]) -> list[tuple[datetime, Decimal]]:
    """Realised R after each moment at which trades closed, in the order of time."""
    total = ZERO
    line: list[tuple[datetime, Decimal]] = []
    for outcome in sorted(outcomes, key=lambda one: one.closed_at):
        total += outcome.r or ZERO
        if line and line[-1][0] == outcome.closed_at:
            line.pop()
        line.append((outcome.closed_at, total))
    return line


def cost_drag(
    *,
    side: Side,
    intended: Decimal,
    entry: Decimal,
    stop: Decimal,
    exits: Sequence[ExitFill],
    fees: Decimal,
    risk_amount: Decimal,
) -> Decimal | None:
    """What spread, slippage and fees took from a closed trade, in R; above zero is a cost. None without a known risk.

    `intended` is the price the strategy saw, `entry` what was paid; `fees` are signed as they moved cash, in the
    currency of `risk_amount`. A stop or target is measured against its level; an exit at the market has no level, and
    is taken to have cost what the entry cost.
    """
    distance = abs(entry - stop)
    if not distance or risk_amount <= 0:
        return None
    paid = (entry - intended) * side.sign
    units = sum((fill.quantity for fill in exits), ZERO)
    left = ZERO
    for fill in exits:
        worse = paid if fill.level is None else (fill.level - fill.price) * side.sign
        left += worse * fill.quantity / units
    return _rounded((paid + (left if exits else paid)) / distance - fees / risk_amount, R_STEP)


def single(pnl: dict[str, Decimal]) -> Decimal | None:
    """The one amount of a P&L per currency; zero when there is none, None when there are several to add."""
    return next(iter(pnl.values()), ZERO) if len(pnl) <= 1 else None


def _average(values: Sequence[Decimal]) -> Decimal | None:
    return _rounded(sum(values, ZERO) / len(values), R_STEP) if values else None


def _rounded(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).quantize(ONE, rounding=ROUND_HALF_EVEN) * step
