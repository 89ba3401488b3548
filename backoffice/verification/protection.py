"""Protection: an open trade has a stop that covers it, an ended one leaves no order behind, and a group says so.

What always holds here: at a real broker the rows of one moment may arrive in two reads (that a target's fill has ended
the stop, before the fill), so a trade counts only once its last fill and the end of its stop were learned a minute ago;
the paper book writes them together and has no such grace.
"""

from __future__ import annotations

from .registry import Invariant, either

_SETTLED = """
    (t.account_id, t.decision_id) NOT IN (
        SELECT f.account_id, coalesce(fo.decision_id, fx.decision_id)
        FROM trading_fill f JOIN trading_order fo ON fo.id = f.order_id
        JOIN trading_account fa ON fa.id = f.account_id AND fa.broker <> 'PAPER'
        LEFT JOIN trading_exitintent fx ON fx.id = fo.exit_intent_id
        WHERE f.recorded_at > now() - interval '60 seconds' AND num_nonnulls(fo.decision_id, fx.decision_id) > 0)
    AND NOT EXISTS (
        SELECT 1 FROM trading_order so JOIN trading_orderevent se ON se.order_id = so.id
        JOIN trading_account sa ON sa.id = so.account_id AND sa.broker <> 'PAPER'
        WHERE so.account_id = t.account_id AND so.decision_id = t.decision_id AND so.tag = 'STOP'
          AND se.to_state IN ('FILLED', 'CANCELLED', 'EXPIRED', 'REJECTED')
          AND se.recorded_at > now() - interval '60 seconds')
    AND NOT EXISTS (SELECT 1 FROM trading_ordergroup g
                    WHERE g.account_id = t.account_id AND g.decision_id = t.decision_id AND g.state = 'UNSAFE')
"""

INVARIANTS = (
    Invariant(
        id="R-08",
        title="Protection equals exposure",
        rule="Every open trade has a live stop for at least what is open (or its exit is on its way, or the case is "
        "raised); an ended trade has no live stop or target; or its group says UNSAFE.",
        means="a position may run without a stop, or a left-over order may open a new one",
        todo="look at the position at the broker at once; place the stop or cancel the left-over there, then "
        "`reconcile`",
        looks_at="SELECT account_id FROM trading_trade",
        find=either(
            f"""
            SELECT t.account_id, 'trade' AS object, t.id::text AS id,
                   concat('holds ', trim_scale(t.open_quantity), ' units and no live stop covers them') AS problem
            FROM trading_trade t
            WHERE t.state = 'OPEN' AND {_SETTLED}
              AND coalesce((SELECT sum(o.quantity - o.filled_quantity) FROM trading_order o
                            WHERE o.account_id = t.account_id AND o.decision_id = t.decision_id AND o.tag = 'STOP'
                              AND o.state IN ('WORKING', 'PARTIAL', 'CANCELLING', 'UNKNOWN')), 0) < t.open_quantity
              AND NOT EXISTS (SELECT 1 FROM trading_exitintent x WHERE x.account_id = t.account_id
                              AND x.decision_id = t.decision_id AND x.state IN ('PLANNED', 'SUBMITTED', 'PARTIAL'))
              AND NOT EXISTS (SELECT 1 FROM reconciliation_discrepancy d WHERE d.account_id = t.account_id
                              AND d.kind IN ('UNPROTECTED_POSITION', 'PARTIAL_PROTECTION')
                              AND d.state NOT IN ('CLOSED', 'CLEARED'))
            """,
            f"""
            SELECT t.account_id, 'order', o.id::text,
                   concat(o.tag, ' is still ', o.state, ' although trade ', t.id, ' has ended')
            FROM trading_trade t
            JOIN trading_order o ON o.account_id = t.account_id AND o.decision_id = t.decision_id
                AND o.tag IN ('STOP', 'TP1', 'TP2') AND o.state IN ('PLANNED', 'WORKING', 'PARTIAL')
            WHERE t.state = 'CLOSED' AND {_SETTLED}
              AND NOT EXISTS (SELECT 1 FROM reconciliation_discrepancy d WHERE d.account_id = t.account_id
                              AND d.kind = 'OCO_ORPHAN' AND d.key = 'order:' || o.client_order_id
                              AND d.state NOT IN ('CLOSED', 'CLEARED'))
            """,
            """
            SELECT g.account_id, 'order group', g.id::text,
                   concat('is ', g.state, ' and its trade is ', coalesce(t.state, 'not there'))
            FROM trading_ordergroup g
            LEFT JOIN trading_trade t ON t.account_id = g.account_id AND t.decision_id = g.decision_id
            WHERE g.state <> 'UNSAFE' AND (t.state <> g.state OR (t.id IS NULL AND g.state = 'OPEN'))
            """,
        ),
    ),
)
