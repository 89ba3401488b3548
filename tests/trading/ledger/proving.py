"""The chain as the stand-alone verifier sees it, on any connection."""

from __future__ import annotations

from typing import Any

from trading.auditor.verify_books import SETTINGS, Source, verify


def report(cursor: Any, anchors: str = "", key: str = "") -> dict[str, Any]:
    """What the verifier finds in the transaction of a psycopg cursor; `anchors` is the text of an anchor file."""
    cursor.execute(SETTINGS)
    return verify(Source(None, cursor), anchors, key)
