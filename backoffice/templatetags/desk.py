"""Filters that write values as every screen writes them (see `trading.admin.values`)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.utils.safestring import SafeString

from trading.admin import values

register = template.Library()


@register.filter
def money(value: Decimal) -> str:
    """`100,345.20`, to two decimals."""
    return values.rounded(value)


@register.filter
def signed_money(value: Decimal) -> str:
    """`+345.20`, to two decimals."""
    return values.signed_rounded(value)


@register.filter
def place(account: Any) -> str:
    """`OANDA simulator`."""
    return values.place(account)


@register.filter
def signed_number(value: Decimal) -> str:
    """`+0.35`."""
    return values.signed_number(value)


@register.filter
def span(value: timedelta) -> str:
    """`3 h 12 m`."""
    return values.span(value)


@register.filter
def pill(value: Any) -> SafeString:
    """A state in its frame."""
    return values.pill(str(value))


@register.filter
def show(value: Any) -> SafeString:
    """Any value as a page shows it."""
    return values.show(value)


@register.filter
def words(value: Any) -> str:
    """`EXTERNAL_FILL` as `External fill`."""
    return values.words(str(value))


@register.filter
def tone(value: Decimal) -> str:
    """The class of a gain or loss."""
    return "good" if value > 0 else "bad" if value < 0 else "quiet"
