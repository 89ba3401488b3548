"""The trial balance: what every ledger account had come to, by when it happened and by when we knew it.

What always holds: it is the sum of the transfers themselves, never of a snapshot or projection; `as_of` asks for what
had happened by then (`Entry.at`), `known_at` for what we had booked by then (`Entry.recorded_at`), both inclusive, and
both together for what we would have said at `known_at` about `as_of`; in every commodity the debits equal the credits,
because one transfer is both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.db import connection

from trading.domain.money import ZERO
from trading.models import Account, Commodity, LedgerAccount

# The accounting order: what is owned and owed, what is held, what was earned and paid, where it came from.
KINDS = {str(kind): place for place, kind in enumerate(LedgerAccount.Kind)}
# Without a limit of time the entries are not needed at all: both sums are read from the covering indexes.
_ALL = "SELECT t.debit_id, t.credit_id, t.amount FROM trading_transfer t"
_UP_TO = f"""{_ALL} JOIN trading_entry e ON e.id = t.entry_id
    WHERE (%(as_of)s::timestamptz IS NULL OR e.at <= %(as_of)s)
      AND (%(known_at)s::timestamptz IS NULL OR e.recorded_at <= %(known_at)s)
      AND (%(account)s::bigint IS NULL OR e.account_id = %(account)s)"""
_BALANCES = """
    WITH counted AS NOT MATERIALIZED ({counted}),
         debits AS (SELECT debit_id AS id, sum(amount) AS amount, count(*) AS number FROM counted GROUP BY 1),
         credits AS (SELECT credit_id AS id, sum(amount) AS amount, count(*) AS number FROM counted GROUP BY 1)
    SELECT l.id, a.id, a.name, l.kind, c.code, c.kind, coalesce(d.amount, 0), coalesce(k.amount, 0),
           coalesce(d.number, 0) + coalesce(k.number, 0)
    FROM trading_ledgeraccount l
    JOIN trading_account a ON a.id = l.account_id
    JOIN trading_commodity c ON c.code = l.commodity_id
    LEFT JOIN debits d ON d.id = l.id
    LEFT JOIN credits k ON k.id = l.id
    WHERE (d.id IS NOT NULL OR k.id IS NOT NULL)
      AND CASE WHEN %(account)s::bigint IS NULL THEN a.scope = '' ELSE a.id = %(account)s END
    ORDER BY c.kind = 'CURRENCY' DESC, c.code, a.name
"""


@dataclass(frozen=True, slots=True)
class Columns:
    """The two columns of a trial balance for one balance or a sum of them, and the movements that led there."""

    debits: Decimal = ZERO
    credits: Decimal = ZERO
    debit: Decimal = ZERO
    credit: Decimal = ZERO

    @property
    def balance(self) -> Decimal:
        """Debits − credits."""
        return self.debits - self.credits

    @property
    def is_balanced(self) -> bool:
        """Whether debits equal credits, in the movements and in the balances."""
        return self.debits == self.credits and self.debit == self.credit


@dataclass(frozen=True, slots=True)
class Row:
    """One ledger account: the sums of its debit and credit postings, and how many postings they are."""

    ledger_account_id: int
    account_id: int
    account_name: str
    kind: str
    commodity: str
    debits: Decimal
    credits: Decimal
    postings: int

    @property
    def columns(self) -> Columns:
        """Its balance stands in one of the two columns; zero stands in neither."""
        balance = self.debits - self.credits
        return Columns(self.debits, self.credits, max(balance, ZERO), max(-balance, ZERO))


@dataclass(frozen=True, slots=True)
class KindTotal:
    """All ledger accounts of one kind, and their sum."""

    kind: str
    rows: tuple[Row, ...]

    @property
    def columns(self) -> Columns:
        """The sum of its rows, column by column."""
        return total(row.columns for row in self.rows)


@dataclass(frozen=True, slots=True)
class CommodityBalance:
    """The trial balance of one currency, or of the contracts of one instrument."""

    commodity: str
    is_currency: bool
    kinds: tuple[KindTotal, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every ledger account, kind by kind."""
        return tuple(row for kind in self.kinds for row in kind.rows)

    @property
    def columns(self) -> Columns:
        """The sum of all rows, column by column."""
        return total(row.columns for row in self.rows)


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """Every commodity's balances at one moment; currencies first."""

    account: Account | None
    as_of: datetime | None
    known_at: datetime | None
    commodities: tuple[CommodityBalance, ...]

    @property
    def is_balanced(self) -> bool:
        """Whether debits equal credits in every commodity."""
        return all(part.columns.is_balanced for part in self.commodities)


def trial_balance(
    account: Account | None = None, *, as_of: datetime | None = None, known_at: datetime | None = None
) -> TrialBalance:
    """The balances of one account, or of all accounts of the desk's own world; one query.

    `as_of` leaves out what happened later, `known_at` what was booked later; without them everything counts. Ledger
    accounts without a posting by then are left out, those that came back to zero are not.
    """
    wanted: dict[str, Any] = {
        "account": account.pk if account is not None else None,
        "as_of": as_of,
        "known_at": known_at,
    }
    is_whole = account is None and as_of is None and known_at is None
    with connection.cursor() as cursor:
        cursor.execute(_BALANCES.format(counted=_ALL if is_whole else _UP_TO), wanted)
        found = [(row[5], Row(*row[:5], *row[6:])) for row in cursor.fetchall()]
    parts = []
    for commodity, group in groupby(found, key=lambda item: item[1].commodity):
        members = list(group)
        rows = sorted((row for _, row in members), key=lambda row: KINDS[row.kind])
        kinds = tuple(KindTotal(kind, tuple(same)) for kind, same in groupby(rows, key=lambda row: row.kind))
        parts.append(CommodityBalance(commodity, members[0][0] == Commodity.Kind.CURRENCY, kinds))
    return TrialBalance(account, as_of, known_at, tuple(parts))


def total(parts: Iterable[Columns]) -> Columns:
    """The sum of some rows, column by column."""
    debits = credits = debit = credit = ZERO
    for part in parts:
        debits, credits = debits + part.debits, credits + part.credits
        debit, credit = debit + part.debit, credit + part.credit
    return Columns(debits, credits, debit, credit)
