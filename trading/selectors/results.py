"""What closed trades came to by the ledger alone: its transfers, never a projection."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.db import connection

from trading.domain.money import ZERO
from trading.models import Account, Fill, Instrument
from trading.selectors.lot_history import ClosedByOther, closed_by_others

# What a fill's entries (reversals included) earned and cost: credits of the profit and cost accounts less debits. Each
# of the two ways to an entry has its index; asked for with OR, all entries were read for each fill.
_EARNED = """
    LATERAL (
        SELECT coalesce(sum(-p.amount) FILTER (WHERE k.kind = 'REALISED'), 0) AS realised,
               coalesce(sum(-p.amount) FILTER (WHERE k.kind IN ('COMMISSION', 'FINANCING', 'FEE')), 0) AS fees
        FROM (SELECT own.id FROM trading_entry own WHERE own.fill_id = f.id
              UNION SELECT undone.id FROM trading_entry booked JOIN trading_entry undone
                  ON undone.reverses_id = booked.id WHERE booked.fill_id = f.id) n
        JOIN ledger_posting p ON p.entry_id = n.id
        JOIN trading_ledgeraccount k ON k.id = p.ledger_account_id AND k.commodity_id = %(currency)s
    ) e
"""
_OWN = f"""
    SELECT coalesce(o.decision_id, x.decision_id), sum(e.realised + e.fees)
    FROM trading_fill f JOIN trading_order o ON o.id = f.order_id
    LEFT JOIN trading_exitintent x ON x.id = o.exit_intent_id CROSS JOIN {_EARNED}
    WHERE f.account_id = %(account)s AND coalesce(o.decision_id, x.decision_id) = ANY(%(decisions)s) GROUP BY 1
"""
_OF_FILLS = f"SELECT f.id, e.realised, e.fees FROM trading_fill f CROSS JOIN {_EARNED} WHERE f.id = ANY(%(fills)s)"


def ledger_pnl(account: Account, decisions: Sequence[int]) -> dict[int, Decimal]:
    """P&L after fees of each decision's trade on an account, in the account's currency, from the ledger's transfers.

    Where somebody else's fill closed units of ours, its profit belongs to the units it closed, its fees to all it had.
    """
    wanted: dict[str, Any] = {"account": account.pk, "currency": account.currency, "decisions": list(decisions)}
    found = dict.fromkeys(decisions, ZERO)
    with connection.cursor() as cursor:
        cursor.execute(_OWN, wanted)
        for decision, amount in cursor.fetchall():
            found[decision] += amount
        closes = _closed_by_others(account, decisions)
        cursor.execute(_OF_FILLS, {**wanted, "fills": [close.fill.pk for _, close in closes]})
        earned = {fill: (realised, fees) for fill, realised, fees in cursor.fetchall()}
    for decision, close in closes:
        realised, fees = earned[close.fill.pk]
        part = realised * close.quantity / close.closing + fees * close.quantity / close.fill.quantity
        found[decision] += round(part, 12)
    return found


def _closed_by_others(account: Account, decisions: Sequence[int]) -> list[tuple[int, ClosedByOther]]:
    opened = Fill.objects.filter(account=account, order__decision_id__in=decisions)
    own = dict(opened.values_list("pk", "order__decision_id"))
    instruments = Instrument.objects.filter(pk__in=opened.values("instrument_id"))
    closes = [close for instrument in instruments for close in closed_by_others(account, instrument)]
    return [(own[close.opened_by], close) for close in closes if close.opened_by in own]
