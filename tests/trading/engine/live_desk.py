"""A desk that trades live on a simulator's candles, with its market still to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.servers import Simulator
from tests.trading.engine.market import FIVE, THURSDAY, make_bars
from tests.trading.services.sessions import make_session
from trading.brokers.simulator_control import SimulatorControl
from trading.engine.accounts import paper_account
from trading.engine.live import LiveSetup, evaluate_due
from trading.models import Account, AccountClock
from trading.services.setup import ensure_account

SYMBOLS = ("EURUSD", "XAUUSD")
FRIDAY = THURSDAY + timedelta(days=1)


@dataclass
class Desk:
    """A paper account fed by a simulator's candles, and the market that is still to come."""

    setup: LiveSetup
    control: SimulatorControl
    bars: dict[datetime, list[Any]]

    def play(self, until: datetime) -> None:
        """Let the market go on until a moment, without the engine.

        The clock jumps here, so that no speed can be measured from what was seen before.
        """
        AccountClock.objects.all().delete()
        starts = [start for start in sorted(self.bars) if start + FIVE <= until]
        passed = [bar for start in starts for bar in self.bars.pop(start)]
        for symbol, name in (("EURUSD", "EUR_USD"), ("XAUUSD", "XAU_USD")):
            bars = [bar for bar in passed if bar.symbol == symbol]
            if bars:
                self.control.play_bars(name, bars, half_spread=Decimal(0))

    def run(self, until: datetime, *, each: timedelta = FIVE) -> list[int]:
        """Let the market go on and the engine look at it after `each`; how many moments it acted on each time."""
        acted = []
        at = min(self.bars) + each
        while at <= until:
            self.play(at)
            acted.append(evaluate_due(self.setup))
            at += each
        return acted


def start_desk(simulator: Simulator, *, mirrored: bool) -> Desk:
    """The night of Thursday has passed, the engine has been started before Friday's session."""
    control = SimulatorControl(simulator.control_url)
    control.set_clock(THURSDAY)
    paper = paper_account(name="desk-paper", opened_at=THURSDAY)
    feed = ensure_account(
        name="desk-oanda",
        broker=Account.Broker.OANDA,
        environment=Account.Environment.SIMULATOR,
        external_id=simulator.account,
        currency="USD",
        endpoint=simulator.oanda_url,
        opened_at=THURSDAY,
        mirror_of=paper,
    )
    slots: dict[datetime, list[Any]] = {}
    for symbol in SYMBOLS:
        for bar in make_bars(symbol, days=(THURSDAY, FRIDAY)):
            slots.setdefault(bar.start, []).append(bar)
    made = Desk(LiveSetup(make_session(SYMBOLS), paper, feed, mirrored=mirrored), control, slots)
    made.play(FRIDAY)
    made.play(FRIDAY + timedelta(hours=6, minutes=55))
    assert evaluate_due(made.setup) == 0, "what closed before the engine began is history"
    return made


def at(hour: int, minute: int = 0) -> datetime:
    """A moment of Friday."""
    return FRIDAY + timedelta(hours=hour, minutes=minute)
