"""The journal: everything that happened at the simulated brokers, in one sequence that testers read.

What always holds here: `seq` counts from 1 without a gap; rows are never changed; all numbers in them are strings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .numbers import iso


@dataclass(slots=True)
class Journal:
    """Rows `{seq, at, kind, account, data}`."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The highest sequence number so far, 0 when empty."""
        return len(self.rows)

    def add(self, kind: str, at: datetime, account: str, data: dict[str, Any]) -> None:
        """Append one row."""
        self.rows.append({"seq": len(self.rows) + 1, "at": iso(at), "kind": kind, "account": account, "data": data})

    def since(self, seq: int, limit: int | None = None) -> list[dict[str, Any]]:
        """Rows with a higher sequence number, oldest first."""
        first = max(0, seq)
        return self.rows[first:] if limit is None else self.rows[first : first + limit]
