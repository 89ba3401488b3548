"""A digest as one value: what it is of, its figures, what waits for people, and its key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from django.db import connection, transaction

from trading.clock import wall_now
from trading.domain.canonical import sha256_hex
from trading.domain.digest import single
from trading.domain.money import ZERO, plain
from trading.models import Account

from .books import Selection, choose, day_span, hours_span
from .numbers import Figures, figures_of
from .standing import Standing, standing_of

SHORTEST_NUMBER = 6
LONGEST_HOURS = 10 * 366 * 24


class BadPeriod(ValueError):
    """The period that was asked for is none. The text says what to give."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A daily digest (`hours` None) or one of the last hours. `day` is the latest trading day in it.

    `over` says that nothing more can happen in its period, so that it is the period's one digest. `account_numbers` are
    those that brokers know any account by: paper books are named after them too, and none of them leaves in a message.
    """

    selection: Selection
    day: date
    hours: int | None
    over: bool
    figures: Figures
    standing: Standing
    account_numbers: tuple[str, ...]

    @property
    def key(self) -> str:
        """Its name for ever: whoever makes the digest of a finished day again makes the same one.

        While time goes on there may be several of a period; the same trades are then the same digest.
        """
        if self.over:
            return f"digest:{self.day.isoformat()}:{self.selection.name}"
        kind = "digest" if self.hours is None else f"digest_now:{self.hours}h"
        closed = [
            f"{line.account}:{line.decision_id}:{plain(line.outcome.pnl)}:{plain(line.outcome.r or ZERO)}"
            for account in self.figures.accounts
            for line in account.trades
        ]
        return f"{kind}:{self.day.isoformat()}:{self.selection.name}:{sha256_hex(chr(10).join(closed))[:16]}"

    @property
    def currencies(self) -> list[str]:
        """The currencies of the accounts that decide."""
        return [account.currency for account in self.selection.deciding]


def daily(*, account: str = "", day: date | None = None) -> Digest:
    """The digest of a trading day; without one of the day that each account is in. Raises UnknownAccount."""
    with at_one_moment():
        selection = choose(account)
        spans = [day_span(row, day) for row in selection.accounts]
        figures = figures_of(selection, spans)
        return Digest(
            selection=selection,
            day=day or max((span.day for span in spans if span.day is not None), default=_today()),
            hours=None,
            over=bool(spans) and all(span.over for span in spans),
            figures=figures,
            standing=standing_of(selection.accounts),
            account_numbers=_account_numbers(),
        )


def intraday(*, hours: int, account: str = "") -> Digest:
    """The digest of the last `hours` of each account's time. Raises UnknownAccount and BadPeriod."""
    if not 1 <= hours <= LONGEST_HOURS:
        raise BadPeriod(f"--hours is a whole number from 1 to {LONGEST_HOURS}, not {hours}. No digest was made.")
    with at_one_moment():
        selection = choose(account)
        spans = [hours_span(row, hours) for row in selection.accounts]
        figures = figures_of(selection, spans)
        return Digest(
            selection=selection,
            day=max((day_span(row).day or _today() for row in selection.accounts), default=_today()),
            hours=hours,
            over=False,
            figures=figures,
            standing=standing_of(selection.accounts),
            account_numbers=_account_numbers(),
        )


@contextmanager
def at_one_moment() -> Iterator[None]:
    """Everything read in here is read as it stood at one moment, and nothing is written."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def totals(digest: Digest) -> dict[str, object]:
    """`trades r pnl` of the accounts that decide; `pnl` is null when they have several currencies to add up."""
    total = digest.figures.total
    return {"trades": total.trades, "r": total.r, "pnl": single(total.pnl)}


def _account_numbers() -> tuple[str, ...]:
    rows = Account.objects.exclude(broker=Account.Broker.PAPER).values_list("external_id", flat=True)
    return tuple(sorted(number for number in set(rows) if len(number) >= SHORTEST_NUMBER))


def _today() -> date:
    return wall_now().date()
