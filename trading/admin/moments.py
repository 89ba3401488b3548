"""The moments that pages of the books are asked for: form fields, presets, and how they stand in an address.

What always holds: every moment is UTC; one written to the second means that whole second, as a person means it, and
one with a fraction means exactly that; an address without a moment means now.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.utils.dateparse import parse_datetime

from trading.clock import day_bounds, now, trading_day, wall_now
from trading.models import Account

TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
NOT_UNDERSTOOD = "Write a moment as 2026-03-31T23:59:59 (UTC). Nothing is shown until it is understood."


class MomentInput(forms.DateTimeInput):
    """The browser's own field for date and time, to the second; a fraction is shown to the thousandth above it."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(attrs={"step": "1"})

    def format_value(self, value: Any) -> str | None:
        """As the browser wants it: it refuses more than three decimals."""
        try:
            moment = parse_datetime(value) if isinstance(value, str) else value
        except ValueError:
            return str(value)
        if moment is None:
            return value or None
        if not moment.microsecond:
            return f"{moment:%Y-%m-%dT%H:%M:%S}"
        moment += timedelta(microseconds=-moment.microsecond % 1000)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}"


class MomentField(forms.DateTimeField):
    """A moment up to which something counts, itself included."""

    widget = MomentInput
    default_error_messages = {"invalid": NOT_UNDERSTOOD}

    def to_python(self, value: Any) -> datetime | None:
        """The end of the second where no fraction is given."""
        moment: datetime | None = super().to_python(value)
        if moment is not None and "." not in str(value):
            moment += SECOND - TICK
        return moment


class BeginField(forms.DateTimeField):
    """A moment from which on something counts, itself included. Its value is the last moment before it."""

    widget = MomentInput
    default_error_messages = {"invalid": NOT_UNDERSTOOD}

    def to_python(self, value: Any) -> datetime | None:
        """The moment before, because periods begin after one."""
        moment: datetime | None = super().to_python(value)
        return moment - TICK if moment is not None else None


def written(moment: datetime | None) -> str:
    """A moment as `MomentField` reads it back, exactly."""
    if moment is None:
        return ""
    moment = moment.astimezone(UTC)
    is_whole = moment.microsecond == 999_999
    return f"{moment:%Y-%m-%dT%H:%M:%S}" if is_whole else f"{moment:%Y-%m-%dT%H:%M:%S.%f}"


def written_begin(since: datetime | None) -> str:
    """The begin of a period as `BeginField` reads it back, exactly."""
    if since is None:
        return ""
    first = (since + TICK).astimezone(UTC)
    return f"{first:%Y-%m-%dT%H:%M:%S.%f}" if first.microsecond else f"{first:%Y-%m-%dT%H:%M:%S}"


def query(**parts: Any) -> str:
    """The words of an address, with its question mark; what is empty is left out."""
    words = {name: value for name, value in parts.items() if value not in ("", None)}
    return f"?{urlencode(words)}" if words else ""


def said(as_of: datetime | None, known_at: datetime | None) -> str:
    """Both moments in words."""
    first = f"as of {to_second(as_of)} UTC" if as_of is not None else "as of now"
    return f"{first}, as known at {to_second(known_at)} UTC" if known_at is not None else first


def to_second(moment: datetime) -> str:
    """A moment for people; its fraction only where it is no whole second."""
    shown = f"{moment:%Y-%m-%d %H:%M:%S}"
    return shown if moment.microsecond in (0, 999_999) else f"{shown}.{moment.microsecond:06}"


def ends(account: Account | None) -> list[tuple[str, datetime | None]]:
    """Moments that people ask for: now, and when the last day and month of the account (or of the wall) ended."""
    today = _begin_of_today(account)
    return [
        ("Now", None),
        ("End of yesterday", today - TICK),
        ("End of last month", _first_of_month(account, today) - TICK),
    ]


def periods(account: Account) -> list[tuple[str, datetime | None, datetime | None]]:
    """Periods that people ask for: name, the moment after which, the moment up to which."""
    today = _begin_of_today(account)
    month = _first_of_month(account, today)
    before = _first_of_month(account, month - TICK)
    return [
        ("All", None, None),
        ("Today", today - TICK, None),
        ("Yesterday", _begin_before(account, today) - TICK, today - TICK),
        ("This month", month - TICK, None),
        ("Last month", before - TICK, month - TICK),
    ]


def _begin_of_today(account: Account | None) -> datetime:
    if account is None:
        return wall_now().replace(hour=0, minute=0, second=0, microsecond=0)
    return day_bounds(account, trading_day(account, now(account)))[0]


def _begin_before(account: Account, begin: datetime) -> datetime:
    return day_bounds(account, trading_day(account, begin - TICK))[0]


def _first_of_month(account: Account | None, moment: datetime) -> datetime:
    if account is None:
        return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return day_bounds(account, trading_day(account, moment).replace(day=1))[0]
