"""The four differences that the demo day plants at the simulated brokers, and how it knows them again.

What always holds: planting goes through the simulator's control door alone, as if the broker or somebody with the
broker's own screen had done it; the books learn of it as they learn of anything. Symbols that strategies trade are left
alone, so that the day goes on beside an open case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trading.brokers.simulator_control import SimulatorControl


@dataclass(frozen=True, slots=True)
class Difference:
    """One planted difference: on which account of the desk, what a person would say happened, and how it is made."""

    key: str
    account: str
    said: str
    make: Callable[[SimulatorControl, str], object]


def _trade_by_hand(control: SimulatorControl, account_id: str) -> object:
    return control.external(account_id, "trade", instrument="USD_JPY", quantity="8000")


def _silent_position(control: SimulatorControl, account_id: str) -> object:
    return control.external(account_id, "silent_position", instrument="MSFT", quantity="25")


def _silent_cash(control: SimulatorControl, account_id: str) -> object:
    return control.external(account_id, "silent_cash", currency="USD", amount="-37.50")


AT_ONCE = (
    Difference(
        "hand_trade",
        "desk-oanda",
        "somebody bought 8,000 USDJPY on the broker's own screen",
        _trade_by_hand,
    ),
    Difference(
        "silent_position",
        "desk-alpaca",
        "25 MSFT appeared at the broker without any history",
        _silent_position,
    ),
    Difference(
        "silent_cash",
        "desk-oanda",
        "37.50 USD left the broker's balance without any history",
        _silent_cash,
    ),
)


def hide_next_fill(control: SimulatorControl, instruments: Sequence[str]) -> object:
    """From now on the next fill at Alpaca of one of these is missing from its list of activities, until revealed."""
    args = {"what": "fill", "seconds": 3600, "instruments": list(instruments)}
    return control.add_fault(broker="alpaca", route="*", when="after", action="hide", times=1, args=args)


def reveal(control: SimulatorControl) -> None:
    """The history shows everything again."""
    control.clear_faults()
