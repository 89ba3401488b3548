"""How one value looks on a page: numbers without noise, times in UTC, links, states as pills, JSON to unfold.

What always holds: nothing here reads a float, and only `rounded` rounds, for lists and the first page; whatever comes
from outside is escaped.
"""

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from trading.domain.money import BadNumber, parse_decimal

NOTHING = mark_safe('<span class="quiet">—</span>')
GOOD = {"APPROVED", "APPROVE", "FILLED", "COMPLETE", "APPLIED", "CLOSED", "CLEARED", "CONFIRMED", "passed", "posted"}
BAD = {
    "REJECTED",
    "REJECT",
    "FAILED",
    "UNKNOWN",
    "UNSAFE",
    "CRITICAL",
    "HIGH",
    "EXPIRED",
    "NOT_FLAT",
    "LIVE",
    "MISSED",
    "blocked",
}
WAITING = {
    "SUSPECTED", "PROPOSED", "PARTIAL", "SENDING", "CANCELLING", "WAITING", "MEDIUM", "WARNING", "INCOMPLETE", "held",
    "REDUCE_ONLY", "PLANNED", "WORKING",
}  # fmt: skip


# How objects are called on pages where their own name is made for the log: apps above this one add theirs.
NAMES: dict[type[Model], Callable[[Any], str]] = {}
BROKERS = {"OANDA": "OANDA", "ALPACA": "Alpaca", "KITE": "Kite", "PAPER": "Paper book"}
LONGEST_ID, ID_TAIL = 18, 6


def name_of(target: Model) -> str:
    """What an object is called on a page."""
    naming = NAMES.get(type(target))
    return naming(target) if naming is not None else str(target)


def words(code: str) -> str:
    """`MISSING_FILL` as `Missing fill`; what is no code stays as it is."""
    return code.replace("_", " ").capitalize() if code.isupper() else code


def place(account: Any) -> str:
    """Where an account is: `OANDA simulator`."""
    return f"{BROKERS.get(account.broker, account.get_broker_display())} {account.get_environment_display()}"


def plain_number(value: Decimal | int) -> str:
    """A number with thousands separated, without an exponent and without trailing zeros; never "-0"."""
    text = format(value, ",f") if isinstance(value, Decimal) else format(value, ",d")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def money(value: Decimal) -> str:
    """An amount with at least its two decimals, more where it has more."""
    text = plain_number(value)
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.ljust(2, '0')}"


def signed_money(value: Decimal) -> str:
    """An amount with its sign."""
    return f"+{money(value)}" if value > 0 else money(value)


def rounded(value: Decimal, places: int = 2) -> str:
    """A number to so many decimals, for where it is looked over and not checked; never "-0.00"."""
    text = f"{value:,.{places}f}"
    return text if text.strip("-0.,") else text.lstrip("-")


def signed_rounded(value: Decimal, places: int = 2) -> str:
    """The same with its sign."""
    text = rounded(value, places)
    return f"+{text}" if value > 0 and text.strip("0.,") else text


def percent(value: Decimal | None) -> SafeString:
    """A percentage, to three decimals at most."""
    if value is None:
        return NOTHING
    return format_html('<span class="num">{}</span>', plain_number(Decimal(rounded(value, 3).replace(",", ""))))


def listed(value: Decimal | None, places: int = 2) -> SafeString:
    """A number to so many decimals as a list shows it, the whole of it on hover."""
    if value is None:
        return NOTHING
    tone = "" if value else " quiet"
    return format_html('<span class="num{}" title="{}">{}</span>', tone, plain_number(value), rounded(value, places))


def listed_profit(value: Decimal | None) -> SafeString:
    """A profit or loss as a list shows it."""
    if value is None:
        return NOTHING
    tone = "more" if value > 0 else "less" if value < 0 else "quiet"
    shape = '<span class="num change {}" title="{}">{}</span>'
    return format_html(shape, tone, plain_number(value), signed_rounded(value))


def signed_number(value: Decimal) -> str:
    """A number with its sign, for differences and profits."""
    return plain_number(value) if value <= 0 else f"+{plain_number(value)}"


def price(value: Decimal | None, decimals: int) -> SafeString:
    """A price with the decimals of its instrument, more where it has more."""
    if value is None:
        return NOTHING
    whole, _, after = plain_number(value).partition(".")
    shown = f"{whole}.{after.ljust(decimals, '0')}" if decimals else whole + (f".{after}" if after else "")
    return format_html('<span class="num">{}</span>', shown)


def amount(value: Decimal | None) -> SafeString:
    """An amount of money as a cell shows it; nothing moved is a quiet zero."""
    if value is None:
        return NOTHING
    return format_html('<span class="num{}">{}</span>', "" if value else " quiet", money(value))


def profit(value: Decimal | None) -> SafeString:
    """A profit or loss: signed, in the colour that repeats the sign."""
    if value is None:
        return NOTHING
    tone = "more" if value > 0 else "less" if value < 0 else "quiet"
    return format_html('<span class="num change {}">{}</span>', tone, signed_money(value))


def difference(value: Decimal | None) -> SafeString:
    """A difference: signed, in the colour that repeats the sign."""
    if value is None:
        return NOTHING
    tone = "more" if value > 0 else "less" if value < 0 else "quiet"
    return format_html('<span class="num change {}">{}</span>', tone, signed_number(value))


def cost(value: Decimal) -> SafeString:
    """A number that is good when it is small: signed, above zero in the colour of a loss."""
    tone = "less" if value > 0 else "more" if value < 0 else "quiet"
    return format_html('<span class="num change {}">{}</span>', tone, signed_number(value))


def moment(value: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{value:%Y-%m-%d %H:%M:%S}"


def span(delta: timedelta) -> str:
    """An age in two units, `3 h 12 m`; from ten minutes on without seconds."""
    seconds = max(int(delta.total_seconds()), 0)
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} m"
    if minutes >= 10:
        return f"{minutes} m"
    return f"{minutes} m {seconds % 60} s" if minutes else f"{seconds} s"


def pill(word: str) -> SafeString:
    """A state as a word in a frame; the colour only repeats what the word says."""
    tone = "good" if word in GOOD else "bad" if word in BAD else "waiting" if word in WAITING else "plain"
    return format_html('<span class="pill {}">{}</span>', tone, word)


def changed(before: str, after: str) -> SafeString:
    """A change of state, the new one as a pill."""
    return format_html('<span class="was">{}</span> {}', f"{before} →" if before else "", pill(after))


def link(target: Model | None, text: str = "") -> SafeString:
    """A link to an object's page, or its name when it has no page."""
    if target is None:
        return NOTHING
    if not admin.site.is_registered(type(target)):
        return format_html("{}", text or name_of(target))
    options = target._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[quote(target.pk)])
    return format_html('<a href="{}">{}</a>', url, text or name_of(target))


def code(text: str) -> SafeString:
    """An identifier; one click selects the whole of it, to copy."""
    return format_html('<code class="id">{}</code>', text) if text else NOTHING


def short_code(text: str) -> SafeString:
    """An identifier in a table: a long one is shortened in the middle, and selecting it still copies the whole."""
    if len(text) <= LONGEST_ID:
        return code(text)
    shape = '<code class="id long" title="{}"><span>{}</span><span>{}</span></code>'
    return format_html(shape, text, text[:-ID_TAIL], text[-ID_TAIL:])


def whole(text: str) -> SafeString:
    """A short text that is never broken into lines."""
    return format_html('<span class="nowrap">{}</span>', text) if text else NOTHING


def pretty(value: Any) -> str:
    """JSON for people: indented, keys as they are; text that is JSON is indented too, other text stays."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def raw(value: Any, title: str = "show") -> SafeString:
    """JSON behind a line to unfold it."""
    if value in (None, "", {}, []):
        return NOTHING
    return format_html('<details class="raw"><summary>{}</summary><pre>{}</pre></details>', title, pretty(value))


def show(value: Any) -> SafeString:
    """Any value as a page shows it."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, SafeString):
        return value
    if isinstance(value, bool):
        return mark_safe("yes" if value else "no")
    if isinstance(value, Decimal):
        return format_html('<span class="num">{}</span>', plain_number(value))
    if isinstance(value, datetime):
        return format_html('<time datetime="{}">{}</time>', value.isoformat(), moment(value))
    if isinstance(value, date):
        return format_html("{}", value.isoformat())
    if isinstance(value, timedelta):
        return whole(span(value))
    if isinstance(value, Model):
        return link(value)
    if isinstance(value, dict | list):
        return raw(value)
    return format_html("{}", str(value))


def typed(value: Any) -> Any:
    """A value out of JSON: text that is a plain number becomes one, so that it is shown and aligned as one."""
    if isinstance(value, str):
        try:
            return parse_decimal(value)
        except BadNumber:
            return value
    return value


def joined(*parts: SafeString) -> SafeString:
    """Some values in one cell."""
    return format_html_join(", ", "{}", ((part,) for part in parts))
