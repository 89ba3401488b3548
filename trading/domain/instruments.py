"""What the domain must know of an instrument, and the table of those built in.

What always holds here: a pip is what the table says and nothing is derived from the number of decimals (0.0001 for
most currency pairs, 0.01 against the yen, 0.1 for gold, 0.01 for shares); quantities are units of the base (one ounce
of gold, one euro, one share), so profit in the quote currency is price difference × units × multiplier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType


class UnknownInstrument(ValueError):
    """A symbol that is not in the table."""


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """One instrument. Prices are in `quote` per unit of `base`; sizes are in units.

    `tick_size` is the smallest difference between two prices. `lot_size` is the step of an order's quantity,
    `min_units` and `max_units` its bounds; more than `freeze_quantity` the exchange takes in no order (None: it says
    nothing). `margin` is True when opening moves no cash (currency pairs, gold, futures), False when it does (shares).
    """

    symbol: str
    base: str
    quote: str
    pip_size: Decimal
    price_decimals: int
    tick_size: Decimal
    lot_size: Decimal = Decimal(1)
    min_units: Decimal = Decimal(1)
    max_units: Decimal = Decimal(100_000_000)
    freeze_quantity: Decimal | None = None
    margin: bool = True
    multiplier: Decimal = Decimal(1)

    def pips(self, distance: Decimal) -> Decimal:
        """A difference of prices, in pips."""
        return distance / self.pip_size


def _pair(symbol: str, pip: str, decimals: int) -> InstrumentSpec:
    return InstrumentSpec(symbol, symbol[:3], symbol[3:], Decimal(pip), decimals, Decimal(1).scaleb(-decimals))


def _share(symbol: str, quote: str, *, tick: str = "0.01", freeze: int | None = None) -> InstrumentSpec:
    """A share: whole units, paid in cash; its pip is a hundredth of the currency."""
    return InstrumentSpec(
        symbol=symbol,
        base=symbol,
        quote=quote,
        pip_size=Decimal("0.01"),
        price_decimals=2,
        tick_size=Decimal(tick),
        max_units=Decimal(1_000_000),
        freeze_quantity=None if freeze is None else Decimal(freeze),
        margin=False,
    )


BUILT_IN: Mapping[str, InstrumentSpec] = MappingProxyType(
    {
        spec.symbol: spec
        for spec in (
            *(
                _pair(symbol, "0.0001", 5)
                for symbol in ("EURUSD", "GBPUSD", "EURGBP", "AUDUSD", "USDCHF", "USDCAD", "NZDUSD")
            ),
            *(_pair(symbol, "0.01", 3) for symbol in ("USDJPY", "GBPJPY", "EURJPY")),
            InstrumentSpec("XAUUSD", "XAU", "USD", Decimal("0.1"), 3, Decimal("0.001"), max_units=Decimal(10_000)),
            *(_share(symbol, "USD") for symbol in ("AAPL", "GOOG", "IBM", "MSFT", "SPY")),
            _share("INFY", "INR", tick="0.05", freeze=100_000),
            _share("RELIANCE", "INR", tick="0.05", freeze=100_000),
            _share("YESBANK", "INR", tick="0.05", freeze=20_000),
        )
    }
)


def instrument(symbol: str) -> InstrumentSpec:
    """The built-in instrument of that symbol. Raises `UnknownInstrument` with the symbols that exist."""
    spec = BUILT_IN.get(symbol)
    if spec is None:
        raise UnknownInstrument(f"{symbol!r} is not a known symbol; known are {', '.join(sorted(BUILT_IN))}")
    return spec
