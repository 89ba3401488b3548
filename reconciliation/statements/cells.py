"""One row of a statement, whose cells are read one by one: numbers, moments, days, sides.

What always holds here: pure; a cell is read exactly or refused with its line and column: decimals with a point only and
no more digits than can be stored, dates as ISO writes them; a moment without a zone is one of the account's zone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from trading.domain.money import STORED_STEP, ZERO, BadNumber, parse_decimal

from .document import About, BadStatement

MOST_DIGITS = 26
"""Before the point; after it there may be twelve."""
YEARS = range(1990, 2100)
SIDES = {"buy": "BUY", "sell": "SELL", "b": "BUY", "s": "SELL", "long": "BUY", "short": "SELL"}
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one line by their column; a cell that is missing is empty."""

    line: int
    cells: Mapping[str, Any]

    def bad(self, column: str, why: str) -> BadStatement:
        """The error about a cell."""
        return BadStatement(why, line=self.line, column=column)

    def text(self, column: str, *, most: int = 80) -> str:
        """What a cell holds, "" for nothing."""
        cell = self.cells.get(column)
        if cell is None:
            return ""
        if not isinstance(cell, str):
            raise self.bad(column, "it is not one value.")
        if len(cell) > most:
            raise self.bad(column, f"it has {len(cell)} characters; {most} are the most.")
        if any(ord(sign) < 32 for sign in cell):
            raise self.bad(column, "it holds a line break or control character.")
        return cell

    def needed(self, column: str, *, most: int = 80) -> str:
        """What a cell holds, which must be something."""
        found = self.text(column, most=most)
        if not found:
            raise self.bad(column, "it is empty.")
        return found

    def number(self, column: str) -> Decimal | None:
        """A number, None for an empty cell."""
        written = self.text(column)
        if not written:
            return None
        if not _NUMBER.fullmatch(written):
            hint = " Write decimals with a point, and no separators." if "," in written else ""
            raise self.bad(column, f"{written!r:.60} is not a plain number.{hint}")
        try:
            value = parse_decimal(written)
        except BadNumber as error:
            raise self.bad(column, f"{error}.") from error
        if abs(value) >= Decimal(10) ** MOST_DIGITS or value % STORED_STEP != 0:
            raise self.bad(column, f"{written!r:.60} has more digits than can be kept: 26 before the point, 12 after.")
        return value

    def needed_number(self, column: str) -> Decimal:
        """A number that must be there."""
        found = self.number(column)
        if found is None:
            raise self.bad(column, "it is empty.")
        return found

    def above_zero(self, column: str) -> Decimal:
        """A number above zero."""
        found = self.needed_number(column)
        if found <= ZERO:
            raise self.bad(column, f"{self.text(column)} is not above zero.")
        return found

    def side(self, column: str) -> str:
        """BUY or SELL."""
        written = self.needed(column)
        found = SIDES.get(written.lower())
        if found is None:
            raise self.bad(column, f"{written!r:.40} is not buy or sell.")
        return found

    def day(self, column: str) -> date:
        """A day as ISO writes it."""
        written = self.needed(column)
        try:
            found = date.fromisoformat(written) if len(written) == len("2026-01-31") else None
        except ValueError:
            found = None
        if found is None or found.year not in YEARS:
            raise self.bad(column, f"{written!r:.40} is not a day like 2026-01-31.")
        return found

    def moment(self, column: str, about: About) -> datetime:
        """A moment as ISO writes it, in UTC; a day alone is its beginning, and without a zone the account's counts."""
        written = self.needed(column)
        try:
            found = datetime.fromisoformat(written)
        except ValueError:
            raise self.bad(column, f"{written!r:.40} is not a time like 2026-01-31T14:30:00+00:00.") from None
        if found.year not in YEARS:
            raise self.bad(column, f"the year {found.year} is not one of a statement.")
        return (found if found.tzinfo is not None else found.replace(tzinfo=about.zone)).astimezone(UTC)

    def currency(self, column: str, otherwise: str) -> str:
        """A currency's code."""
        written = self.text(column) or otherwise
        if not _CURRENCY.fullmatch(written):
            raise self.bad(column, f"{written!r:.20} is not a currency like USD.")
        return written
