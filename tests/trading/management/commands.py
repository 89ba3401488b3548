"""Run a management command in this process, as `manage.py` would, and keep what it said and how it ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.trading.engine.market import DAYS, make_bars, write_csv
from tests.trading.engine.running import SYMBOLS
from tests.trading.services.sessions import session_text

CREDENTIALS = ("OANDA_API_KEY", "OANDA_ACCOUNT_ID", "OANDA_URL", "OANDA_ENV", "SIMULATOR_URL", "ALPACA_API_KEY",
               "ALPACA_SECRET_KEY")  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The payloads of all LIVE-PORT blocks, numbers as text."""
        lines = self.out.splitlines()
        assert lines[0::3] == ["###BEGIN-AXFL-LIVE-PORT###"] * (len(lines) // 3), self.out
        assert lines[2::3] == ["###END-AXFL-LIVE-PORT###"] * (len(lines) // 3)
        return [json.loads(line, parse_float=str, parse_int=str) for line in lines[1::3]]


@dataclass
class Files:
    """A session file and bar files in a folder of the test's own; logs go there too."""

    folder: Path

    @property
    def cfg(self) -> Path:
        """The session file."""
        return self.folder / "sessions.yaml"

    def bars(self, symbol: str) -> Path:
        """The file of a symbol's bars."""
        return self.folder / f"{symbol}.csv"

    def edit(self, symbol: str, number: int, *lines: str) -> None:
        """Put other lines in the place of one; lines count from 1, the header is the first."""
        path = self.bars(symbol)
        present = path.read_text().splitlines()
        path.write_text("\n".join([*present[: number - 1], *lines, *present[number:]]) + "\n")

    def line(self, symbol: str, number: int) -> str:
        """A line of a file."""
        return self.bars(symbol).read_text().splitlines()[number - 1]

    def arguments(self, symbols: tuple[str, ...] = SYMBOLS) -> list[str]:
        """The flags of a replay of these files."""
        named = [part for symbol in symbols for part in ("--csv", f"{symbol}={self.bars(symbol)}")]
        return ["--cfg", str(self.cfg), "--mode", "replay", "--source", "csv", *named]


def make_files(folder: Path, *, days: int = 2) -> Files:
    """The generated market and a session for it."""
    files = Files(folder)
    files.cfg.write_text(session_text(SYMBOLS))
    for symbol in SYMBOLS:
        write_csv(files.bars(symbol), make_bars(symbol, days=DAYS[:days]))
    return files


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    """Run it."""
    capfd.readouterr()
    code = 0
    try:
        call_command(*arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capfd.readouterr()
    return Ended(code, said.out, said.err)
