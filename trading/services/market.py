"""Market facts that entered a number: bars seen live, and rates that converted money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from trading.domain.bars import Bar as DomainBar
from trading.models import Bar, Instrument, Rate


@transaction.atomic
def store_bars(*, source: str, bars: Sequence[DomainBar]) -> int:
    """Keep closed live bars; one that is stored already is left as it is. Returns how many are new."""
    new = 0
    instruments = {row.symbol: row for row in Instrument.objects.filter(symbol__in={bar.symbol for bar in bars})}
    for bar in bars:
        _, made = Bar.objects.get_or_create(
            source=source,
            instrument=instruments[bar.symbol],
            interval_seconds=bar.interval_seconds,
            start=bar.start,
            defaults={
                "at": bar.end,
                "open": bar.open,
                "high": bar.high,
                "low": bar.low,
                "close": bar.close,
                "volume": bar.volume,
            },
        )
        new += made
    return new


def last_rate(base: str, quote: str, *, source: str) -> Decimal | None:
    """The last rate that a source gave between two currencies; None when it never gave one."""
    row = Rate.objects.filter(base=base, quote=quote, source=source).order_by("-at", "-id").first()
    return row.value if row is not None else None


def store_rate(*, base: str, quote: str, value: Decimal, at: datetime, source: str) -> None:
    """Keep a conversion rate that is about to enter a number."""
    if not Rate.objects.filter(base=base, quote=quote, at=at, source=source).exists():
        Rate.objects.create(base=base, quote=quote, value=value, at=at, source=source)
