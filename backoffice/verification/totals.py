"""What the accounts that decide have come to, by the ledger: all in all and by trading day, to compare digests with.

What always holds: P&L is added up from the ledger's transfers, not from the trades' own figures, which the invariants
compare with their fills; amounts of several currencies are not added (`pnl` is null then).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from backoffice.digest.books import choose
from trading.domain.digest import single
from trading.domain.money import ZERO
from trading.models import Trade
from trading.selectors.results import ledger_pnl

DAYS = 31


def totals(account: str = "") -> dict[str, Any]:
    """`totals{trades,r,pnl}` and the same by day, newest first, of the accounts that a digest would count."""
    rows: dict[Any, list[tuple[Decimal, str, Decimal]]] = defaultdict(list)
    for one in choose(account).deciding:
        closed = Trade.objects.filter(account=one, state=Trade.State.CLOSED)
        trades = list(closed.values_list("decision_id", "trading_day", "r"))
        booked = ledger_pnl(one, [decision for decision, _, _ in trades])
        for decision, day, r in trades:
            rows[day].append((booked[decision], one.currency, r))
    days = sorted(rows, reverse=True)[:DAYS]
    return {
        "totals": _sum([row for day in rows.values() for row in day]),
        "days": [{"date": day, **_sum(rows[day])} for day in days],
    }


def _sum(rows: Sequence[tuple[Decimal, str, Decimal]]) -> dict[str, Any]:
    pnl: dict[str, Decimal] = {}
    for amount, currency, _ in rows:
        pnl[currency] = pnl.get(currency, ZERO) + amount
    return {"trades": len(rows), "r": sum((r for _, _, r in rows), ZERO), "pnl": single(pnl)}
