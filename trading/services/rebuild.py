"""Rebuild: all projections of an account made again from the facts, and compared with what stood.

What always holds: an account is done in one transaction under its lock, so that nobody sees half of it and a failure
leaves what stood; afterwards every column of every row is what the facts say, and rows that no fact asks for are gone,
as if the tables had been emptied first; rows that stay keep their numbers, because links and the audit trail name them.
A check does the very same and takes it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.db import connection, models, transaction

from trading.domain.canonical import utc_text
from trading.domain.money import plain
from trading.locks import lock_account
from trading.models import Account, DayState, Decision, EquityPoint, Fill, Instrument, Position, Trade

from . import audit, projections, trades
from .audit import Actor
from .snapshots import retake_snapshots

KEYS: dict[type[models.Model], str] = {
    Trade: "decision_id",
    Position: "instrument_id",
    DayState: "trading_day",
    EquityPoint: "at",
}
"""The projections in the order in which they depend on each other, and what tells an account's rows apart."""

Rows = dict[Any, dict[str, Any]]
Progress = Callable[[int, int], None]
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that stood differently. `how` is changed, missing or surplus; `fields` (name, stood, facts say)."""

    table: str
    key: str
    how: str
    fields: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the rebuild of an account found: rows that were equal, by table, and every row that was not."""

    account: str
    equal: dict[str, int]
    differences: tuple[Difference, ...]
    snapshots: int = 0

    def count(self, table: str, how: str) -> int:
        """Rows of a table that were changed, missing or surplus."""
        return sum(1 for one in self.differences if (one.table, one.how) == (table, how))


def rebuild(account: Account, *, actor: Actor, check: bool = False, progress: Progress | None = None) -> Rebuilt:
    """Make the account's projections from the facts; with `check` only say what that would change.

    Not inside a transaction of the caller's, unless a test rolls it back. Raises what the database raises when the
    account stays busy for a minute; nothing has changed then.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:  # long books take longer than a screen may
            cursor.execute("SET LOCAL statement_timeout = '1h'")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '1h'")
            cursor.execute("SET LOCAL lock_timeout = '60s'")
        lock_account(account.pk)
        before = {model: _rows(model, account) for model in KEYS}
        _make(account, progress or _silent)
        found = _compare(account, before, {model: _rows(model, account) for model in KEYS})
        if check:
            transaction.set_rollback(True)
            return found
        taken = retake_snapshots(account)
        audit.record(
            kind="projections.rebuilt",
            actor=actor,
            account=account,
            obj=account,
            after={
                "projections": "trades, positions, days and equity",
                "rows": dict(found.equal),
                "difference": len(found.differences),
                "changed": [f"{one.how}: {one.table} {one.key}" for one in found.differences[:100]],
            },
        )
        return Rebuilt(found.account, found.equal, found.differences, taken)


def _make(account: Account, progress: Progress) -> None:
    decisions = trades.decisions_traded(account)
    instruments = Instrument.objects.filter(pk__in=Fill.objects.filter(account=account).values("instrument"))
    total, done = len(decisions) + len(instruments) + 2, 0
    Trade.objects.filter(account=account).exclude(decision__in=decisions).delete()
    for pk in decisions:
        projections.write_trade(account, Decision.objects.select_related("signal__instrument").get(pk=pk))
        done += 1
        progress(done, total)
    Position.objects.filter(account=account).exclude(instrument__in=instruments).delete()
    for instrument in instruments:
        projections.project_position(account, instrument)
        done += 1
        progress(done, total)
    told: set[date | None] = set(Trade.objects.filter(account=account).values_list("trading_day", flat=True))
    told |= set(DayState.objects.filter(account=account).values_list("trading_day", flat=True))
    for day in told:
        if day is not None:
            projections.project_day(account, day)
    progress(done + 1, total)
    projections.project_equity(account, _BEGINNING)
    progress(total, total)


def _silent(done: int, total: int) -> None:
    """Nobody looks."""


def _rows(model: type[models.Model], account: Account) -> Rows:
    """The account's rows by their key, with every column that the facts decide."""
    names = [
        field.attname
        for field in model._meta.concrete_fields
        if not field.primary_key and not getattr(field, "auto_now", False)
    ]
    rows = model._default_manager.filter(account=account).values(*names)
    return {row[KEYS[model]]: row for row in rows}


def _compare(
    account: Account, before: dict[type[models.Model], Rows], after: dict[type[models.Model], Rows]
) -> Rebuilt:
    equal: dict[str, int] = {}
    differences: list[Difference] = []
    for model in KEYS:
        table = str(model._meta.verbose_name)
        found = list(_differences(table, before[model], after[model]))
        differences += found
        equal[table] = len(after[model]) - sum(1 for one in found if one.how != "surplus")
    return Rebuilt(account.name, equal, tuple(differences))


def _differences(table: str, before: Rows, after: Rows) -> Iterator[Difference]:
    for key in sorted({*before, *after}):
        stood, wanted = before.get(key), after.get(key)
        if stood is None or wanted is None:
            yield Difference(table, _text(key), "missing" if stood is None else "surplus")
        elif stood != wanted:
            fields = [(name, _text(stood[name]), _text(wanted[name])) for name in wanted if stood[name] != wanted[name]]
            yield Difference(table, _text(key), "changed", tuple(fields))


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value) if value.is_finite() else str(value)
    return utc_text(value) if isinstance(value, datetime) else "nothing" if value is None else str(value)
