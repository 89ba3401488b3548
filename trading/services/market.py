"""Market facts that entered a number: bars seen live, and rates that converted money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from trading.domain.bars import Bar as DomainBar
from trading.models import Account, Bar, Cursor, Instrument, Rate

BATCH = 1000


def bar_source(feed_account: Account) -> str:
    """Under which source the live bars of a feed account are kept, whether its candles or its price stream made them.

    One source, so that each bar is written once, by whoever has it first.
    """
    return f"candles:{feed_account.name}"


def settled_cursor(symbol: str, interval_seconds: int) -> str:
    """The cursor of a feed account that says from when on bars of a symbol may still be stored."""
    return f"bars:{symbol}:{interval_seconds}"


@transaction.atomic
def store_bars(*, source: str, bars: Sequence[DomainBar]) -> int:
    """Keep closed live bars; one that is stored already is left as it is. Returns how many were not there before."""
    if not bars:
        return 0
    instruments = {row.symbol: row for row in Instrument.objects.filter(symbol__in={bar.symbol for bar in bars})}
    standing = set(
        Bar.objects.filter(
            source=source,
            instrument__in=instruments.values(),
            start__gte=min(bar.start for bar in bars),
            start__lte=max(bar.start for bar in bars),
        ).values_list("instrument_id", "interval_seconds", "start")
    )
    rows = [
        Bar(
            source=source,
            instrument=instruments[bar.symbol],
            interval_seconds=bar.interval_seconds,
            start=bar.start,
            at=bar.end,
            open=bar.open,
            high=bar.high,
            low=bar.low,
            close=bar.close,
            volume=bar.volume,
        )
        for bar in bars
        if (instruments[bar.symbol].pk, bar.interval_seconds, bar.start) not in standing
    ]
    # Another process may have been faster in the meantime: its bar stays.
    Bar.objects.bulk_create(rows, ignore_conflicts=True, batch_size=BATCH)
    return len(rows)


@transaction.atomic
def store_stream_bar(*, account: Account, bar: DomainBar) -> bool:
    """Keep a bar that a price stream saw wholly. False if it is there already, or its slot was settled without it."""
    name = settled_cursor(bar.symbol, bar.interval_seconds)
    settled = Cursor.objects.select_for_update(no_key=True).filter(account=account, name=name).first()
    if settled is not None and datetime.fromisoformat(settled.value) > bar.start:
        return False
    return bool(store_bars(source=bar_source(account), bars=[bar]))


def last_rate(base: str, quote: str, *, source: str) -> Decimal | None:
    """The last rate that a source gave between two currencies; None when it never gave one."""
    row = Rate.objects.filter(base=base, quote=quote, source=source).order_by("-at", "-id").first()
    return row.value if row is not None else None


def store_rate(*, base: str, quote: str, value: Decimal, at: datetime, source: str) -> None:
    """Keep a conversion rate that is about to enter a number."""
    if not Rate.objects.filter(base=base, quote=quote, at=at, source=source).exists():
        Rate.objects.create(base=base, quote=quote, value=value, at=at, source=source)
