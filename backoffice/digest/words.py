"""How a digest writes numbers, ages and other people's text.

What always holds: text that came from outside (strategy names, symbols, reasons) can neither format, mention, link
nor calculate wherever a digest is shown; amounts keep their digits, and only averages and R are shortened.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from trading.domain.digest import Tally
from trading.domain.money import ZERO, plain

NONE = "–"
# An underscore inside a word formats nothing.
_MARKDOWN = re.compile(r"([\\`*{}\[\]<>()#+!|~@:]|(?<![^\W_])_|_(?![^\W_]))")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def clean(text: str) -> str:
    """One line without control, bidirectional or invisible characters."""
    spaced = " ".join(text.split())
    return "".join(letter for letter in spaced if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn"))


def markdown(text: str) -> str:
    """The text as Markdown (and Discord) shows it literally."""
    return _MARKDOWN.sub(r"\\\1", clean(text))


def cell(text: str) -> str:
    """The text as a cell of a CSV file that a spreadsheet will not take for a formula."""
    line = clean(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def without_numbers(text: str, account_numbers: Iterable[str]) -> str:
    """The text with every broker's account number cut down to its last three characters."""
    for number in sorted(account_numbers, key=len, reverse=True):
        text = text.replace(number, f"…{number[-3:]}")
    return text


def signed(number: Decimal, places: int) -> str:
    """`+1,234.50`: with its sign, thousands separated, rounded to `places`; zero has no sign."""
    rounded = number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    return f"{rounded:+,}" if rounded else f"{abs(rounded):,}"


def r_text(number: Decimal | None, places: int = 2) -> str:
    """`+1.25 R`."""
    return NONE if number is None else f"{signed(number, places)} R"


def exact(number: Decimal | None) -> str:
    """All digits, nothing else; empty for None."""
    return "" if number is None else plain(number)


def money(pnl: dict[str, Decimal], currencies: Iterable[str] = ()) -> str:
    """`+1,234.50 USD`, each currency for itself, to cents; without trades zero of each of `currencies`."""
    amounts = pnl or dict.fromkeys(sorted(set(currencies)), ZERO)
    return ", ".join(f"{signed(amount, 2)} {currency}" for currency, amount in amounts.items()) or "0"


def rate(tally: Tally) -> str:
    """`57.1 %`."""
    return NONE if tally.win_rate is None else f"{plain(tally.win_rate)} %"


def counted(number: int, noun: str) -> str:
    """`1 trade`, `2 trades`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def age_text(age: timedelta | None) -> str:
    """`3 h 12 m`, `2 d 4 h`."""
    if age is None:
        return NONE
    minutes = int(age.total_seconds()) // 60
    if minutes < 60:
        return f"{minutes} m"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} m"
    return f"{minutes // 1440} d {minutes // 60 % 24} h"
