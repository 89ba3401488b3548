"""The journal: everything that happened at the simulated brokers, in one sequence that testers read.

What always holds here: `seq` counts from 1 without a gap; rows are never changed; all numbers in them are strings.
Rows are kept as the text they are read as, because there are many of them and they are seldom read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .numbers import iso


@dataclass(slots=True)
class Journal:
    """Rows `{seq, at, kind, account, data}`."""

    lines: list[str] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The highest sequence number so far, 0 when empty."""
        return len(self.lines)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, oldest first."""
        found: list[dict[str, Any]] = json.loads(self.since(0))
        return found

    def add(self, kind: str, at: datetime, account: str, data: dict[str, Any]) -> None:
        """Append one row."""
        row = {"seq": len(self.lines) + 1, "at": iso(at), "kind": kind, "account": account, "data": data}
        self.lines.append(json.dumps(row, separators=(",", ":")))

    def since(self, seq: int, limit: int | None = None) -> str:
        """The JSON list of the rows with a higher sequence number, oldest first, `limit` at most."""
        first = max(0, seq)
        chosen = self.lines[first:] if limit is None else self.lines[first : first + limit]
        return f"[{','.join(chosen)}]"
