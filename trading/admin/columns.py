"""Columns of the lists, each sorted by its field: numbers to the right, times in UTC, links, states as pills."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.utils.html import format_html
from django.utils.safestring import SafeString

from . import values

Column = Callable[[Any], SafeString]


def _read(row: Model, path: str) -> Any:
    value: Any = row
    for part in path.split("__"):
        value = getattr(value, part) if value is not None else None
    return value


def _column(path: str, label: str, prefix: str, render: Callable[[Any], SafeString]) -> Column:
    @admin.display(description=label or path.split("__")[-1].replace("_", " "), ordering=path)
    def column(row: Model) -> SafeString:
        value = _read(row, path)
        return values.NOTHING if value is None or value == "" else render(value)

    column.__name__ = f"{prefix}_{path}"
    return column


def number(path: str, label: str = "") -> Column:
    """A number, right-aligned (the style sheet knows the prefix `num`)."""
    return _column(path, label, "num", values.show)


def price(path: str, label: str = "") -> Column:
    """A price, with the decimals of the row's instrument (which the list selects)."""

    @admin.display(description=label or path.replace("_", " "), ordering=path)
    def column(row: Any) -> SafeString:
        return values.price(getattr(row, path), row.instrument.price_decimals)

    column.__name__ = f"num_{path}"
    return column


def amount(path: str, label: str = "") -> Column:
    """An amount of money."""
    return _column(path, label, "num", values.listed)


def rounded(path: str, label: str = "") -> Column:
    """A number to two decimals: R and the like."""
    return _column(path, label, "num", values.listed)


def profit(path: str, label: str = "") -> Column:
    """A profit or loss, signed and coloured."""
    return _column(path, label, "num", values.listed_profit)


def moment(path: str, label: str = "") -> Column:
    """A time in UTC."""
    return _column(path, f"{label or path.split('__')[-1].replace('_', ' ')} (UTC)", "moment", values.show)


def link(path: str, label: str = "") -> Column:
    """The object behind a foreign key, linked to its page."""
    return _column(path, label, "link", values.link)


def pill(path: str, label: str = "") -> Column:
    """A state or verdict."""
    return _column(path, label, "pill", lambda value: values.pill(str(value)))


def text(path: str, label: str = "") -> Column:
    """Plain text reached over foreign keys."""
    return _column(path, label, "text", values.show)


def brief(path: str, label: str = "", length: int = 90) -> Column:
    """Prose, cut to `length` characters; the whole of it on hover."""

    def render(value: Any) -> SafeString:
        whole = str(value)
        shown = whole if len(whole) <= length else f"{whole[: length - 1]}…"
        return format_html('<span title="{}">{}</span>', whole, shown)

    return _column(path, label, "brief", render)


def code(path: str, label: str = "") -> Column:
    """An identifier, a long one shortened in the middle."""
    return _column(path, label, "code", lambda value: values.short_code(str(value)))


def words(path: str, label: str = "") -> Column:
    """A code in words."""
    return _column(path, label, "nowrap", lambda value: values.whole(values.words(str(value))))
