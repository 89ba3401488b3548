"""Realised profit per fill, per instrument and per day: in the instrument's currency and in the account's.

What always holds: three numbers stand side by side and are never mixed. `ours` is what the lots give in the broker's
order, in the instrument's quote currency; `base` is that in the account's currency, with the rate and its source;
`booked` is what the ledger's entries of the fill moved into realised profit. Of a margin instrument `booked` is the
broker's own number and ours the check: `difference` is what they are apart. Of a cash instrument the books realise
ours, so it is zero. (`Fill.realised` is a fourth: what the fill's booking moved when it was booked. A fill that was
told late carries there what it changed of later ones, too; only the sum over fills is that of the ledger.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db import connection

from trading.clock import trading_day
from trading.domain.lots import LotMethod, Step, in_order, walk
from trading.domain.money import STORED_STEP, ZERO, round_to_step
from trading.models import Account, Fill, Instrument
from trading.selectors import lot_history
from trading.selectors.rates import rate_at

_BOOKED = """
    SELECT e.fill_id, -sum(p.amount)
    FROM trading_entry e JOIN trading_fill f ON f.id = e.fill_id
    JOIN ledger_posting p ON p.entry_id = e.id
    JOIN trading_ledgeraccount l ON l.id = p.ledger_account_id AND l.kind = 'REALISED'
    JOIN trading_account a ON a.id = e.account_id AND l.commodity_id = a.currency
    WHERE f.account_id = %s AND f.instrument_id = %s GROUP BY e.fill_id
"""


@dataclass(frozen=True, slots=True)
class RealisedFill:
    """What one fill realised. `ours` in `quote`; `base`, `booked` and `difference` (booked − base) in `currency`.

    `rate` turns quote into currency at the fill, as `rate_source` says; without one `base` and `difference` are None.
    """

    fill: Fill
    symbol: str
    trading_day: date
    closed: Decimal
    quote: str
    ours: Decimal
    rate: Decimal | None
    rate_source: str
    currency: str
    base: Decimal | None
    booked: Decimal

    @property
    def difference(self) -> Decimal | None:
        """What the books realised more than ours; None where no rate is known."""
        return self.booked - self.base if self.base is not None else None


@dataclass(frozen=True, slots=True)
class RealisedSum:
    """Fills of one instrument added up, of one trading day unless that is None; no `base` where one has no rate."""

    symbol: str
    trading_day: date | None
    fills: int
    quote: str
    ours: Decimal
    currency: str
    base: Decimal | None
    booked: Decimal
    difference: Decimal | None


def realised_fills(
    account: Account, *, instrument: Instrument | None = None, day: date | None = None
) -> list[RealisedFill]:
    """Every fill that closed something or moved realised profit, by instrument and in the broker's order.

    A fill that was taken back is not among them; what of its profit moved went back with it.
    """
    if instrument is not None:
        instruments = [instrument]
    else:
        traded = Fill.objects.filter(account=account).values("instrument_id")
        instruments = list(Instrument.objects.filter(pk__in=traded).order_by("symbol"))
    found = [row for each in instruments for row in _of_instrument(account, each)]
    return [row for row in found if day is None or row.trading_day == day]


def realised_by_instrument(account: Account, *, day: date | None = None) -> list[RealisedSum]:
    """What each instrument realised, all in all or on one trading day of the account."""
    rows = realised_fills(account, day=day)
    return [
        _added([row for row in rows if row.symbol == symbol], day) for symbol in sorted({row.symbol for row in rows})
    ]


def realised_by_day(account: Account, *, instrument: Instrument | None = None) -> list[RealisedSum]:
    """What each instrument realised on each trading day of the account, the earliest first."""
    rows = realised_fills(account, instrument=instrument)
    keys = sorted({(row.trading_day, row.symbol) for row in rows})
    return [_added([row for row in rows if (row.trading_day, row.symbol) == key], key[0]) for key in keys]


def _of_instrument(account: Account, instrument: Instrument) -> Iterable[RealisedFill]:
    with connection.cursor() as cursor:
        cursor.execute(_BOOKED, [account.pk, instrument.pk])
        moved = dict(cursor.fetchall())
    fills = Fill.objects.filter(account=account, instrument=instrument).in_bulk()
    for stretch in lot_history.stretches(account, instrument):
        walked = walk(
            LotMethod(account.lot_method),
            in_order(stretch.booked),
            lots=stretch.lots,
            multiplier=instrument.multiplier,
        )
        for step in walked.steps:
            fill, booked = fills[int(step.fill)], moved.get(int(step.fill), ZERO)
            closed = _closed(fill, step)
            if not closed and not step.realised and not booked:
                continue
            known = rate_at(account, instrument, fill)
            yield RealisedFill(
                fill=fill,
                symbol=instrument.symbol,
                trading_day=trading_day(account, fill.at),
                closed=closed,
                quote=instrument.quote,
                ours=step.realised,
                rate=known.value if known is not None else None,
                rate_source=known.source if known is not None else "",
                currency=account.currency,
                base=round_to_step(step.realised * known.value, STORED_STEP) if known is not None else None,
                booked=booked,
            )


def _closed(fill: Fill, step: Step) -> Decimal:
    """Units that a fill closed. An addition to a pool opens more than the fill has, and closed none of them."""
    opened = step.opened.quantity if step.opened is not None else ZERO
    left: Decimal = fill.quantity - opened
    return max(left, ZERO)


def _added(rows: Sequence[RealisedFill], day: date | None) -> RealisedSum:
    bases = [row.base for row in rows if row.base is not None]
    base = sum(bases, ZERO) if len(bases) == len(rows) else None
    booked = sum((row.booked for row in rows), ZERO)
    return RealisedSum(
        symbol=rows[0].symbol,
        trading_day=day,
        fills=len(rows),
        quote=rows[0].quote,
        ours=sum((row.ours for row in rows), ZERO),
        currency=rows[0].currency,
        base=base,
        booked=booked,
        difference=booked - base if base is not None else None,
    )
