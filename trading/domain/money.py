"""Decimal arithmetic for money, prices and quantities: parsing, canonical text, rounding to steps.

What always holds here:
- importing this module gives the importing thread, and every thread that first touches `decimal` afterwards, a
  context of 60 digits (Python's own default silently rounds at 28); a thread pool that may have used `decimal`
  earlier calls `use_money_context()` itself;
- nothing that is not a finite plain number gets in: NaN and infinities, floats, underscores, spaces and digits of
  other scripts are refused, because `Decimal()` would accept all of them;
- rounding to a step is exact: the remainder decides, never a rounded quotient.
"""

from __future__ import annotations

import decimal
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal

PRECISION = 60
LARGEST_EXPONENT = 30
CONTEXT = Context(
    prec=PRECISION,
    rounding=ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)

ZERO = Decimal(0)
ONE = Decimal(1)
HUNDRED = Decimal(100)
# What PostgreSQL's numeric(38,12) keeps: derived values are rounded to it once, where they are made.
STORED_STEP = Decimal("1e-12")

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE](?P<exponent>[+-]?[0-9]{1,4}))?")


class BadNumber(ValueError):
    """A text that is not a finite plain decimal number. The message says what was wrong with it."""


def use_money_context() -> None:
    """Give this thread, and all threads that have not used `decimal` yet, the 60-digit context."""
    decimal.DefaultContext.prec = CONTEXT.prec
    decimal.DefaultContext.rounding = CONTEXT.rounding
    decimal.setcontext(CONTEXT.copy())


use_money_context()


def parse_decimal(text: str) -> Decimal:
    """The number that `text` writes, exactly.

    Raises `BadNumber` for anything else than an optional sign, ASCII digits with at most one point, and an exponent
    within ±30; for more than 60 digits; and for values that are no text at all (a float has already lost digits).
    """
    if not isinstance(text, str):
        raise BadNumber(f"a number must arrive as text, not as {type(text).__name__}: {text!r}")
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise BadNumber(f"{text[:80]!r} is not a plain decimal number")
    exponent = match["exponent"]
    if exponent is not None and abs(int(exponent)) > LARGEST_EXPONENT:
        raise BadNumber(f"{text[:80]!r} has an exponent beyond ±{LARGEST_EXPONENT}")
    number = Decimal(text)
    if len(number.as_tuple().digits) > PRECISION:
        raise BadNumber(f"{text[:80]!r} has more than {PRECISION} digits")
    return number


def plain(number: Decimal) -> str:
    """The one canonical text of a number: no exponent, no trailing zeros, never "-0".

    Raises `BadNumber` for NaN and infinities.
    """
    if not number.is_finite():
        raise BadNumber(f"{number} is not a finite number")
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def floor_to_step(number: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` (> 0) that is not above `number`."""
    quotient, remainder = divmod(number, _positive(step))
    return (quotient - 1 if remainder < 0 else quotient) * step


def ceil_to_step(number: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` (> 0) that is not below `number`."""
    quotient, remainder = divmod(number, _positive(step))
    return (quotient + 1 if remainder > 0 else quotient) * step


def round_to_step(number: Decimal, step: Decimal) -> Decimal:
    """The multiple of `step` (> 0) nearest to `number`; exactly between two, the even multiple."""
    lower = floor_to_step(number, step)
    twice = 2 * (number - lower)
    if twice < step:
        return lower
    if twice > step:
        return lower + step
    return lower if (lower / step) % 2 == 0 else lower + step


def _positive(step: Decimal) -> Decimal:
    if not step > 0:
        raise BadNumber(f"a step must be above zero, not {step}")
    return step
