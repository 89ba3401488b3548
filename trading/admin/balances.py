"""Balances and statements of ledger accounts, for the pages that show them."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from trading.models import LedgerAccount, Transfer
from trading.models.fields import Numeric

ZERO = Decimal(0)


def _side(side: str) -> Coalesce:
    summed = Transfer.objects.filter(**{side: OuterRef("pk")}).order_by().values(side).annotate(sum=Sum("amount"))
    return Coalesce(Subquery(summed.values("sum"), output_field=Numeric()), ZERO, output_field=Numeric())


def with_balance(accounts: Any) -> QuerySet[LedgerAccount]:
    """The ledger accounts with `balance`: debits − credits, in the account's commodity."""
    queryset: QuerySet[LedgerAccount] = accounts.annotate(balance=_side("debit") - _side("credit"))
    return queryset


def statement(account: LedgerAccount, balance: Decimal, limit: int) -> Iterator[tuple[Transfer, Decimal, Decimal]]:
    """The newest `limit` postings: the transfer, the signed amount, the balance after it. `balance` is today's."""
    postings = (
        Transfer.objects.filter(Q(debit=account) | Q(credit=account))
        .select_related("entry", "debit__account", "credit__account")
        .annotate(at=F("entry__at"))
        .order_by("-id")[:limit]
    )
    for transfer in postings:
        amount = transfer.amount if transfer.debit_id == account.pk else -transfer.amount
        yield transfer, amount, balance
        balance -= amount
