"""Balances of the ledger: the newest snapshot plus the transfers after it, or the sum of all transfers.

What always holds: both answer the same number, to the last digit, at every cut. A cut is the number of a transfer:
because every insert into the books holds one lock until it commits, transfers appear in the order of their numbers, so
"up to this one" means the same rows for ever. Snapshots are a cache: losing any of them costs time only. Proofs use
`full_balances`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from trading.domain.money import ZERO
from trading.models import Account, BalanceSnapshot, LedgerAccount, Transfer
from trading.models.fields import Numeric

NOW = 2**63 - 1
# What came after the oldest of the newest snapshots is read once, in the order of the transfers. Where there is no
# snapshot (a new ledger account), or none is wanted, transfers are found by side.
BALANCES = """
    WITH wanted AS MATERIALIZED (
        SELECT l.id, l.account_id, l.kind, l.commodity_id FROM trading_ledgeraccount l
        WHERE (%(account)s::bigint IS NULL OR l.account_id = %(account)s)
          AND (%(kind)s = '' OR l.kind = %(kind)s)
          AND (%(ledger_accounts)s::bigint[] IS NULL OR l.id = ANY(%(ledger_accounts)s::bigint[]))),
    newest AS MATERIALIZED (
        SELECT DISTINCT ON (b.ledger_account_id) b.ledger_account_id, b.last_transfer, b.balance
        FROM trading_balancesnapshot b JOIN wanted w ON w.id = b.ledger_account_id
        WHERE b.last_transfer <= %(cut)s AND %(from_snapshots)s
        ORDER BY b.ledger_account_id, b.last_transfer DESC),
    debits AS (
        SELECT t.debit_id AS ledger_account_id, sum(t.amount) AS amount
        FROM trading_transfer t JOIN newest s ON s.ledger_account_id = t.debit_id AND t.id > s.last_transfer
        WHERE t.id > (SELECT min(last_transfer) FROM newest) AND t.id <= %(cut)s GROUP BY 1),
    credits AS (
        SELECT t.credit_id AS ledger_account_id, sum(t.amount) AS amount
        FROM trading_transfer t JOIN newest s ON s.ledger_account_id = t.credit_id AND t.id > s.last_transfer
        WHERE t.id > (SELECT min(last_transfer) FROM newest) AND t.id <= %(cut)s GROUP BY 1)
    SELECT l.id AS ledger_account_id, l.account_id, l.kind, l.commodity_id,
           CASE WHEN s.balance IS NOT NULL THEN s.balance + coalesce(d.amount, 0) - coalesce(c.amount, 0)
                ELSE (SELECT coalesce(sum(t.amount), 0) FROM trading_transfer t
                      WHERE t.debit_id = l.id AND t.id <= %(cut)s)
                   - (SELECT coalesce(sum(t.amount), 0) FROM trading_transfer t
                      WHERE t.credit_id = l.id AND t.id <= %(cut)s) END AS amount
    FROM wanted l LEFT JOIN newest s ON s.ledger_account_id = l.id
    LEFT JOIN debits d ON d.ledger_account_id = l.id LEFT JOIN credits c ON c.ledger_account_id = l.id
"""


@dataclass(frozen=True, slots=True)
class LedgerBalance:
    """What one ledger account has come to: debits − credits, in its commodity."""

    ledger_account_id: int
    account_id: int
    kind: str
    commodity: str
    amount: Decimal


def balances(
    *,
    account: Account | None = None,
    kind: str = "",
    ledger_accounts: list[int] | None = None,
    cut: int = NOW,
) -> list[LedgerBalance]:
    """The balance of every ledger account (of one account, one kind, these ids), by account, commodity and kind.

    Read from the newest snapshot and the transfers after it. `cut` is the number of the last transfer that counts;
    without it, all that there are. Ledger accounts that nothing was posted to are zero. Over all kinds the amounts of
    each account and commodity add up to zero: the whole is a trial balance.
    """
    return _read(True, account, kind, ledger_accounts, cut)


def full_balances(
    *,
    account: Account | None = None,
    kind: str = "",
    ledger_accounts: list[int] | None = None,
    cut: int = NOW,
) -> list[LedgerBalance]:
    """The same from the sum of all transfers, whatever snapshots say."""
    return _read(False, account, kind, ledger_accounts, cut)


def with_balance(accounts: QuerySet[LedgerAccount]) -> QuerySet[LedgerAccount]:
    """The ledger accounts with `balance` (debits − credits, from snapshot and tail), for lists that sort and page."""
    newest = BalanceSnapshot.objects.filter(ledger_account=OuterRef("pk")).order_by("-last_transfer")
    kept = Coalesce(Subquery(newest.values("balance")[:1], output_field=Numeric()), ZERO, output_field=Numeric())
    return accounts.annotate(balance=kept + _tail("debit") - _tail("credit"))


def _tail(side: str) -> Coalesce:
    newest = BalanceSnapshot.objects.filter(ledger_account=OuterRef(OuterRef("pk"))).order_by("-last_transfer")
    after = Transfer.objects.filter(
        **{side: OuterRef("pk")}, id__gt=Coalesce(Subquery(newest.values("last_transfer")[:1]), 0)
    )
    summed = after.order_by().values(side).annotate(sum=Sum("amount"))
    return Coalesce(Subquery(summed.values("sum"), output_field=Numeric()), ZERO, output_field=Numeric())


def last_transfer() -> int:
    """The newest cut: the number of the last transfer in the books, 0 when there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM trading_transfer")
        return int(cursor.fetchone()[0])


def _read(
    from_snapshots: bool, account: Account | None, kind: str, ledger_accounts: list[int] | None, cut: int
) -> list[LedgerBalance]:
    wanted: dict[str, Any] = {
        "from_snapshots": from_snapshots,
        "account": account.pk if account is not None else None,
        "kind": kind,
        "ledger_accounts": ledger_accounts,
        "cut": cut,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT ledger_account_id, account_id, kind, commodity_id, amount FROM ({BALANCES}) b "
            "ORDER BY account_id, commodity_id, kind",
            wanted,
        )
        return [LedgerBalance(*row) for row in cursor.fetchall()]
