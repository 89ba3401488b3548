"""The equity curve as SVG, made here: no script, no style attribute, colours from the style sheet's classes.

What always holds: a curve is a staircase, because equity is known when it changed and not in between; it is thinned in
the database, so that a long history costs as little as a short one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal

from django.db import connection
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from trading.admin import moments, values
from trading.models import Account, EquityPoint

RANGES = {"1D": timedelta(days=1), "1W": timedelta(days=7), "1M": timedelta(days=31), "All": None}
DEFAULT_RANGE = "1W"
STEPS = 240
WIDTH, HEIGHT = 860, 230
LEFT, RIGHT, TOP, BOTTOM = 12, 84, 14, 26
LABELS = 4
DOTS = 120


@dataclass(frozen=True, slots=True)
class Curve:
    """A drawn curve, and what it says in words."""

    svg: SafeString
    first: Decimal
    last: Decimal

    @property
    def change(self) -> Decimal:
        """From its first point to its last."""
        return self.last - self.first


def draw(account: Account, *, until: datetime, span: timedelta | None) -> Curve | None:
    """The account's equity over `span` up to `until` (None: all of it); None while there are no points."""
    points = _points(account, until=until, span=span)
    if not points:
        return None
    return Curve(_svg(account, points, until), points[0][1], points[-1][1])


def _points(account: Account, *, until: datetime, span: timedelta | None) -> list[tuple[datetime, Decimal]]:
    """At most `STEPS` points, each the last of its slot, after the value that the span began with."""
    rows = EquityPoint.objects.filter(account=account, at__lte=until).order_by("at").values_list("at", "equity")
    begin = until - span if span is not None else None
    before = rows.filter(at__lt=begin).last() if begin is not None else None
    if begin is not None and before is not None:
        points = [(begin, before[1])]
    else:  # the curve begins with the first point there is
        start = rows.filter(at__gte=begin).first() if begin is not None else rows.first()
        if start is None:
            return []
        begin, points = start[0], [start]
    width = max((until - begin).total_seconds() / STEPS, 1.0)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT ON (slot) at, equity FROM (
                SELECT at, equity, floor(extract(epoch FROM at - %s) / %s) AS slot FROM trading_equitypoint
                WHERE account_id = %s AND at > %s AND at <= %s) AS slots
            ORDER BY slot, at DESC
            """,
            [begin, width, account.pk, begin, until],
        )
        points.extend(cursor.fetchall())
    return points


def _svg(account: Account, points: list[tuple[datetime, Decimal]], until: datetime) -> SafeString:
    begin, end = points[0][0], max(until, points[-1][0])
    low, high = min(value for _, value in points), max(value for _, value in points)
    room = max((high - low) * Decimal("0.12"), abs(high) * Decimal("0.0002"), Decimal("0.01"))
    low, high = low - room, high + room
    seconds = max((end - begin).total_seconds(), 1.0)
    inner = WIDTH - LEFT - RIGHT

    def across(at: datetime) -> float:
        return round(LEFT + (at - begin).total_seconds() / seconds * inner, 1)

    def down(value: Decimal) -> float:
        return round(TOP + float((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM), 1)

    path = f"M{across(points[0][0])} {down(points[0][1])}"
    for at, value in points[1:]:
        path += f"H{across(at)}V{down(value)}"
    path += f"H{across(end)}"
    ground = HEIGHT - BOTTOM
    area = f"{path}V{ground}H{across(begin)}Z"
    first, last = values.rounded(points[0][1]), values.rounded(points[-1][1])
    said = f"Equity of {account.name}, {first} to {last} {account.currency}"
    return format_html(
        '<svg class="curve" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}'
        '<path class="area" d="{}"/><path class="line" d="{}"/>{}{}</svg>',
        WIDTH, HEIGHT, said, _grid(low, high, down), _days(begin, end, across), area, path,
        _dots(account, points, across, down), _end(end, points[-1][1], across, down),
    )  # fmt: skip


def _grid(low: Decimal, high: Decimal, down) -> SafeString:  # type: ignore[no-untyped-def]
    """Lines at round amounts."""
    step = _round_step((high - low) / LABELS)
    first = (low / step).to_integral_value(ROUND_CEILING) * step
    amounts = [first + step * place for place in range(LABELS + 3) if first + step * place <= high]
    places = max(-int(step.adjusted()), 0)
    rows = ((LEFT, down(a), WIDTH - RIGHT, WIDTH - RIGHT + 8, down(a) + 4, f"{a:,.{places}f}") for a in amounts)
    shape = '<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}">{}</text>'
    return format_html_join("", shape, rows)


def _round_step(least: Decimal) -> Decimal:
    """1, 2 or 5 times a power of ten, not below `least`."""
    power = Decimal(1).scaleb(least.adjusted())
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


def _days(begin: datetime, end: datetime, across) -> SafeString:  # type: ignore[no-untyped-def]
    """Times below the curve."""
    whole = end - begin
    form = "%H:%M" if whole <= timedelta(days=2) else "%d %b"
    moments = [begin + whole * part / 10 for part in (1, 3, 5, 7, 9)]
    rows = ((across(moment), HEIGHT - 8, f"{moment:{form}}") for moment in moments)
    return format_html_join("", '<text class="when" x="{}" y="{}" text-anchor="middle">{}</text>', rows)


def _dots(account: Account, points: list[tuple[datetime, Decimal]], across, down) -> SafeString:  # type: ignore[no-untyped-def]
    """Places to point at, each with its time and amount; they lead to the books as they were then."""
    if len(points) > DOTS:
        return SafeString("")
    books = reverse("admin:trading_ledgeraccount_trial_balance")
    rows = (
        (
            books + moments.query(account=account.pk, as_of=moments.written(at)),
            across(at), down(value), values.moment(at), values.rounded(value),
        )
        for at, value in points
    )  # fmt: skip
    place = '<circle class="dot" cx="{}" cy="{}" r="7"><title>{} UTC: {}</title></circle>'
    shape = f'<a href="{{}}" tabindex="-1">{place}</a>'
    return format_html_join("", shape, rows)


def _end(end: datetime, value: Decimal, across, down) -> SafeString:  # type: ignore[no-untyped-def]
    """Where it stands now."""
    return format_html('<circle class="now" cx="{}" cy="{}" r="4"/>', across(end), down(value))
