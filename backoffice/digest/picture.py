"""The digest as a picture: the line of cumulative R, green above zero and red below.

What always holds: matplotlib is loaded only here, and draws into memory alone (Agg); nothing of the machine's own
configuration is used, and the same digest gives the same bytes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings

from trading.domain.digest import Outcome, cumulative_r

from . import words
from .content import Digest
from .files import title

INK, QUIET, GRID = "#1f2933", "#616e7c", "#e4e7eb"
GREEN, RED = "#1a7f4b", "#c0392b"
MIRRORS = ("#2f6fb7", "#8a5cb8", "#b7791f")
WIDTH, HEIGHT, DOTS = 9.6, 4.8, 100


def png(digest: Digest) -> bytes:
    """The picture of a digest that has at least one trade. Raises ValueError without any."""
    figures = digest.figures
    if not figures.total.trades:
        raise ValueError("there is nothing to draw: no trade closed")
    os.environ.setdefault("MPLCONFIGDIR", str(settings.VAR / "matplotlib"))
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.family": "DejaVu Sans", "text.parse_math": False, "text.color": INK})
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.075, 0.12, 0.895, 0.66))
        _headline(figure, digest)
        _lines(axes, digest)
        out = io.BytesIO()
        canvas.print_png(out, metadata={"Software": None})  # type: ignore[no-untyped-call]
        return out.getvalue()


def _headline(figure: Any, digest: Digest) -> None:
    total = digest.figures.total
    figure.text(0.075, 0.925, f"Cumulative R · {title(digest)}", fontsize=14, fontweight="bold")
    told = [
        words.counted(total.trades, "trade"),
        f"{total.winners} won, {total.losers} lost ({words.rate(total)})",
        words.money(total.pnl),
        f"cost drag {total.average_drag:.3f} R a trade" if total.average_drag is not None else "",
    ]
    figure.text(0.075, 0.85, "  ·  ".join(part for part in told if part), fontsize=10, color=QUIET)
    figure.text(
        0.97,
        0.905,
        words.r_text(total.r),
        fontsize=20,
        fontweight="bold",
        ha="right",
        color=GREEN if total.r > 0 else RED if total.r < 0 else INK,
    )


def _lines(axes: Any, digest: Digest) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import FuncFormatter

    figures = digest.figures
    zone = ZoneInfo(figures.deciding[0].time_zone)
    begin, end = _frame(digest)
    times, values = _steps(figures.outcomes, begin, end)
    axes.axhline(0, color=QUIET, linewidth=0.8, zorder=2)
    for colour, above in ((GREEN, True), (RED, False)):
        part = [max(value, 0.0) if above else min(value, 0.0) for value in values]
        axes.fill_between(times, part, 0, step="post", color=colour, alpha=0.16, linewidth=0, zorder=1)
    axes.plot(times, values, drawstyle="steps-post", color=INK, linewidth=1.8, zorder=4, label="paper books (decide)")
    for number in range(1, len(times) - 1):
        colour = GREEN if values[number] >= values[number - 1] else RED
        axes.plot(times[number], values[number], "o", color=colour, markersize=5, zorder=5)
    traded = [mirror for mirror in figures.mirrors if mirror.trades]
    for mirror, colour in zip(traded, MIRRORS, strict=False):
        shown = words.without_numbers(words.clean(mirror.account), digest.account_numbers)
        x, y = _steps([line.outcome for line in mirror.trades], begin, end)
        axes.plot(x, y, drawstyle="steps-post", color=colour, linewidth=1.1, linestyle="--", zorder=3, label=shown)
    if traded:
        legend = axes.legend(loc="best", fontsize=8, frameon=True, framealpha=0.85, edgecolor=GRID)
        legend.set_zorder(6)
    axes.set_xlim(begin, end)
    axes.margins(y=0.14)
    locator = AutoDateLocator(tz=zone, minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=zone, show_offset=False)  # type: ignore[no-untyped-call]
    formatter.formats[2] = formatter.zero_formats[2] = formatter.zero_formats[3] = "%-d %b"
    axes.xaxis.set_major_formatter(formatter)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}" if value else "0"))
    axes.set_xlabel(zone.key, fontsize=8, color=QUIET, loc="right")
    axes.set_ylabel("R", fontsize=9, color=QUIET, rotation=0, loc="top", labelpad=2)
    axes.grid(axis="y", color=GRID, linewidth=0.8, zorder=0)
    axes.tick_params(colors=QUIET, labelsize=9, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GRID)


def _frame(digest: Digest) -> tuple[datetime, datetime]:
    """From a little before the first close to a little after the last, within the digest's period where it is short."""
    closes = [line.outcome.closed_at for one in digest.figures.accounts for line in one.trades]
    first, last = min(closes), max(closes)
    margin = max((last - first) / 12, timedelta(minutes=20))
    return first - margin, last + margin


def _steps(outcomes: Sequence[Outcome], begin: datetime, end: datetime) -> tuple[list[datetime], list[float]]:
    """The line's corners, from zero at the left edge to the right edge."""
    points = [(at, float(total)) for at, total in cumulative_r(outcomes)]
    times = [begin, *(at for at, _ in points), end]
    values = [0.0, *(value for _, value in points)]
    return times, [*values, values[-1]]
