"""One digest of an account's books: equal digests are equal books, to the last digit.

What always holds: it names nothing that depends on when a row was written (no row numbers, no `recorded_at`, not the
account's own name), so that two accounts that lived through the same history, or one before and after its projections
were made anew, can be compared; orders are no part of it.
"""

from __future__ import annotations

from typing import Any

from django.db import connection

from trading.domain.canonical import canonical_json, sha256_hex
from trading.models import Account, DayState, EquityPoint, LedgerAccount, Position, Trade
from trading.selectors import books

_TRADE = (
    "decision__signal__bar_start", "strategy", "instrument__symbol", "side", "state", "quantity", "open_quantity",
    "entry_price", "exit_price", "initial_stop", "target", "risk_amount", "pnl", "fees", "r", "mfe_r", "mae_r",
    "opened_at", "closed_at", "trading_day", "close_reason",
)  # fmt: skip
_OPEN_LOTS = """
    SELECT i.symbol, l.side, l.quantity - coalesce(sum(c.quantity), 0), l.unit_cost, l.opened_at, f.external_id
    FROM trading_lot l JOIN trading_instrument i ON i.id = l.instrument_id
    LEFT JOIN trading_fill f ON f.id = coalesce(l.origin_id, l.fill_id)
    LEFT JOIN trading_lotclose c ON c.lot_id = l.id
    WHERE l.account_id = %s
    GROUP BY l.id, i.symbol, f.external_id HAVING l.quantity > coalesce(sum(c.quantity), 0) ORDER BY i.symbol, l.id
"""


def books_digest(account: Account) -> str:
    """SHA-256 of what `books_told` says."""
    return sha256_hex(canonical_json(books_told(account)))


def books_told(account: Account) -> dict[str, Any]:
    """What the digest is made of, part by part, to see in which of them two books differ.

    Balances per kind of ledger account and commodity (without zeros), open lots in the order in which a close takes
    them, with the broker's id of the fill that opened their units, positions, trades, days, and the equity curve.
    """
    balances = {
        str(kind): {
            code: amount.normalize() for code, amount in sorted(books.balances(account, kind).items()) if amount
        }
        for kind in LedgerAccount.Kind
    }
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_LOTS, [account.pk])
        lots = cursor.fetchall()
    return {
        "balances": {kind: held for kind, held in balances.items() if held},
        "lots": lots,
        "positions": _rows(Position, account, "instrument__symbol", "quantity", "external_quantity", "average_price"),
        "trades": _rows(Trade, account, *_TRADE),
        "days": _rows(DayState, account, "trading_day", "trades", "pnl", "r"),
        "equity": _rows(EquityPoint, account, "at", "balance", "equity"),
    }


def _rows(model: Any, account: Account, *fields: str) -> list[tuple[Any, ...]]:
    return list(model.objects.filter(account=account).order_by(*fields).values_list(*fields))
