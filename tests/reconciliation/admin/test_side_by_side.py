"""Which cash stands beside a case's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from reconciliation.admin.side_by_side import rows
from reconciliation.models import Discrepancy


def test_a_balance_stands_once_whatever_its_case_is_called_and_beside_a_movement_of_it(
    case: Discrepancy, compare: Callable[..., None]
) -> None:
    compare("10700", times=2, cash=Decimal("99962"))
    of_cash = Discrepancy.objects.get(kind="CASH_UNEXPLAINED")

    def shown() -> list[str]:
        return [row.name for row in rows(of_cash) if row.name.startswith("Cash")]

    assert shown() == ["Cash"]
    of_cash.key = "statement:CASH:2026-11-20:USD"
    assert shown() == ["Cash"]
    of_cash.kind, of_cash.key = "FEE_NOT_BOOKED", "cash:17"
    assert shown() == ["Cash", "Cash USD"], "what a fee moved is not what the account has"
