"""Running the invariants: all of them at one moment, reading only.

What always holds: everything is read in one repeatable-read, read-only transaction, so that a busy desk is seen at
one moment; a check that cannot run is itself a violation, never a silent pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connection, transaction

from . import audit, books, cash, database, four_eyes, hashes, inbox, intent, orders, positions, protection, trades
from . import chain as sealed
from . import reconciliation as cases
from . import snapshots as kept
from .registry import Invariant, Offence
from .totals import totals

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

KEPT = 100
INVARIANTS: tuple[Invariant, ...] = (
    *intent.INVARIANTS,
    *orders.INVARIANTS,
    *protection.INVARIANTS,
    *inbox.INVARIANTS,
    *books.INVARIANTS,
    *cash.INVARIANTS,
    *positions.INVARIANTS,
    *trades.INVARIANTS,
    *kept.INVARIANTS,
    *four_eyes.INVARIANTS,
    *cases.INVARIANTS,
    *audit.INVARIANTS,
    *hashes.INVARIANTS,
    *sealed.INVARIANTS,
    *database.INVARIANTS,
)
_CANNOT_CHECK = (DatabaseError, ArithmeticError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Result:
    """What one invariant came to: rows looked at, rows that break it (the first hundred are kept)."""

    invariant: Invariant
    looked_at: int
    count: int
    rows: tuple[Offence, ...]

    @property
    def ok(self) -> bool:
        """True when nothing breaks it."""
        return self.count == 0


@dataclass(frozen=True, slots=True)
class Report:
    """All results, the names of the accounts they speak of, and what those that decide have come to."""

    results: tuple[Result, ...]
    accounts: dict[int, str]
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True when every invariant holds."""
        return all(result.ok for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """The `--json` document."""
        return {
            "ok": self.ok,
            "checked": len(self.results),
            "violations": [
                {
                    "id": result.invariant.id,
                    "title": result.invariant.title,
                    "rows": [
                        {
                            "account": self.accounts.get(row.account_id) if row.account_id is not None else None,
                            "object": row.object,
                            "id": row.id,
                            "problem": row.problem,
                        }
                        for row in result.rows
                    ],
                    "count": result.count,
                }
                for result in self.results
                if not result.ok
            ],
            "looked_at": {result.invariant.id: result.looked_at for result in self.results},
            **self.figures,
        }


class UnknownAccount(LookupError):
    """There is no account of that name. The text says which there are."""


def run_all(*, account: str = "", invariants: Sequence[Invariant] = INVARIANTS) -> Report:
    """Check every invariant at one moment; with `account` only that account's rows and what belongs to none.

    Writes nothing. Raises UnknownAccount, and RuntimeError inside another transaction.
    """
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # A big ledger takes longer than a screen may: this transaction alone may run for an hour.
        cursor.execute("SET LOCAL statement_timeout = '1h'")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '1h'")
        cursor.execute("SELECT id, name FROM trading_account ORDER BY name")
        accounts = dict(cursor.fetchall())
        wanted = _account_id(accounts, account)
        results = []
        for invariant in invariants:
            try:
                with transaction.atomic():  # a check that fails must not take the others with it
                    results.append(check(cursor, invariant, account_id=wanted))
            except _CANNOT_CHECK as error:
                results.append(_unknown(invariant, error))
        try:
            with transaction.atomic():
                figures = totals(account)
        except _CANNOT_CHECK:
            figures = {"totals": None}
        return Report(tuple(results), accounts, figures)


def _account_id(accounts: dict[int, str], name: str) -> int | None:
    if not name:
        return None
    for pk, known in accounts.items():
        if known == name:
            return pk
    told = ", ".join(accounts.values()) or "none yet"
    raise UnknownAccount(f"There is no account {name!r}; nothing was checked. Known are: {told}.")


def check(cursor: CursorWrapper, invariant: Invariant, *, account_id: int | None = None) -> Result:
    """Check one invariant on an open transaction. Raises what the database raises when it cannot be carried out."""
    cursor.execute(
        f"SELECT count(*) FROM ({invariant.looks_at}) v "
        "WHERE %(account)s::bigint IS NULL OR account_id IS NULL OR account_id = %(account)s",
        {"account": account_id},
    )
    looked_at = int(cursor.fetchone()[0])
    count = 0
    kept: list[Offence] = []
    for offence in _offences(cursor, invariant):
        if account_id is None or offence.account_id in (None, account_id):
            count += 1
            if len(kept) < KEPT:
                kept.append(offence)
    return Result(invariant, looked_at, count, tuple(kept))


def _unknown(invariant: Invariant, error: Exception) -> Result:
    sentence = (str(error).strip().splitlines() or [type(error).__name__])[0]
    told = f"could not be carried out, so nothing is known: {sentence}"
    return Result(invariant, 0, 1, (Offence(None, "check", invariant.id, told),))


def _offences(cursor: CursorWrapper, invariant: Invariant) -> Iterator[Offence]:
    if callable(invariant.find):
        yield from invariant.find(cursor)
        return
    cursor.execute(invariant.find)
    for row in cursor.fetchall():
        yield Offence(*row)
