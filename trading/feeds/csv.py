"""Bars from CSV files, one file a symbol.

What always holds here: a file is read and validated as a whole before its first bar is used; whatever is wrong with
it (missing, unreadable, a bad line) is a sentence that names the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from trading.domain.bars import BadBars, Bar, BarFile, read_bars
from trading.domain.instruments import UnknownInstrument, instrument
from trading.feeds.base import FeedError


def parse_csv_arguments(arguments: Iterable[str]) -> dict[str, Path]:
    """`SYMBOL=FILE` arguments as a mapping. Raises `FeedError` for another form, an unknown or a repeated symbol."""
    files: dict[str, Path] = {}
    for argument in arguments:
        symbol, separator, name = argument.partition("=")
        if not separator or not symbol or not name:
            raise FeedError(f"{argument!r} is not of the form SYMBOL=FILE, for example EURUSD=bars.csv")
        try:
            instrument(symbol)
        except UnknownInstrument as error:
            raise FeedError(f"{argument!r}: {error}") from error
        if symbol in files:
            raise FeedError(f"two files were given for {symbol}: {files[symbol]} and {name}; give one")
        files[symbol] = Path(name)
    return files


class CsvFeed:
    """Bars of the given files, daily ones from midnight in `tz`. Each file is read once, when first asked for."""

    name = "csv"

    def __init__(self, files: Mapping[str, Path], tz: str = "UTC") -> None:
        self._files = dict(files)
        self._tz = tz
        self._read: dict[tuple[str, int], BarFile] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that files were given for."""
        return tuple(self._files)

    def file(self, symbol: str, interval_seconds: int) -> BarFile:
        """All bars of a symbol with their lines and identity. Raises `FeedError`."""
        key = (symbol, interval_seconds)
        if key not in self._read:
            self._read[key] = self._load(symbol, interval_seconds)
        return self._read[key]

    def bars(
        self, symbol: str, interval_seconds: int, *, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[Bar]:
        """See `Feed.bars`."""
        return [
            bar
            for bar in self.file(symbol, interval_seconds).bars
            if (since is None or bar.start >= since) and (until is None or bar.end <= until)
        ]

    def _load(self, symbol: str, interval_seconds: int) -> BarFile:
        path = self._files.get(symbol)
        if path is None:
            given = ", ".join(self._files) or "none"
            raise FeedError(f"no file was given for {symbol} (files were given for: {given})")
        try:
            with path.open(encoding="utf-8", newline="") as handle:
                return read_bars(handle, symbol, interval_seconds, self._tz)
        except BadBars as error:
            raise FeedError(f"{path}: {error}") from error
        except UnicodeDecodeError as error:
            raise FeedError(f"{path} is not a text file in UTF-8, so no bars for {symbol} can be read") from error
        except OSError as error:
            raise FeedError(f"{path} cannot be read ({error.strerror}), so there are no bars for {symbol}") from error
