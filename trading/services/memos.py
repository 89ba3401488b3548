"""What an entry of the books says it is about, in words: one sentence part for each kind of movement.

What always holds: it is made from the row alone, so the same row gives the same words; nothing is read or written.
"""

from __future__ import annotations

from trading.domain.broker import EventKind
from trading.domain.money import plain
from trading.models import CashEvent, Entry, Fill

_WORDS = {
    EventKind.TRANSFER: ("deposit", "withdrawal"),
    EventKind.FINANCING: ("interest or financing received", "interest or financing paid"),
    EventKind.DIVIDEND: ("dividend", "dividend paid on a short position, or taken back"),
    EventKind.FEE: ("fee given back", "fee"),
    EventKind.TAX: ("tax given back", "tax withheld"),
}
_FILLS = {
    Entry.Kind.EXTERNAL_FILL: "somebody else's order",
    Entry.Kind.MARGIN_CLOSEOUT: "the broker's margin close-out",
    Entry.Kind.ADOPTION: "adopted",
    Entry.Kind.ESTIMATE: "closed at an estimate",
}


def of_cash(row: CashEvent) -> str:
    """A movement of cash in words: `dividend of 7.5 USD on AAPL`."""
    if row.kind == EventKind.CONVERSION and row.counter_amount is not None:
        sides = ((row.amount, row.currency), (row.counter_amount, row.counter_currency))
        given, got = sorted(sides, key=lambda side: side[0])
        return f"conversion of {plain(abs(given[0]))} {given[1]} into {plain(got[0])} {got[1]}"
    if row.kind not in _WORDS:
        return str(row)
    word = _WORDS[EventKind(row.kind)][row.amount < 0]
    about = f" on {row.instrument}" if row.instrument is not None else ""
    return f"{word} of {plain(abs(row.amount))} {row.currency}{about}"


def of_fill(row: Fill, kind: str) -> str:
    """An execution in words: `the broker's margin close-out: SELL 1000 EURUSD @ 1.1`."""
    return f"{_FILLS[Entry.Kind(kind)]}: {row}" if kind in _FILLS else str(row)
