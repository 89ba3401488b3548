"""The rate that turns an instrument's quote currency into an account's at a fill, and where it comes from.

What always holds: only what was known of the market up to the fill and the fill itself say it, so that the order in
which fills were booked changes no rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from trading.domain.money import ONE, STORED_STEP, round_to_step
from trading.models import Account, Fill, Instrument, Rate


@dataclass(frozen=True, slots=True)
class KnownRate:
    """One unit of the quote currency is worth `value` of the account's; `source` says who says so."""

    value: Decimal
    source: str


def rate_at(account: Account, instrument: Instrument, fill: Fill) -> KnownRate | None:
    """The last rate stored at or before a fill in the account's world (or its paper book's).

    Without any, the fill's own price says it where the instrument's base is the account's currency; else None.
    """
    if instrument.quote == account.currency:
        return KnownRate(ONE, "the same currency")
    # Each world has its own rates: another replay's bars say nothing about this one's.
    paper = account.mirror_of
    sources = [account.name, paper.name if paper is not None else account.name]
    rate = (
        Rate.objects.filter(base=instrument.quote, quote=account.currency, at__lte=fill.at, source__in=sources)
        .order_by("-at", "-id")
        .first()
    )
    if rate is not None:
        return KnownRate(rate.value, f"{rate.source}, {rate.at:%Y-%m-%d %H:%M:%S} UTC")
    if instrument.base == account.currency:
        return KnownRate(round_to_step(ONE / fill.price, STORED_STEP), "the fill's own price")
    return None
