"""Two pictures of cases as SVG, made here: no script, no style attribute, colours from the style sheet's classes.

What always holds: whatever a picture shows stands in the table below it, too; a time is drawn on a scale of powers, so
that seconds and days have room on it together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from math import log10

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from reconciliation.selectors.statistics import Day, Spread
from trading.admin import values

WIDTH, HEIGHT = 860, 210
LEFT, RIGHT, TOP, BOTTOM = 12, 64, 14, 26
SHORTEST, LONGEST = 1.0, 30 * 86_400.0
TICKS = (
    (1.0, "1 s"), (10.0, "10 s"), (60.0, "1 m"), (600.0, "10 m"), (3_600.0, "1 h"), (21_600.0, "6 h"),
    (86_400.0, "1 d"), (604_800.0, "7 d"), (LONGEST, "30 d"),
)  # fmt: skip
DATES = 6


def numbers(days: Sequence[Day]) -> SafeString:
    """Cases confirmed and ended, two bars a day."""
    most = max((max(day.opened, day.ended) for day in days), default=0)
    top = _round_up(max(most, 1))
    wide = _slot(days)

    def down(value: float) -> float:
        return round(TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM), 1)

    ground = HEIGHT - BOTTOM
    bars = []
    for place, day in enumerate(days):
        for part, (css, value, name) in enumerate((("opened", day.opened, "confirmed"), ("ended", day.ended, "ended"))):
            if value:
                left = round(LEFT + wide * (place + 0.12 + 0.4 * part), 1)
                tall = round(ground - down(value), 1)
                bars.append((css, left, down(value), round(wide * 0.36, 1), tall, f"{day.day}: {value} {name}"))
    drawn = format_html_join(
        "", '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="1.5"><title>{}</title></rect>', bars
    )
    lines = [(value, f"{value:,}") for value in sorted({0, top // 2 if top % 2 == 0 else top, top})]
    said = f"Cases a day: {sum(day.opened for day in days)} confirmed, {sum(day.ended for day in days)} ended"
    return _svg(said, _grid([(down(value), name) for value, name in lines]), drawn, _dates(days))


def times(days: Sequence[Day], spreads: Sequence[Spread | None], what: str) -> SafeString:
    """A day's durations: a line from the middle one to the one that nine of ten do not exceed; a dot at the middle."""
    known = [spread for spread in spreads if spread is not None]
    low = _held(min((spread.median for spread in known), default=SHORTEST))
    high = _held(max((spread.p90 for spread in known), default=60.0))
    bottom = max((at for at, _ in TICKS if at < low), default=SHORTEST)
    top = min((at for at, _ in TICKS if at >= high and at > bottom), default=LONGEST)
    wide = _slot(days)

    def down(seconds: float) -> float:
        share = (log10(_held(seconds)) - log10(bottom)) / max(log10(top) - log10(bottom), 0.01)
        return round(TOP + (1 - share) * (HEIGHT - TOP - BOTTOM), 1)

    shape = (
        '<g><title>{}</title><line class="span" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<line class="end" x1="{}" x2="{}" y1="{}" y2="{}"/><circle class="middle" cx="{}" cy="{}" r="4"/></g>'
    )
    rows = []
    for place, (day, spread) in enumerate(zip(days, spreads, strict=True)):
        if spread is not None:
            across = round(LEFT + wide * (place + 0.5), 1)
            half = round(min(wide * 0.3, 7), 1)
            middle, far = down(spread.median), down(spread.p90)
            told = f"{day.day}: {spread.number}, median {lasted(spread.median)}, p90 {lasted(spread.p90)}"
            ends = (round(across - half, 1), round(across + half, 1), far, far)
            rows.append((told, across, across, middle, far, *ends, across, middle))
    lines = [(down(at), name) for at, name in TICKS if bottom <= at <= top]
    return _svg(f"{what}: median and p90 of each day", _grid(lines), format_html_join("", shape, rows), _dates(days))


def lasted(seconds: float) -> str:
    """A duration in words: below a minute to a tenth of a second."""
    return f"{seconds:.1f} s" if seconds < 60 else values.span(timedelta(seconds=seconds))


def _held(seconds: float) -> float:
    return min(max(seconds, SHORTEST), LONGEST)


def _slot(days: Sequence[Day]) -> float:
    return (WIDTH - LEFT - RIGHT) / max(len(days), 1)


def _round_up(value: int) -> int:
    """1, 2, 4, 5 or 10 times a power of ten, not below the value."""
    power: int = 10 ** (len(str(value)) - 1)
    return next(power * factor for factor in (1, 2, 4, 5, 10) if power * factor >= value)


def _grid(lines: Sequence[tuple[float, str]]) -> SafeString:
    rows = ((LEFT, y, WIDTH - RIGHT, WIDTH - RIGHT + 8, y + 4, name) for y, name in lines)
    return format_html_join("", '<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}">{}</text>', rows)


def _dates(days: Sequence[Day]) -> SafeString:
    """Some of the days, below."""
    every, wide = max(len(days) // DATES, 1), _slot(days)
    rows = [
        (round(LEFT + wide * (place + 0.5), 1), HEIGHT - 8, _short(day.day))
        for place, day in enumerate(days)
        if place % every == every // 2
    ]
    return format_html_join("", '<text class="when" x="{}" y="{}" text-anchor="middle">{}</text>', rows)


def _short(day: date) -> str:
    return f"{day:%d %b}"


def _svg(said: str, *parts: SafeString) -> SafeString:
    shape = '<svg class="curve cases" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    return format_html(shape, WIDTH, HEIGHT, said, format_html_join("", "{}", ((part,) for part in parts)))
