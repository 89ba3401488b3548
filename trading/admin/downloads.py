"""Tables of the books as CSV: numbers as plain text, times in ISO 8601 UTC, written to the audit trail.

What always holds: the audit event is committed before the first line leaves; no cell begins a spreadsheet's formula.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.http import HttpRequest, StreamingHttpResponse

from trading.domain.money import plain
from trading.models import Account, LedgerAccount, User
from trading.services import audit
from trading.services.audit import Actor

FORMULA = ("=", "+", "-", "@", "\t", "\r")
ALL_ACCOUNTS = "all accounts"


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def download(
    request: HttpRequest,
    *,
    name: str,
    columns: Iterable[str],
    rows: Iterable[Iterable[Any]],
    account: Account | None,
    subject: LedgerAccount | None = None,
    said: str,
) -> StreamingHttpResponse:
    """The rows as a file, after the trail says who took what; `said` is which moments were asked for."""
    user = request.user
    actor = Actor.of(user, via="admin") if isinstance(user, User) else Actor.current()
    with transaction.atomic():
        audit.record(
            kind="books.exported",
            actor=actor,
            account=account,
            obj=subject,
            after={"account": account.name if account is not None else ALL_ACCOUNTS, "format": "csv", "file": name},
            reason=said,
        )
    answer = StreamingHttpResponse(_lines(columns, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _lines(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(columns)
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.isoformat()
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
