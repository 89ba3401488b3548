"""The steps of a run, written set-based: a run may find thousands of differences at once.

What always holds: a thousand cases take as many statements as one; each step leaves its case, its event and its
audit as if it had been written alone (the tests do so beside it); rows come first, append-only tables last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from django.db import connection
from django.db.models import Max
from psycopg.types.json import Jsonb

from reconciliation.domain.lifecycle import QUIET, Step
from reconciliation.models import Discrepancy, DiscrepancyEvent, Run
from trading.models import Account, Instrument
from trading.services import audit
from trading.services.audit import Actor

from .discrepancies import audit_of, event_of, lock_instruments, stepped

_Row = TypeVar("_Row")
SLICE = 1_000
"""Cases a statement: no transaction stands idle for long while the next ones are made ready."""
_STAYS = {"id", "account", "fingerprint", "owner", "labels"}
"""Columns that no step of a run changes."""

_Taken = tuple[Step, Discrepancy, str]
"""A step, the case after it, and its state before ("" for a new one)."""


def carry_out(
    *, account: Account, run: Run, steps: tuple[Step, ...], rows: dict[str, Discrepancy], actor: Actor
) -> None:
    """Write the steps of a run, in the caller's transaction; the caller holds the account's lock."""
    instruments = _instruments(steps)
    taken: list[_Taken] = []
    for some in _slices(steps):
        for step in some:
            known = instruments.get(step.finding.instrument) if step.finding is not None else None
            row, before = stepped(rows.get(step.fingerprint), step, account=account, run=run, instrument=known)
            taken.append((step, row, before))
        done = taken[-len(some) :]
        _save([row for _, row, _ in done])
    for loud in _slices([each for each in taken if each[0].kind not in QUIET]):
        _append(account, run, loud, actor)
    lock_instruments(account, actor)


def _slices(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    return (rows[begin : begin + SLICE] for begin in range(0, len(rows), SLICE))


def _instruments(steps: Iterable[Step]) -> dict[str, Instrument]:
    symbols = {step.finding.instrument for step in steps if step.finding is not None and step.finding.instrument}
    return {each.symbol: each for each in Instrument.objects.filter(symbol__in=symbols)}


def _save(rows: list[Discrepancy]) -> None:
    """New cases and changed ones alike; the new ones learn their numbers."""
    fields = [field.name for field in Discrepancy._meta.concrete_fields if field.name not in _STAYS]
    known = [row for row in rows if row.pk is not None]
    Discrepancy.objects.bulk_create([row for row in rows if row.pk is None])
    Discrepancy.objects.bulk_create(
        known,
        update_conflicts=True,
        unique_fields=["fingerprint"],
        update_fields=fields,
    )


def _append(account: Account, run: Run, taken: Sequence[_Taken], actor: Actor) -> None:
    standing = [row.pk for _, row, before in taken if before]
    last: dict[int, int] = {}
    if standing:
        numbers = DiscrepancyEvent.objects.filter(discrepancy__in=standing).order_by().values_list("discrepancy")
        last = dict(numbers.annotate(last=Max("sequence")))
    events, drafts = [], []
    for step, row, before in taken:
        reason = step.reason or row.cause
        event = event_of(
            row, step.kind, before, sequence=last.get(row.pk, 0) + 1, at=run.at, actor=actor, reason=reason
        )
        event.run = run
        events.append(event)
        drafts.append(audit_of(row, step.kind, before, account=account, at=run.at, actor=actor, reason=reason))
    _copy(events)
    audit.record_all(drafts)


def _copy(events: list[DiscrepancyEvent]) -> None:
    """Append events without asking for their numbers, which nobody needs here."""
    fields = [field for field in DiscrepancyEvent._meta.concrete_fields if not field.primary_key]
    names = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(DiscrepancyEvent._meta.db_table)
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for event in events:
                values = [getattr(event, field.attname) for field in fields]
                copy.write_row([Jsonb(value) if isinstance(value, dict) else value for value in values])
