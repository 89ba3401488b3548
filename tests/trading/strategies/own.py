"""Strategies as a user might write them, loaded by dotted path: a good one and some that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass as validated

from trading.domain.bars import Bar
from trading.domain.broker import OrderType, Side
from trading.domain.settings_text import STRICT, Number
from trading.strategies.base import SignalIntent, Strategy


@validated(frozen=True, config=STRICT)
class Params:
    distance_pips: Number = Decimal(10)
    other: Number = Decimal(1)


class Always(Strategy):
    """Wants to buy at every bar in its window."""

    name: ClassVar[str] = "always"
    Params: ClassVar[type] = Params
    TUNED: ClassVar[Mapping[tuple[str, str], Mapping[str, Any]]] = {("EURUSD", "5m"): {"distance_pips": Decimal(7)}}

    def _configure(self, params: Any) -> None:
        self.distance = params.distance_pips * self.spec.pip_size

    @property
    def ready(self) -> bool:
        return True

    def begin_day(self) -> None:
        self.counters["days"] += 1

    def restart_indicators(self) -> None:
        self.counters["restarts"] += 1

    def evaluate(self, bar: Bar) -> SignalIntent | None:
        if not self.in_window(bar):
            return None
        return SignalIntent(
            strategy=self.name,
            symbol=self.symbol,
            side=Side.BUY,
            order_type=OrderType.MARKET,
            entry=bar.close,
            stop=bar.close - self.distance,
            target=bar.close + self.distance,
            bar_start=bar.start,
            bar_end=bar.end,
            features={},
            reason="always",
        )


class Unfinished(Strategy):
    name: ClassVar[str] = "unfinished"
    Params: ClassVar[type] = Params


class Nameless(Always):
    name: ClassVar[Any] = None


class WithoutParams(Always):
    Params: ClassVar[Any] = dict


@dataclass
class NoStrategy:
    name: str = "none"
