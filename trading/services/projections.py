"""Positions, trades, days and equity, projected from the facts.

What always holds: each function makes its rows what fills, lots, entries and marks say, whatever they were before:
rows that no fact asks for go, so calling it twice or late changes nothing, and so does the order in which the facts
were learned. Callers hold the account's lock. `services/rebuild.py` does the same for everything of an account.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from django.db import connection
from django.db.models import Count, Sum

from trading.domain.money import STORED_STEP, ZERO, round_to_step
from trading.models import Account, DayState, Decision, Instrument, OrderGroup, Position, Trade
from trading.selectors import books

from .trades import ClosedByOthers, decisions_touched_by, figures, fills_of, quote_rate

__all__ = [
    "decisions_touched_by",
    "fills_of",
    "project_day",
    "project_equity",
    "project_position",
    "project_trade",
    "project_trades",
    "quote_rate",
    "write_trade",
]

# The curve of an account from a moment on, in one statement. A point stands where a trade closed, and where an entry
# took effect that is not a strategy's own fill (which shows when its trade closes), nor moves what is only owed or
# counted, nor restates a fill that has its own entry. It says what all entries up to its moment have come to:
# trade-date cash, and with it what is held at cost. That is counted back from what all come to now: what moved since is
# little, while the time of each of an account's many entries would have to be looked up.
EQUITY = """
    WITH moments AS (
        SELECT t.closed_at AS at FROM trading_trade t
        WHERE t.account_id = %(account)s AND t.state = 'CLOSED' AND t.closed_at >= %(since)s
        UNION
        SELECT e.at FROM trading_entry e LEFT JOIN trading_fill f ON f.id = e.fill_id
        LEFT JOIN trading_order o ON o.id = f.order_id
        WHERE e.account_id = %(account)s AND e.at >= %(since)s AND e.kind NOT IN ('SETTLEMENT', 'SPLIT')
          AND e.idempotency_key NOT LIKE 'restated:%%'
          AND (f.id IS NULL OR f.application_id IS NOT NULL OR coalesce(o.decision_id, o.exit_intent_id) IS NULL)),
    later AS (
        SELECT e.id, e.at FROM trading_entry e
        WHERE e.account_id = %(account)s AND e.at > %(since)s AND EXISTS (SELECT 1 FROM moments)),
    books AS MATERIALIZED (
        SELECT k.id, k.kind IN ('CASH', 'UNSETTLED') AS is_cash FROM trading_ledgeraccount k
        WHERE k.account_id = %(account)s AND k.kind IN ('CASH', 'UNSETTLED', 'MARKET', 'TRADING')
          AND k.commodity_id = %(currency)s AND EXISTS (SELECT 1 FROM moments)),
    moved AS (
        SELECT l.at, coalesce(sum(p.amount) FILTER (WHERE b.is_cash), 0) AS cash, sum(p.amount) AS worth
        FROM later l JOIN ledger_posting p ON p.entry_id = l.id JOIN books b ON b.id = p.ledger_account_id GROUP BY 1),
    total AS (
        SELECT coalesce(sum(p.amount) FILTER (WHERE b.is_cash), 0) AS cash, coalesce(sum(p.amount), 0) AS worth
        FROM books b JOIN ledger_posting p ON p.ledger_account_id = b.id),
    moves AS (
        SELECT %(since)s::timestamptz AS at, t.cash - coalesce((SELECT sum(cash) FROM moved), 0) AS cash,
               t.worth - coalesce((SELECT sum(worth) FROM moved), 0) AS worth FROM total t
        UNION ALL SELECT at, cash, worth FROM moved
        UNION ALL SELECT at, 0, 0 FROM moments),
    sums AS (SELECT DISTINCT at, coalesce(sum(cash) OVER upto, 0) AS balance,
                    coalesce(sum(worth) OVER upto, 0) AS equity
             FROM moves WINDOW upto AS (ORDER BY at)),
    gone AS (DELETE FROM trading_equitypoint q WHERE q.account_id = %(account)s AND q.at >= %(since)s
               AND NOT EXISTS (SELECT 1 FROM moments m WHERE m.at = q.at))
    INSERT INTO trading_equitypoint AS q (account_id, at, balance, equity)
    SELECT %(account)s, at, balance, equity FROM sums WHERE at IN (SELECT at FROM moments) ORDER BY at
    ON CONFLICT (account_id, at) DO UPDATE SET balance = excluded.balance, equity = excluded.equity
        WHERE (q.balance, q.equity) IS DISTINCT FROM (excluded.balance, excluded.equity)
"""


def project_trade(account: Account, decision: Decision) -> Trade | None:
    """The round trip of a decision on an account, and what follows from it: its group, its days, points of the curve.

    None before the entry fills, and again when its entry was reversed.
    """
    return project_trades(account, [decision])[0]


def project_trades(
    account: Account, decisions: Iterable[Decision], *, since: datetime | None = None
) -> list[Trade | None]:
    """The round trips of several decisions; what they share is read once, and the curve computed once after them.

    `since` is the moment from which what was posted changes the curve, whatever became of the trades.
    """
    others: ClosedByOthers = {}
    moved = [since] if since is not None else []
    trades = [_project(account, decision, others, moved) for decision in decisions]
    if moved:
        project_equity(account, min(moved))
    return trades


def _project(account: Account, decision: Decision, others: ClosedByOthers, moved: list[datetime]) -> Trade | None:
    """One round trip without the curve; adds to `moved` the closes that came, went, or are at another moment now."""
    before = Trade.objects.filter(account=account, decision=decision).values_list("trading_day", "closed_at").first()
    day_before, closed_before = before or (None, None)
    trade = write_trade(account, decision, others)
    if trade is None and before is None:
        return None
    groups = OrderGroup.objects.filter(account=account, decision=decision)
    if trade is None or trade.state == Trade.State.CLOSED:
        groups.update(state=OrderGroup.State.CLOSED)
    else:  # one that is not safe stays so until something covers it
        groups.exclude(state=OrderGroup.State.UNSAFE).update(state=OrderGroup.State.OPEN)
    day_now, closed_now = (trade.trading_day, trade.closed_at) if trade is not None else (None, None)
    for day in {day_before, day_now}:
        if day is not None:
            project_day(account, day)
    if closed_before != closed_now:
        moved += [moment for moment in (closed_before, closed_now) if moment is not None]
    return trade


def write_trade(account: Account, decision: Decision, others: ClosedByOthers | None = None) -> Trade | None:
    """The row of a decision's trade alone; none when its facts make no trade. `others` as `figures` takes it."""
    wanted = figures(account, decision, others)
    if wanted is None:
        Trade.objects.filter(account=account, decision=decision).delete()
        return None
    trade, _ = Trade.objects.update_or_create(account=account, decision=decision, defaults=wanted)
    return trade


def project_position(account: Account, instrument: Instrument) -> Position:
    """The position of an instrument, from its open lots; what no open trade holds is external."""
    lots = books.open_lots(account, instrument)
    quantity = sum((lot.quantity * lot.side for lot in lots), ZERO)
    total = sum((lot.quantity for lot in lots), ZERO)
    cost = sum((lot.quantity * lot.unit_cost for lot in lots), ZERO)
    ours = ZERO
    for trade in Trade.objects.filter(account=account, instrument=instrument, state=Trade.State.OPEN):
        ours += trade.open_quantity if trade.side == "BUY" else -trade.open_quantity
    position, _ = Position.objects.update_or_create(
        account=account,
        instrument=instrument,
        defaults={
            "quantity": quantity,
            "external_quantity": quantity - ours,
            "average_price": round_to_step(cost / total, STORED_STEP) if total else None,
        },
    )
    return position


def project_day(account: Account, day: date) -> None:
    """A trading day, from the trades that closed on it; a day that no trade closed on has no row."""
    rows = Trade.objects.filter(account=account, trading_day=day, state=Trade.State.CLOSED)
    sums = rows.aggregate(trades=Count("id"), pnl=Sum("pnl"), r=Sum("r"))
    if sums["trades"]:
        DayState.objects.update_or_create(account=account, trading_day=day, defaults=sums)
    else:
        DayState.objects.filter(account=account, trading_day=day).delete()


def project_equity(account: Account, since: datetime) -> None:
    """The equity curve from a moment on: which points it has, and what each says (see EQUITY).

    The balance is trade-date cash. Shares count at what they cost, as margin positions count without their open
    profit: the curve shows what was made, and a purchase alone makes and loses nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute(EQUITY, {"account": account.pk, "currency": account.currency, "since": since})
