"""What a strategy believes of its own position, in nine numbers, and whether the books and the price say the same.

What always holds here: a signal says these numbers of its position all or not at all; one that does is refused when
they are not nine numbers from -1 to 1, when their flags contradict each other or the books, when a flat position has
other numbers than zero, or when what it says to have gained is not what books and price give. Distances are in pips
and scaled by (2/π)·atan(x / scale), so that any distance fits. They are a model's inputs, never money.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from trading.domain.broker import Side

PREFIX = "position."
"""Among a signal's features the nine are named so: `position.equity_pips`."""
SCALES: Mapping[str, float | None] = MappingProxyType(
    {
        "equity_pips": 150.0,
        "bars_since_entry": 2000.0,
        "efficiency": None,
        "pips_from_peak": 150.0,
        "max_drawdown_pips": 150.0,
        "drawdown_sum": 150.0,
        "is_long": None,
        "is_short": None,
        "has_position": None,
    }
)
"""The nine, and what each is scaled by; None for those that lie from -1 to 1 by themselves."""
FLAGS = ("is_long", "is_short", "has_position")
TOLERANCE_PIPS = 2.0
"""So far may a gain that a strategy worked out lie from that of books and price: its price may be of a moment ago."""


@dataclass(frozen=True, slots=True)
class BooksView:
    """The strategy's position by the books (`side` None: it holds nothing), and the last price; prices in quote."""

    side: Side | None
    entry: Decimal | None
    price: Decimal | None
    pip_size: Decimal

    @property
    def equity_pips(self) -> float | None:
        """What the position has gained, in pips; None while entry or price are not known."""
        if self.side is None:
            return 0.0
        if self.entry is None or self.price is None:
            return None
        return float(self.side.sign * (self.price - self.entry) / self.pip_size)


def scaled(name: str, value: float) -> float:
    """A number as the features have it."""
    scale = SCALES[name]
    return value if scale is None else 2 / math.pi * math.atan(value / scale)


def said(features: Mapping[str, str]) -> dict[str, str]:
    """What a signal's features say of its strategy's position, by name; empty where they say nothing of it."""
    return {name[len(PREFIX) :]: value for name, value in features.items() if name.startswith(PREFIX)}


def fault(features: Mapping[str, str], books: BooksView) -> str:
    """Why the strategy's view of its position cannot be right, in a sentence; "" where it says nothing or agrees."""
    texts = said(features)
    if not texts:
        return ""
    missing, strange = sorted(set(SCALES) - set(texts)), sorted(set(texts) - set(SCALES))
    if missing or strange:
        return f"it says {len(texts)} numbers of its position and not the nine: {', '.join(missing or strange)}"
    numbers: dict[str, float] = {}
    for name, text in texts.items():
        try:
            numbers[name] = float(text)
        except ValueError:
            return f"its {name} is {text!r:.40}, which is no number"
        if not -1 <= numbers[name] <= 1:  # not a number compares as false
            return f"its {name} is {text:.40}, which is not from -1 to 1"
    return _flags(numbers) or _flat(numbers) or _against(numbers, books)


def _flags(numbers: Mapping[str, float]) -> str:
    if any(numbers[name] not in (0.0, 1.0) for name in FLAGS):
        return f"one of {', '.join(FLAGS)} is neither 0 nor 1"
    if numbers["is_long"] + numbers["is_short"] != numbers["has_position"]:
        return f"its flags contradict each other: {', '.join(f'{name} {numbers[name]:g}' for name in FLAGS)}"
    return ""


def _flat(numbers: Mapping[str, float]) -> str:
    left = [name for name, value in numbers.items() if value != 0]
    return f"it says to hold nothing, but its {left[0]} is not zero" if left and not numbers["has_position"] else ""


def _against(numbers: Mapping[str, float], books: BooksView) -> str:
    believed = Side.BUY if numbers["is_long"] else Side.SELL if numbers["is_short"] else None
    if believed is not books.side:
        return f"it believes to hold {_held(believed)}, the books say {_held(books.side)}"
    gained = books.equity_pips
    if gained is None:
        return "what its position has gained is not known: there is no price or no entry"
    low, high = (scaled("equity_pips", gained + way * TOLERANCE_PIPS) for way in (-1, 1))
    if not low <= numbers["equity_pips"] <= high:
        return (
            f"it believes to have gained {_pips(numbers['equity_pips'])} pips, books and price say {gained:.1f} "
            f"(within {TOLERANCE_PIPS:g})"
        )
    return ""


def _held(side: Side | None) -> str:
    return "nothing" if side is None else "a long position" if side is Side.BUY else "a short position"


def _pips(number: float) -> str:
    """A scaled gain in pips again; the ends of the scale are farther than any number."""
    if abs(number) >= 1:
        return "endlessly many"
    scale = SCALES["equity_pips"]
    assert scale is not None
    return f"{math.tan(number * math.pi / 2) * scale:.1f}"
