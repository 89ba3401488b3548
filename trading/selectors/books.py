"""What the books say: cash per currency, lots and positions per instrument. Derived from the ledger, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from trading.domain.money import ZERO
from trading.models import Account, Instrument


@dataclass(frozen=True, slots=True)
class OpenLotRow:
    """What is still open of a lot: side +1 or −1, units, cost per unit in the quote currency."""

    lot_id: int
    side: int
    quantity: Decimal
    unit_cost: Decimal
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class BookPosition:
    """What the books hold of an instrument: signed units and their average cost; `external` is not ours."""

    symbol: str
    quantity: Decimal
    average_price: Decimal | None
    external_quantity: Decimal


def balances(account: Account, kind: str) -> dict[str, Decimal]:
    """The balance (debits − credits) of a kind of ledger account, per commodity; zero balances included."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT a.commodity_id, coalesce(sum(p.amount), 0)
            FROM trading_ledgeraccount a LEFT JOIN ledger_posting p ON p.ledger_account_id = a.id
            WHERE a.account_id = %s AND a.kind = %s GROUP BY 1
            """,
            [account.pk, kind],
        )
        return dict(cursor.fetchall())


def cash_balances(account: Account) -> dict[str, Decimal]:
    """Cash per currency."""
    return balances(account, "CASH")


def balance_at(account: Account, kind: str, commodity: str, moment: datetime) -> Decimal:
    """The balance (debits − credits) of one ledger account from entries effective up to a moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(sum(p.amount), 0)
            FROM trading_ledgeraccount a JOIN ledger_posting p ON p.ledger_account_id = a.id
            JOIN trading_entry e ON e.id = p.entry_id
            WHERE a.account_id = %s AND a.kind = %s AND a.commodity_id = %s AND e.at <= %s
            """,
            [account.pk, kind, commodity, moment],
        )
        return Decimal(cursor.fetchone()[0])


def open_lots(account: Account, instrument: Instrument) -> list[OpenLotRow]:
    """Lots with units left, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT l.id, l.side, l.quantity - coalesce(sum(c.quantity), 0) AS open_quantity, l.unit_cost, l.opened_at
            FROM trading_lot l LEFT JOIN trading_lotclose c ON c.lot_id = l.id
            WHERE l.account_id = %s AND l.instrument_id = %s
            GROUP BY l.id HAVING l.quantity > coalesce(sum(c.quantity), 0) ORDER BY l.id
            """,
            [account.pk, instrument.pk],
        )
        return [OpenLotRow(*row) for row in cursor.fetchall()]


def positions(account: Account) -> dict[str, BookPosition]:
    """What the books hold per symbol, from open lots; flat instruments are left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH left_over AS (
                SELECT l.instrument_id, l.side, l.unit_cost, l.quantity - coalesce(sum(c.quantity), 0) AS units
                FROM trading_lot l LEFT JOIN trading_lotclose c ON c.lot_id = l.id
                WHERE l.account_id = %s GROUP BY l.id)
            SELECT i.symbol, sum(o.side * o.units), sum(o.units), sum(o.units * o.unit_cost),
                   coalesce((SELECT sum(CASE t.side WHEN 'BUY' THEN t.open_quantity ELSE -t.open_quantity END)
                             FROM trading_trade t
                             WHERE t.account_id = %s AND t.instrument_id = i.id AND t.state = 'OPEN'), 0)
            FROM left_over o JOIN trading_instrument i ON i.id = o.instrument_id
            WHERE o.units > 0 GROUP BY i.id ORDER BY i.symbol
            """,
            [account.pk, account.pk],
        )
        rows = cursor.fetchall()
    return {
        symbol: BookPosition(symbol, quantity, cost / units if units else None, quantity - ours)
        for symbol, quantity, units, cost, ours in rows
        if quantity != ZERO
    }
