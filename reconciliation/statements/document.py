"""What a statement says, whatever format it came in, and the checks that every statement must pass.

What always holds here: pure, no I/O; a document that could be made is whole and consistent: it is about the account
that was named and in its currency, each id is there once, every line lies within the days that it covers, and where it
names both balances, opening + lines = closing. Everything else is a `BadStatement` that says where and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from trading.domain.money import ZERO, plain


class BadStatement(ValueError):
    """A file that is no statement, or not a usable one. The text names line and column where there is one."""

    def __init__(self, sentence: str, *, line: int | None = None, column: str = "") -> None:
        where = f"Line {line}" if line is not None else ""
        where += f", column {column}" if where and column else f"Column {column}" if column else ""
        super().__init__(f"{where}: {sentence}" if where else sentence)
        self.line, self.column = line, column


class Covers(StrEnum):
    """What a statement is a whole account of. CASH is every movement of cash, executions among them."""

    TRADES = "TRADES"
    POSITIONS = "POSITIONS"
    CASH = "CASH"
    NAV = "NAV"


@dataclass(frozen=True, slots=True)
class About:
    """The account that a file is imported for. Days are what people say that it covers, where the file does not."""

    account_id: str
    currency: str
    zone: ZoneInfo
    first_day: date | None = None
    last_day: date | None = None

    def begin(self, day: date) -> datetime:
        """The first moment of a trading day."""
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)

    def end(self, day: date) -> datetime:
        """The last moment of a trading day."""
        return self.begin(day + timedelta(days=1)) - timedelta(microseconds=1)

    def day(self, at: datetime) -> date:
        """The trading day of a moment."""
        return at.astimezone(self.zone).date()


@dataclass(frozen=True, slots=True)
class Line:
    """One line. An execution has side, quantity and price; a movement of cash an amount; a position no id."""

    number: int
    at: datetime
    day: date
    currency: str
    external_id: str = ""
    order_id: str = ""
    instrument: str = ""
    side: str = ""
    product: str = ""
    quantity: Decimal | None = None
    price: Decimal | None = None
    amount: Decimal | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a reader found, before the checks. Without moments or days, its rows say what it covers.

    `whole_days`: the broker makes such files of whole days; else it begins and ends with its first and last row.
    """

    covers: Covers
    format: str
    lines: Sequence[Line]
    account_id: str = ""
    currency: str = ""
    first_day: date | None = None
    last_day: date | None = None
    moments: Sequence[datetime] = ()
    whole_days: bool = False
    opening: Decimal | None = None
    closing: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A statement that passed the checks. It covers both moments and all between them."""

    covers: Covers
    format: str
    currency: str
    covers_from: datetime
    covers_until: datetime
    first_day: date
    last_day: date
    opening: Decimal | None
    closing: Decimal | None
    lines: tuple[Line, ...]


def checked(draft: Draft, about: About) -> Document:
    """The document, if everything fits. Raises `BadStatement`."""
    if draft.account_id and draft.account_id != about.account_id:
        raise BadStatement(
            f"It is a statement of account {draft.account_id!r:.60}, and this account is {about.account_id!r}."
        )
    currency = draft.currency or about.currency
    if currency != about.currency:
        raise BadStatement(f"It is in {currency!r:.20}, and the account is kept in {about.currency}.")
    first, last, begin, end = _period(draft, about)
    seen: dict[str, int] = {}
    held: dict[tuple[str, str], int] = {}
    for line in draft.lines:
        _check(line, draft, currency)
        if not begin <= line.at <= end and not (draft.covers is Covers.POSITIONS and line.day == last):
            raise BadStatement(f"{line.day} is outside of the days {first} to {last}.", line=line.number)
        if line.external_id and seen.setdefault(line.external_id, line.number) != line.number:
            earlier = seen[line.external_id]
            raise BadStatement(f"the id {line.external_id!r:.80} was in line {earlier}.", line=line.number)
        key = (line.instrument, line.product)
        if draft.covers is Covers.POSITIONS and held.setdefault(key, line.number) != line.number:
            raise BadStatement(f"{line.instrument!r:.60} was in line {held[key]}.", line=line.number)
    _add_up(draft)
    return Document(
        draft.covers, draft.format, currency, begin, end, first, last, draft.opening, draft.closing, tuple(draft.lines)
    )


def _period(draft: Draft, about: About) -> tuple[date, date, datetime, datetime]:
    moments = [*draft.moments, *(line.at for line in draft.lines)]
    said = draft.first_day or about.first_day, draft.last_day or about.last_day
    if draft.first_day and about.first_day and draft.first_day != about.first_day:
        raise BadStatement(f"It begins on {draft.first_day}, not on {about.first_day}.")
    if draft.last_day and about.last_day and draft.last_day != about.last_day:
        raise BadStatement(f"It ends on {draft.last_day}, not on {about.last_day}.")
    if not moments and None in said:
        raise BadStatement("It has no line, and does not say which days it covers; name its first and last day.")
    first, last = (said[0] or about.day(min(moments))), (said[1] or about.day(max(moments)))
    if first > last:
        raise BadStatement(f"It begins on {first} and ends before, on {last}.")
    begin = about.begin(first) if said[0] or draft.whole_days else min(moments)
    end = about.end(last) if said[1] or draft.whole_days else max(moments)
    return first, last, begin, end


def _check(line: Line, draft: Draft, currency: str) -> None:
    if line.currency != currency:
        raise BadStatement(
            f"it is in {line.currency!r:.20}, and the statement in {currency}.", line=line.number, column="currency"
        )
    if draft.covers is Covers.CASH and draft.opening is not None and line.amount is None:
        raise BadStatement("a statement with balances needs an amount on every line.", line=line.number)
    if draft.covers is not Covers.NAV and line.amount is None and not line.side:
        raise BadStatement("it has neither an amount nor a side.", line=line.number)
    if draft.covers in (Covers.TRADES, Covers.POSITIONS) and not line.side:
        raise BadStatement("it has no side.", line=line.number, column="side")


def _add_up(draft: Draft) -> None:
    if draft.covers is not Covers.CASH or draft.opening is None or draft.closing is None:
        return
    moved = sum((line.amount for line in draft.lines if line.amount is not None), ZERO)
    if draft.opening + moved != draft.closing:
        raise BadStatement(
            f"It does not add up: it opens with {plain(draft.opening)}, its lines move {plain(moved)}, which makes "
            f"{plain(draft.opening + moved)}, but it closes with {plain(draft.closing)}."
        )
