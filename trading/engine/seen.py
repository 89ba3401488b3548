"""What an engine has seen: counts for the status, and what it keeps of each symbol.

What always holds: all of it is made from bars alone, so that a restarted engine that was shown them has it too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from trading.domain.bars import Bar
from trading.domain.indicators import Atr
from trading.domain.risk_parity import DailyVolatility


@dataclass(slots=True)
class Counters:
    """What a run has seen, for the status and the log."""

    bars: int = 0
    skipped: int = 0
    holes: int = 0
    signals: int = 0
    approved: int = 0
    rejected: int = 0


@dataclass(slots=True)
class SymbolState:
    """What the engine keeps of one symbol."""

    atr: Atr = field(default_factory=Atr)
    last: Bar | None = None
    previous_close: Decimal | None = None
    mark: Decimal | None = None
    volatility: DailyVolatility = field(default_factory=lambda: DailyVolatility(20))
    in_hole: set[str] = field(default_factory=set)
