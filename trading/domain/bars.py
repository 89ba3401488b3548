"""Bars: one row of market data, the reader that refuses bad files, and the holes in between.

What always holds here: a `Bar` that left `read_bars` has finite positive prices, a high and a low that enclose open
and close, and a start on the grid of its interval; starts rise strictly; whatever is wrong is refused with the file's
line number, never repaired. A hole is a gap that reaches into the part of a day that strategies look at (midnight to
the end of the last window); every other gap only begins a new session. Daily bars start at midnight of their market's
zone; between two of them lie weekends and holidays, so only more than a long weekend is a gap, and then a hole.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NoReturn
from zoneinfo import ZoneInfo

from trading.domain.canonical import utc_text
from trading.domain.money import BadNumber, parse_decimal, plain
from trading.domain.windows import Window, is_trading_bar

HEADER = ("ts", "open", "high", "low", "close", "volume")
DAY_SECONDS = 86400
# From the start of one daily bar to the next: five calendar days (Thursday to Tuesday around two holidays, or a market
# shut by a storm), and the hour that clocks may be set back in between.
LONG_WEEKEND = timedelta(days=5, hours=1)
# A bar that opens this share away from the close before it continues another price: a split, or a bad number.
JUMP = Decimal("0.4")


class BadBars(ValueError):
    """Market data that cannot be used. The message names symbol and line and says what to do."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar of mid prices. `start` is its opening time in UTC; it covers [start, end)."""

    symbol: str
    start: datetime
    interval_seconds: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def end(self) -> datetime:
        """When the bar closes: the start of the next one."""
        return self.start + timedelta(seconds=self.interval_seconds)

    @property
    def is_daily(self) -> bool:
        """Whether the bar is a whole trading day."""
        return self.interval_seconds == DAY_SECONDS


@dataclass(frozen=True, slots=True)
class BarFile:
    """Validated bars of one symbol with the line each came from; `sha256` identifies their content."""

    symbol: str
    interval_seconds: int
    bars: tuple[Bar, ...]
    lines: tuple[int, ...]
    sha256: str


class GapKind(StrEnum):
    """HOLE: bars are missing where strategies look. SESSION: the market was closed, or nobody looks there."""

    HOLE = "HOLE"
    SESSION = "SESSION"


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing bars from `start` (the first that is missing) to `end` (the next that is there, on `line`)."""

    line: int
    start: datetime
    end: datetime
    kind: GapKind

    def __str__(self) -> str:
        missing = f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"
        return f"line {self.line}: no bars from {missing} ({self.kind.value.lower()})"


def read_bars(lines: Iterable[str], symbol: str, interval_seconds: int, tz: str = "UTC") -> BarFile:
    """The bars that CSV `lines` (header ts,open,high,low,close,volume) hold, in the file's order.

    Daily bars start at midnight in `tz`; shorter ones at multiples of their interval in UTC.
    Raises `BadBars` at the first line with a wrong header, a missing or extra field, a number or time that cannot be
    read, prices that contradict each other, a start off the grid, a duplicate or a step back in time; and for a file
    without bars.
    """
    reader = csv.reader(lines, strict=True)
    bars: list[Bar] = []
    numbers: list[int] = []
    header_seen = False
    try:
        for row in reader:
            line = reader.line_num
            if not row:
                continue
            if not header_seen:
                _check_header(row, symbol, line)
                header_seen = True
                continue
            bar = _bar(row, symbol, interval_seconds, line, tz)
            if bars:
                _check_order(bars[-1], bar, line)
            bars.append(bar)
            numbers.append(line)
    except csv.Error as error:
        raise BadBars(_sentence(symbol, reader.line_num, f"is no readable CSV ({error})")) from error
    if not bars:
        raise BadBars(f"{symbol}: the file holds no bars. Give a file with the header {','.join(HEADER)} and rows.")
    return BarFile(symbol, interval_seconds, tuple(bars), tuple(numbers), bars_sha256(bars))


def validate_bars(bars: Sequence[Bar], lines: Sequence[int] | None = None, tz: str = "UTC") -> None:
    """Check bars that came another way than a file (a broker's candles) by the same rules.

    Raises `BadBars`; `lines` numbers the rows in messages, counting from 1 when not given.
    """
    for index, bar in enumerate(bars):
        line = lines[index] if lines is not None else index + 1
        check_bar(bar, line, tz)
        if index:
            _check_order(bars[index - 1], bar, line)


def bars_sha256(bars: Iterable[Bar]) -> str:
    """The identity of market data: the sha256 of its rows in canonical text, whatever the file's formatting."""
    digest = hashlib.sha256()
    for bar in bars:
        prices = ",".join(plain(value) for value in (bar.open, bar.high, bar.low, bar.close, bar.volume))
        digest.update(f"{bar.symbol},{bar.interval_seconds},{utc_text(bar.start)},{prices}\n".encode())
    return digest.hexdigest()


def check_bar(bar: Bar, line: int, tz: str = "UTC") -> None:
    """Refuse a bar that contradicts itself; a daily one must start at midnight in `tz`. Raises `BadBars`."""
    for name in ("open", "high", "low", "close"):
        value: Decimal = getattr(bar, name)
        if not value.is_finite() or value <= 0:
            _refuse(bar.symbol, line, f"has {value} as its {name}; prices are above zero")
    if not bar.volume.is_finite() or bar.volume < 0:
        _refuse(bar.symbol, line, f"has {bar.volume} as its volume")
    if bar.high < bar.low:
        _refuse(bar.symbol, line, f"has {plain(bar.high)} as its high, below its low of {plain(bar.low)}")
    for name, value in (("open", bar.open), ("close", bar.close)):
        if not bar.low <= value <= bar.high:
            inside = f"low {plain(bar.low)} to high {plain(bar.high)}"
            _refuse(bar.symbol, line, f"has {plain(value)} as its {name}, outside {inside}")
    if bar.is_daily:
        if bar.start.astimezone(ZoneInfo(tz)).time() != time(0):
            _refuse(bar.symbol, line, f"starts at {bar.start.isoformat()}, which is not midnight in {tz}")
        return
    offset = bar.start - datetime(1970, 1, 1, tzinfo=UTC)
    if offset % timedelta(seconds=bar.interval_seconds):
        _refuse(bar.symbol, line, f"starts at {bar.start.isoformat()}, which no {bar.interval_seconds} s bar does")


def follows(previous: Bar, bar: Bar) -> bool:
    """Whether nothing is missing between two bars of a symbol; a daily bar's weekend and holidays are not missing."""
    if bar.is_daily:
        return bar.start - previous.start <= LONG_WEEKEND
    return bar.start <= previous.end


def jumps(previous: Bar, bar: Bar) -> bool:
    """Whether a bar opens so far from the close before it that it continues another price (see `JUMP`)."""
    return abs(bar.open - previous.close) > JUMP * previous.close


def find_gaps(
    file: BarFile,
    windows: Sequence[Window],
    *,
    tz: str = "UTC",
    is_trading: Callable[[datetime], bool] = is_trading_bar,
) -> tuple[Gap, ...]:
    """All gaps of a file, in order. `windows` are those of every strategy on the symbol, `tz` the account's zone."""
    found = []
    for line, previous, following in zip(file.lines[1:], file.bars, file.bars[1:], strict=False):
        kind = classify_gap(previous, following, windows, tz=tz, is_trading=is_trading)
        if kind is not None:
            found.append(Gap(line, previous.end, following.start, kind))
    return tuple(found)


def classify_gap(
    previous: Bar,
    following: Bar,
    windows: Sequence[Window],
    *,
    tz: str = "UTC",
    is_trading: Callable[[datetime], bool] = is_trading_bar,
) -> GapKind | None:
    """What lies between two bars that follow each other: nothing (None), a hole or a session's break.

    Only the days that have bars on them are looked at: the missing rest of the earlier bar's day and the missing
    beginning of the later bar's. A day without a single bar is a holiday or another file, not a hole. Of daily bars
    more than a long weekend is a hole.
    """
    if follows(previous, following):
        return None
    if following.is_daily:
        return GapKind.HOLE
    step = timedelta(seconds=previous.interval_seconds)
    zone = ZoneInfo(tz)
    for day in {previous.start.astimezone(zone).date(), following.start.astimezone(zone).date()}:
        watched_from, watched_until = _watched(day, windows, zone)
        moment = max(previous.end, watched_from)
        until = min(following.start, watched_until)
        while moment < until:
            if is_trading(moment):
                return GapKind.HOLE
            moment += step
    return GapKind.SESSION


def _watched(day: date, windows: Sequence[Window], zone: ZoneInfo) -> tuple[datetime, datetime]:
    """From midnight to the end of the last window, never past the day, in UTC."""
    midnight = datetime.combine(day, time(0), zone).astimezone(UTC)
    next_midnight = datetime.combine(day + timedelta(days=1), time(0), zone).astimezone(UTC)
    ends = [
        window.ends_on(begun_on)
        for window in windows
        for begun_on in (day - timedelta(days=1), day)
        if begun_on.weekday() in window.weekdays
    ]
    return midnight, min(max(ends, default=midnight), next_midnight)


def _check_header(row: list[str], symbol: str, line: int) -> None:
    names = tuple(name.strip().lstrip("\ufeff").lower() for name in row)
    if names != HEADER:
        _refuse(symbol, line, f"is not the header {','.join(HEADER)} but {','.join(row)[:80]!r}")


def _bar(row: list[str], symbol: str, interval_seconds: int, line: int, tz: str) -> Bar:
    if len(row) != len(HEADER):
        _refuse(symbol, line, f"has {len(row)} fields instead of {len(HEADER)}")
    values = []
    for name, text in zip(HEADER[1:], row[1:], strict=True):
        try:
            values.append(parse_decimal(text))
        except BadNumber as error:
            raise BadBars(_sentence(symbol, line, f"has no number as its {name}: {error}")) from error
    bar = Bar(symbol, _start(row[0], symbol, line), interval_seconds, *values)
    check_bar(bar, line, tz)
    return bar


def _start(text: str, symbol: str, line: int) -> datetime:
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadBars(_sentence(symbol, line, f"has a ts that is no time: {text[:40]!r}")) from error
    if start.utcoffset() is None:
        _refuse(symbol, line, f"has a ts without a zone: {text!r} (UTC is written with a Z at the end)")
    return start.astimezone(UTC)


def _check_order(previous: Bar, bar: Bar, line: int) -> None:
    if bar.start == previous.start:
        _refuse(bar.symbol, line, f"is a duplicate: the bar of {bar.start.isoformat()} was there already")
    if bar.start < previous.start:
        _refuse(bar.symbol, line, f"goes back in time: {bar.start.isoformat()} after {previous.start.isoformat()}")


def _refuse(symbol: str, line: int, what: str) -> NoReturn:
    raise BadBars(_sentence(symbol, line, what))


def _sentence(symbol: str, line: int, what: str) -> str:
    return f"{symbol}: line {line} {what}. Nothing of the file was used; correct the line or leave it out."
