"""What the market of one Indian instrument looks like at a moment: last price, day, depth. Only reads the world.

What always holds here: the day is India's; every price is a whole number of ticks; the last price lies between the
best bid and the best ask, or on one of them; `close` is the day before's, or today's first price when there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from ..core.market import Quote
from ..core.nse import INDIA
from ..core.numbers import ZERO, at_second, seconds_of
from ..core.world import World
from .contracts import Contract

DAY = "day"
DEPTH = 5
_OPENS = time(9, 15)
_DAY_SECONDS = 86_400
_CIRCUIT = Decimal("0.10")


@dataclass(frozen=True, slots=True)
class Level:
    """One price of the order book."""

    price: Decimal
    quantity: int
    orders: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One instrument at one moment. Quantities in units of the instrument; `interest` is the open interest."""

    token: int
    at: datetime
    traded_at: datetime
    last: Decimal
    last_quantity: int
    average: Decimal
    volume: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    interest: int
    lower_limit: Decimal
    upper_limit: Decimal
    buy: tuple[Level, ...]
    sell: tuple[Level, ...]

    @property
    def buy_quantity(self) -> int:
        """All that is bid for."""
        return sum(level.quantity for level in self.buy)

    @property
    def sell_quantity(self) -> int:
        """All that is offered."""
        return sum(level.quantity for level in self.sell)


def cutter(seconds: int) -> Callable[[str, int], tuple[int, int]]:
    """Cuts time into candles of this many seconds: those of a day at midnight, shorter ones from the opening on."""
    anchor = datetime.combine(date(2000, 1, 1), time() if seconds >= _DAY_SECONDS else _OPENS, INDIA)
    first = seconds_of(anchor)

    def cut(_: str, second: int) -> tuple[int, int]:
        day = first + (second - first) // _DAY_SECONDS * _DAY_SECONDS
        start = day + (second - day) // seconds * seconds
        return start, min(start + seconds, day + _DAY_SECONDS)

    return cut


_CUT_DAYS = cutter(_DAY_SECONDS)


def to_tick(contract: Contract, price: Decimal, rounding: str = ROUND_HALF_UP) -> Decimal:
    """The nearest price that can be traded."""
    tick = contract.item.tick
    return (price / tick).quantize(Decimal(1), rounding=rounding) * tick


def lot_size(contract: Contract) -> int:
    """How many units are traded at least, and in multiples of which."""
    return int(contract.item.minimum_units)


def last_price(contract: Contract, quote: Quote) -> Decimal:
    """The price of the last trade at this quote."""
    return to_tick(contract, quote.mid)


def snapshot(world: World, contract: Contract) -> Snapshot | None:
    """The instrument now; None while it has no price."""
    quote = world.quote(contract.item.name)
    if quote is None:
        return None
    last, lot = last_price(contract, quote), lot_size(contract)
    opened = high = low = close = last
    volume = 0
    days = world.market.candles(contract.item.name, DAY, world.now, None, None, 2, cut=_CUT_DAYS)
    if days:
        today = days[-1]
        opened, high, low = (to_tick(contract, price) for price in (today.open, today.high, today.low))
        close = to_tick(contract, days[-2].close) if len(days) > 1 else opened
        volume = today.volume * lot
    return Snapshot(
        token=contract.token,
        at=at_second(seconds_of(world.now)),
        traded_at=at_second(seconds_of(quote.at)),
        last=last,
        last_quantity=lot,
        average=((opened + high + low + last) / 4).quantize(Decimal("0.01")),
        volume=volume,
        open=opened,
        high=max(high, last),
        low=min(low, last),
        close=close,
        interest=0 if contract.expiry is None else 100_000 * lot,
        lower_limit=to_tick(contract, close * (1 - _CIRCUIT), ROUND_CEILING),
        upper_limit=to_tick(contract, close * (1 + _CIRCUIT), ROUND_FLOOR),
        buy=_levels(contract, quote.bid, -contract.item.tick),
        sell=_levels(contract, quote.ask, contract.item.tick),
    )


def _levels(contract: Contract, best: Decimal, step: Decimal) -> tuple[Level, ...]:
    """The five best prices of one side; no price is below zero."""
    levels = []
    for index in range(DEPTH):
        price = best + step * index
        if price > ZERO:
            levels.append(Level(price, lot_size(contract) * 100 * (index + 1), index + 1))
    return tuple(levels) + (Level(ZERO, 0, 0),) * (DEPTH - len(levels))
