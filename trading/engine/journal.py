"""The engine's log for people and scripts: one JSON object a line, one file a day of the engine's time.

What always holds: it is a copy of what the database holds, never read back by the product; a replay that comes by
again writes nothing that it wrote before.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from .blocks import compact_json


class Journal:
    """Appends to `portfolio_live_YYYYMMDD.jsonl` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, kind: str, at: datetime, **fields: Any) -> None:
        """Append one line."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"portfolio_live_{at:%Y%m%d}.jsonl"
        with path.open("a", encoding="utf-8") as handle:
            handle.write(compact_json({"at": at, "kind": kind, **fields}) + "\n")
