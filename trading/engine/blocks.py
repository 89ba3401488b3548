"""Machine-readable blocks on standard output: one line of compact JSON between a begin and an end line.

What always holds: decimals are written as exact JSON numbers, never through a float; times as UTC with a Z.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TextIO

from trading.domain.canonical import utc_text
from trading.domain.money import plain

_MARK = "\u0000"
_MARKED = re.compile(r'"\\u0000([^"]*)"')


def print_block(name: str, payload: dict[str, Any], out: TextIO | None = None) -> None:
    """Print `payload` as the block AXFL-`name`."""
    stream = out or sys.stdout
    stream.write(f"###BEGIN-AXFL-{name}###\n{compact_json(payload)}\n###END-AXFL-{name}###\n")
    stream.flush()


def compact_json(payload: Any) -> str:
    """One line of JSON with exact numbers."""
    return _MARKED.sub(r"\1", json.dumps(payload, separators=(",", ":"), default=_simple))


def _simple(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _MARK + plain(value)
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a block")
