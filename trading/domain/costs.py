"""What trading costs on the paper book: half the spread and slippage, on each side, always against us.

What always holds here: every fill, entry or exit, at a stop, at a target or at the market, is worse than the mid by
the same cost (half the spread + the greater of one pip and a thousandth of the average true range), and lies on the
instrument's price step, rounded against us.

Worked, with a spread of 0.6 pips and a quiet market (slippage one pip): a side costs 0.3 + 1 = 1.3 pips. A trade with
a stop and a target 10 pips from the mid at entry gets in 1.3 pips worse, so its risk is 11.3 pips. Stopped out, it
loses 10 + 1.3 + 1.3 = 12.6 pips = -1.115 R; at the target it wins 10 - 1.3 - 1.3 = 7.4 pips = +0.655 R. It breaks
even at 1.115 / (1.115 + 0.655) = 63 % winners.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trading.domain.broker import Side
from trading.domain.instruments import InstrumentSpec
from trading.domain.money import ZERO, ceil_to_step, floor_to_step

SLIPPAGE_MODEL = "max(1 pip, ATR/1000) each side"
_MILLION = Decimal(1_000_000)
_ATR_SHARE = Decimal(1000)
_MONEY_STEP = Decimal("0.00001")


@dataclass(frozen=True, slots=True)
class CostModel:
    """Costs of one instrument: `spread_pips` for the whole spread, commission in account currency per million units."""

    spec: InstrumentSpec
    spread_pips: Decimal
    commission_per_million: Decimal = ZERO

    def __post_init__(self) -> None:
        """Refuse costs below zero: they would pay for trading."""
        if self.spread_pips < 0 or self.commission_per_million < 0:
            raise ValueError(f"{self.spec.symbol}: spread and commission cannot be below zero")

    def slippage(self, atr: Decimal | None) -> Decimal:
        """In price. Without an average true range (an exit before it is known) one pip."""
        one_pip = self.spec.pip_size
        return one_pip if atr is None else max(one_pip, atr / _ATR_SHARE)

    def cost_per_side(self, atr: Decimal | None) -> Decimal:
        """Half the spread and the slippage, in price."""
        return self.spread_pips * self.spec.pip_size / 2 + self.slippage(atr)

    def fill_price(self, side: Side, mid: Decimal, atr: Decimal | None) -> Decimal:
        """What an order of that side pays (BUY) or gets (SELL) when the mid is `mid`."""
        cost = self.cost_per_side(atr)
        step = self.spec.tick_size
        if side is Side.BUY:
            return ceil_to_step(mid + cost, step)
        # A price cannot fall to zero or below, however large the costs.
        return max(floor_to_step(mid - cost, step), step)

    def commission(self, units: Decimal) -> Decimal:
        """What one fill of that many units costs, in account currency, zero or above."""
        return (units / _MILLION * self.commission_per_million).quantize(_MONEY_STEP)
