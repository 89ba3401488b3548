"""What the books say: cash per currency, lots and positions per instrument. Derived from the ledger, never decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import connection

from trading.domain.money import ZERO
from trading.domain.splits import Split
from trading.models import Account, Instrument

from .balances import balances as balances_of


@dataclass(frozen=True, slots=True)
class OpenLotRow:
    """What is still open of a lot: side +1 or −1, units, cost per unit in the quote currency.

    `origin_id` is the fill that opened these units, `opened_at` when (of a pool at average cost: its first units).
    """

    lot_id: int
    side: int
    quantity: Decimal
    unit_cost: Decimal
    opened_at: datetime
    origin_id: int | None


@dataclass(frozen=True, slots=True)
class BookPosition:
    """What the books hold of an instrument: signed units and their average cost; `external` is not ours."""

    symbol: str
    quantity: Decimal
    average_price: Decimal | None
    external_quantity: Decimal


@dataclass(frozen=True, slots=True)
class Cash:
    """Cash of one currency: settled, and what fills of cash instruments still owe (below zero) or are owed."""

    settled: Decimal
    unsettled: Decimal

    @property
    def trade_date(self) -> Decimal:
        """What the account has once everything traded is paid: what brokers' cash is compared with."""
        return self.settled + self.unsettled


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What `fills` fills will have moved on a value date, signed as it moves settled cash."""

    settles_on: date
    currency: str
    amount: Decimal
    fills: int


# What the fills of one account still owe or are owed.
OUTSTANDING_BY_FILL = """
    SELECT e.fill_id, l.commodity_id AS currency, sum(p.amount) AS amount
    FROM trading_ledgeraccount l JOIN ledger_posting p ON p.ledger_account_id = l.id
    JOIN trading_entry e ON e.id = p.entry_id
    WHERE l.account_id = %s AND l.kind = 'UNSETTLED'
    GROUP BY e.fill_id, l.commodity_id HAVING sum(p.amount) <> 0
"""


def balances(account: Account, kind: str) -> dict[str, Decimal]:
    """The balance (debits − credits) of a kind of ledger account, per commodity; zero balances included."""
    return {row.commodity: row.amount for row in balances_of(account=account, kind=kind)}


def cash(account: Account) -> dict[str, Cash]:
    """Cash per currency, settled and on its way."""
    settled, unsettled = balances(account, "CASH"), balances(account, "UNSETTLED")
    return {
        currency: Cash(settled.get(currency, ZERO), unsettled.get(currency, ZERO))
        for currency in sorted({*settled, *unsettled})
    }


def cash_balances(account: Account) -> dict[str, Decimal]:
    """Trade-date cash per currency: what is settled and what fills still owe or are owed."""
    return {currency: held.trade_date for currency, held in cash(account).items()}


def cash_at(account: Account, currency: str, moment: datetime) -> Decimal:
    """Trade-date cash of a currency from entries effective up to a moment."""
    return balance_at(account, "CASH", currency, moment) + balance_at(account, "UNSETTLED", currency, moment)


def invested_at(account: Account, currency: str, moment: datetime) -> Decimal:
    """What cash instruments held at a moment had cost (a short position is below zero): cash that became units."""
    return balance_at(account, "MARKET", currency, moment)


def outstanding(account: Account) -> list[Outstanding]:
    """What is to be paid or received, by value date and currency, the earliest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT f.settles_on, o.currency, sum(o.amount), count(*)
            FROM ({OUTSTANDING_BY_FILL}) o JOIN trading_fill f ON f.id = o.fill_id
            GROUP BY 1, 2 ORDER BY 1, 2
            """,
            [account.pk],
        )
        return [Outstanding(*row) for row in cursor.fetchall()]


def due_fills(account: Account, day: date) -> list[tuple[int, str, Decimal]]:
    """Fills whose payment is due by that day and not settled: (fill, currency, amount), in the order of their dates."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT o.fill_id, o.currency, o.amount
            FROM ({OUTSTANDING_BY_FILL}) o JOIN trading_fill f ON f.id = o.fill_id
            WHERE f.settles_on <= %s ORDER BY f.settles_on, f.id
            """,
            [account.pk, day],
        )
        return list(cursor.fetchall())


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


def splits(account: Account, instrument: Instrument) -> list[Split]:
    """The approved splits of an instrument on an account, the earliest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT o.at, c.quantity, o.quantity
            FROM trading_entry e JOIN trading_fill c ON c.id = e.fill_id AND c.instrument_id = %s
            JOIN trading_fill o ON o.application_id = c.application_id AND o.instrument_id = c.instrument_id
                AND o.account_id = c.account_id AND o.side <> c.side AND o.id > c.id
            WHERE e.account_id = %s AND e.kind = 'SPLIT' ORDER BY o.id
            """,
            [instrument.pk, account.pk],
        )
        return [Split(*row) for row in cursor.fetchall()]


def open_lots(account: Account, instrument: Instrument) -> list[OpenLotRow]:
    """Lots with units left, those first whose units were opened first.

    That is the order of their rows: whatever puts units in another order (a fill told late, one that is taken back, a
    split) closes every lot and opens all of them in the right order.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT l.id, l.side, l.quantity - coalesce(sum(c.quantity), 0) AS open_quantity, l.unit_cost, l.opened_at,
                   coalesce(l.origin_id, l.fill_id)
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
