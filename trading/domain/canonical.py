"""One text for one value: canonical JSON, and the sha256 of it.

What always holds here: equal values give equal text on every machine and in every run (keys sorted, no spaces,
numbers as plain decimal strings, times in UTC with microseconds and `Z`); a value whose text would be ambiguous (a
float, a time without a zone, a set, a key that is no string) is refused instead of guessed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any

from trading.domain.money import plain

_PLAIN = frozenset({str, int, bool, NoneType})


def canonical_json(value: Any) -> str:
    """The canonical JSON text of `value`: mappings, sequences, dataclasses, text, numbers, times, enums, None.

    Raises `TypeError` for what has no single text: floats, naive times, sets, keys that are not strings.
    """
    return json.dumps(simple(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_hex(text: str) -> str:
    """The sha256 of `text` in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def utc_text(moment: datetime) -> str:
    """An aware time as `2014-05-01T07:05:00.000000Z`. Raises `TypeError` for a naive one."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise TypeError(f"the time {moment!r} has no zone, so it names no moment")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def simple(value: Any) -> Any:
    """`value` as its canonical JSON says it, in lists and dictionaries of its own: what JSON columns keep.

    Raises `TypeError` as `canonical_json`.
    """
    if type(value) in _PLAIN:  # nearly everything: asked first, because a run says thousands of them
        return value
    if isinstance(value, Enum):
        return simple(value.value)
    if isinstance(value, str | int):
        return value
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: simple(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key): simple(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [simple(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no canonical text: {value!r}")


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is not a string")
    return key
