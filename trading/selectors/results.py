"""What closed trades came to by the ledger alone: its transfers, never a projection."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.db import connection

from trading.domain.money import ZERO
from trading.models import Account

# What a fill's entries (reversals included) earned and cost: credits of the profit and cost accounts less debits.
_EARNED = """
    LATERAL (
        SELECT coalesce(sum(-p.amount) FILTER (WHERE k.kind = 'REALISED'), 0) AS realised,
               coalesce(sum(-p.amount) FILTER (WHERE k.kind IN ('COMMISSION', 'FINANCING', 'FEE')), 0) AS fees
        FROM trading_entry n JOIN ledger_posting p ON p.entry_id = n.id
        JOIN trading_ledgeraccount k ON k.id = p.ledger_account_id AND k.commodity_id = %(currency)s
        WHERE n.fill_id = f.id OR n.reverses_id IN (SELECT booked.id FROM trading_entry booked
                                                    WHERE booked.fill_id = f.id)
    ) e
"""
_OWN = f"""
    SELECT coalesce(o.decision_id, x.decision_id), sum(e.realised + e.fees)
    FROM trading_fill f JOIN trading_order o ON o.id = f.order_id
    LEFT JOIN trading_exitintent x ON x.id = o.exit_intent_id CROSS JOIN {_EARNED}
    WHERE f.account_id = %(account)s AND coalesce(o.decision_id, x.decision_id) = ANY(%(decisions)s) GROUP BY 1
"""
# Somebody else's fill closed units of ours: its profit belongs to the units it closed, its fees to all of its units.
_BY_OTHERS = f"""
    SELECT o.decision_id, c.quantity, f.quantity,
           (SELECT sum(s.quantity) FROM trading_lotclose s WHERE s.fill_id = f.id), e.realised, e.fees
    FROM trading_lotclose c JOIN trading_lot l ON l.id = c.lot_id JOIN trading_fill b ON b.id = l.fill_id
    JOIN trading_order o ON o.id = b.order_id JOIN trading_fill f ON f.id = c.fill_id CROSS JOIN {_EARNED}
    WHERE l.account_id = %(account)s AND f.order_id IS NULL AND o.decision_id = ANY(%(decisions)s)
    ORDER BY c.id
"""


def ledger_pnl(account: Account, decisions: Sequence[int]) -> dict[int, Decimal]:
    """P&L after fees of each decision's trade on an account, in the account's currency, from the ledger's transfers."""
    wanted: dict[str, Any] = {"account": account.pk, "currency": account.currency, "decisions": list(decisions)}
    found = dict.fromkeys(decisions, ZERO)
    with connection.cursor() as cursor:
        cursor.execute(_OWN, wanted)
        for decision, amount in cursor.fetchall():
            found[decision] += amount
        cursor.execute(_BY_OTHERS, wanted)
        for decision, closed, units, closing, realised, fees in cursor.fetchall():
            found[decision] += round(realised * closed / closing + fees * closed / units, 12)
    return found
