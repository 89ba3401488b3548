"""What the end of a write means at every broker, before its own words are looked at.

What always holds: pure. What surely never left is Refused(NOT_SENT), and may be sent again; all else that says nothing
certain is Unknown; an answer that is about another order is Unknown and says so.
"""

from __future__ import annotations

from trading.brokers.errors import BadData, ForeignAnswer
from trading.brokers.wire import Exchange
from trading.domain.broker import NOT_SENT, Evidence, Refused, Unknown


def without_answer(
    exchange: Exchange, evidence: tuple[Evidence, ...], *, what: str, broker: str
) -> Refused | Unknown | None:
    """The outcome of an exchange that has no complete answer; None when it has one."""
    if exchange.complete:
        return None
    if not exchange.sent:
        message = f"The {what} was not sent: {exchange.error}. It can be sent again once {broker} can be reached."
        return Refused(NOT_SENT, message, evidence)
    return Unknown(f"the {what} was sent, but no complete answer came back: {exchange.error}", evidence)


def untrusted(exchange: Exchange, error: BadData, evidence: tuple[Evidence, ...]) -> Unknown:
    """The outcome of an exchange whose answer cannot be read, or contradicts what was asked."""
    why = f"status {exchange.status}, but its answer cannot be trusted: {error}"
    return Unknown(why, evidence, foreign=isinstance(error, ForeignAnswer))


def uncertain(exchange: Exchange, evidence: tuple[Evidence, ...], *, what: str) -> Unknown:
    """The outcome of an exchange whose answer is none of those whose meaning is known."""
    return Unknown(f"status {exchange.status} says nothing certain about the {what}", evidence)
