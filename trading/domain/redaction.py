"""Taking secrets out of what is kept for ever: by the name of the field, by shape, and by what is known.

What always holds: what comes out is plain JSON and holds none of the given secrets, in whatever text they stood;
redacting twice changes nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from trading.domain.canonical import utc_text
from trading.domain.money import plain

HIDDEN = "[secret]"
SHORTEST = 6
"""Shorter texts are no secrets: replacing them would make holes in words."""
_NAMES = re.compile(
    r"passw|passphrase|secret|token|api_?key|private_?key|authorization|cookie|session_?key|credential|webhook|csrf",
    re.IGNORECASE,
)
_SHAPES = (
    re.compile(r"\b(?:pbkdf2_sha\d+|argon2\w*|bcrypt\w*|scrypt|md5|unsalted_\w+)\$\S+"),  # hashes of passwords
    re.compile(r"(?i)(?<=\bbearer )\S+"),
    re.compile(r"(?<=://)[^\s/@]+(?=@)"),  # name and password in an address
    re.compile(r"(?<=/api/webhooks/)\S+"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
)


# What every one of the shapes has in it: most texts have none, and are looked at once instead of five times.
_SIGNS = re.compile(r"\$|bearer |://|/api/webhooks/|-----BEGIN ", re.IGNORECASE)


def redacted(value: Any, secrets: Iterable[str] = ()) -> Any:
    """A value as plain JSON (decimals and times as text), every secret replaced by `[secret]`.

    Raises TypeError for what JSON cannot say.
    """
    known = sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True)
    return _clean(value, known)


def redacted_text(text: str, secrets: Iterable[str] = ()) -> str:
    """The same of a text."""
    known = sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True)
    return _text(text, known)


def _clean(value: Any, known: list[str]) -> Any:
    if isinstance(value, Enum):
        return _clean(value.value, known)
    if isinstance(value, str):
        return _text(value, known)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            _text(str(name), known): HIDDEN if _NAMES.search(str(name)) and item else _clean(item, known)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_clean(item, known) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(_clean(item, known) for item in value)
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    raise TypeError(f"{type(value).__name__} cannot be kept in an audit event: {value!r:.80}")


def _text(text: str, known: list[str]) -> str:
    for secret in known:
        text = text.replace(secret, HIDDEN)
    if _SIGNS.search(text):
        for shape in _SHAPES:
            text = shape.sub(HIDDEN, text)
    return text
