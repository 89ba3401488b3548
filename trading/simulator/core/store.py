"""The inputs on disk: an append-only file of one JSON object a line, from which the world is rebuilt.

What always holds here: a line is written in one piece before anybody sees the answer to it, so a killed process loses
nothing that was seen; a half-written last line was never answered and is cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Store:
    """The file of inputs; without a directory nothing is kept."""

    def __init__(self, directory: Path | None) -> None:
        self.path = None if directory is None else directory / "inputs.ndjson"
        self._file = -1
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

    def entries(self) -> Iterator[dict[str, Any]]:
        """All inputs so far, oldest first. A damaged line other than the last raises ValueError."""
        if self.path is None or not self.path.exists():
            return
        with self.path.open("rb") as file:
            kept = 0
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{self.path}, line {number} cannot be read: {error}") from None
                kept += len(line)
                yield entry
        if kept < self.path.stat().st_size:
            os.truncate(self.path, kept)

    def open(self) -> None:
        """Get ready to append."""
        if self.path is not None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def append(self, entry: dict[str, Any]) -> None:
        """Keep one input."""
        if self._file >= 0:
            data = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
            while data:
                data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Nothing more will be kept."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
