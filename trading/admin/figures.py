"""Figures of the books as an accountant reads them: one column, one number of decimals, zero quiet, nothing rounded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from . import values

OF_MONEY, OF_UNITS = 2, 0
BLANK = mark_safe("")


@dataclass(frozen=True, slots=True)
class Figures:
    """How the numbers of one table are written: with as many decimals as the one that needs most."""

    decimals: int

    @classmethod
    def for_all(cls, numbers: Iterable[Decimal | None], *, is_money: bool) -> Figures:
        """Wide enough for each; money has at least two decimals."""
        most = OF_MONEY if is_money else OF_UNITS
        for number in numbers:
            if number:
                _, _, decimals = values.plain_number(number).partition(".")
                most = max(most, len(decimals))
        return cls(most)

    def text(self, number: Decimal) -> str:
        """The number with thousands separated; exact, because there is room for every decimal it has."""
        return values.rounded(number, self.decimals)

    def cell(self, number: Decimal | None, address: str = "", title: str = "") -> SafeString:
        """A cell: nothing where there is no number, zero quiet, and a link where it leads somewhere."""
        if number is None:
            return BLANK
        shown = format_html('<span class="num{}">{}</span>', "" if number else " quiet", self.text(number))
        return format_html('<a href="{}" title="{}">{}</a>', address, title, shown) if address else shown
