"""Run an engine in a test and keep what it printed; look at every table there is."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import connection

from tests.trading.engine.market import make_bars
from tests.trading.services.sessions import make_session
from trading.domain.bars import Bar, BarFile, bars_sha256
from trading.domain.session import SessionConfig
from trading.engine.blocks import print_block
from trading.engine.journal import Journal
from trading.engine.replay import run_replay
from trading.engine.stage import Stage
from trading.engine.status import RunInfo

SYMBOLS = ("EURUSD", "XAUUSD")


def bar_file(bars: Sequence[Bar]) -> BarFile:
    """Bars as they come out of a file."""
    return BarFile(bars[0].symbol, 300, tuple(bars), tuple(range(2, len(bars) + 2)), bars_sha256(bars))


def market_files(symbols: Sequence[str] = SYMBOLS, **how: Any) -> dict[str, BarFile]:
    """The generated market, a file a symbol, in the order given."""
    return {symbol: bar_file(make_bars(symbol, **how)) for symbol in symbols}


def replay(
    folder: Path,
    files: Mapping[str, BarFile] | None = None,
    *,
    session: SessionConfig | None = None,
    stage: Stage | None = None,
) -> str:
    """Run a replay; the text of all blocks that it printed."""
    out = io.StringIO()
    run_replay(
        session=session or make_session(SYMBOLS),
        files=files or market_files(),
        info=RunInfo(mode="replay", source="csv", mirror="oanda" if stage else "none"),
        emit=lambda payload: print_block("LIVE-PORT", payload, out),
        progress=lambda done, total, day: None,
        journal=Journal(folder),
        stage=stage,
    )
    return out.getvalue()


def blocks(text: str) -> list[dict[str, Any]]:
    """The payloads of the blocks in a text, numbers as text."""
    lines = text.splitlines()
    assert lines[0::3] == ["###BEGIN-AXFL-LIVE-PORT###"] * (len(lines) // 3)
    assert lines[2::3] == ["###END-AXFL-LIVE-PORT###"] * (len(lines) // 3)
    return [json.loads(line, parse_float=str, parse_int=str) for line in lines[1::3]]


def row_counts() -> dict[str, int]:
    """How many rows every table of ours has."""
    counts = {}
    with connection.cursor() as cursor:
        for model in apps.get_models():
            cursor.execute(f"SELECT count(*) FROM {model._meta.db_table}")
            counts[model._meta.db_table] = cursor.fetchone()[0]
    return counts
