"""The price stream of a feed account, and the bars that its ticks make.

What always holds: only bars that the stream saw wholly are stored, under the same source as the broker's candles, so
whoever is first writes a bar and nobody changes it; everything else is left to the candles.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from trading.clock import now, store_broker_clock
from trading.domain.broker import Broker, BrokerPrice, Heartbeat
from trading.domain.tick_bars import ClosedBar, TickBars
from trading.models import Account
from trading.services.market import store_stream_bar
from trading.wake import wake

from .stream_listener import SILENCE_SECONDS, Listener

SIGNALS_TASK = "signals.tick"
QUIET_SECONDS = 7.5
"""A broker that promises a heartbeat every five seconds and is quiet for longer may have kept prices back."""


def prices_name(account: Account) -> str:
    """The heartbeat's and lease's name of the account's price stream."""
    return f"stream.prices:{account.name}"


class PriceListener(Listener[BrokerPrice | Heartbeat]):
    """Makes bars of the given intervals from the prices of `symbols` (the broker's names → ours)."""

    def __init__(self, name: str, account_id: int, symbols: Mapping[str, str], intervals: frozenset[int]) -> None:
        super().__init__(name, account_id)
        self._symbols = dict(symbols)
        self._bars = {
            symbol: [TickBars(symbol, seconds) for seconds in sorted(intervals)] for symbol in symbols.values()
        }
        self._listening_since, self._heard_at = "", time.monotonic()
        self._news = False

    def open(self, broker: Broker, account: Account) -> Iterator[BrokerPrice | Heartbeat]:
        """The price stream of all symbols."""
        return broker.price_stream(sorted(self._symbols), silence_seconds=SILENCE_SECONDS)

    def connected(self, broker: Broker, account: Account) -> None:
        """From the broker's time now on nothing is missed: the stream listened before we asked for the time."""
        began = broker.now()
        if account.environment == Account.Environment.SIMULATOR:
            store_broker_clock(account=account, broker_at=began)
        for bars in self._all():
            bars.listen(began)
        self._listening_since, self._heard_at = began.isoformat(), time.monotonic()

    def take(self, items: Sequence[BrokerPrice | Heartbeat], broker: Broker, account: Account) -> None:
        """A price goes into its bars; everything that is heard closes bars that are over."""
        for item in items:
            self._take(item, account)

    def _take(self, item: BrokerPrice | Heartbeat, account: Account) -> None:
        if isinstance(item, BrokerPrice) and item.instrument not in self._symbols:
            return
        before, self._heard_at = self._heard_at, time.monotonic()
        at = item.at if item.at is not None else now(account)
        if self._heard_at - before > QUIET_SECONDS:
            for bars in self._all():
                bars.broke()
                bars.listen(at)
        closed: list[ClosedBar] = []
        for symbol, several in self._bars.items():
            for bars in several:
                if isinstance(item, BrokerPrice) and item.tradeable and self._symbols[item.instrument] == symbol:
                    closed += bars.tick(at, (item.bid + item.ask) / 2)
                else:
                    closed += bars.hear(at)
        self._keep(closed, account)

    def pulse(self, account: Account, broker: Broker | None) -> None:
        """Close what is over on the account's clock, although nothing more was heard."""
        moment = now(account)
        self._keep([item for bars in self._all() for item in bars.timer(moment)], account)
        if self._news:  # once for all symbols, whose bars close together
            self._news = False
            wake(SIGNALS_TASK)

    def broken(self) -> None:
        """What forms now was not seen wholly."""
        self._listening_since = ""
        for bars in self._all():
            bars.broke()

    def details(self) -> dict[str, object]:
        """Also since when (the broker's time) nothing was missed, and how many ticks came too late."""
        late = sum(bars.late for bars in self._all())
        return {**super().details(), "listening_since": self._listening_since, "late_ticks": late}

    def _all(self) -> list[TickBars]:
        return [bars for several in self._bars.values() for bars in several]

    def _keep(self, closed: list[ClosedBar], account: Account) -> None:
        stored = sum(store_stream_bar(account=account, bar=item.bar) for item in closed if item.whole)
        self._news = self._news or bool(stored)


def listening_since(details: Mapping[str, object] | None) -> datetime | None:
    """Since when a price stream has missed nothing, from its heartbeat's details; None when it does not listen."""
    text = str((details or {}).get("listening_since") or "")
    return datetime.fromisoformat(text) if text and (details or {}).get("connected") else None
