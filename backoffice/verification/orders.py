"""Orders: what they have come to is the fold of their events and fills, along the table of states, with evidence."""

from __future__ import annotations

from trading.domain.orders import ALLOWED

from .registry import Invariant, either

_ALLOWED = ", ".join(f"('{source}', '{target}', {move.late})" for (source, target), move in sorted(ALLOWED.items()))
_CHAIN = """
    SELECT e.id, e.order_id, o.account_id, e.from_state, e.to_state, e.reason, e.message_id, e.broker_event_id,
           e.application_id,
           lag(e.to_state, 1, '') OVER steps AS before, row_number() OVER steps AS number
    FROM trading_orderevent e JOIN trading_order o ON o.id = e.order_id
    WINDOW steps AS (PARTITION BY e.order_id ORDER BY e.sequence)
"""
_RAISED = """
    EXISTS (SELECT 1 FROM trading_riskevent r
            WHERE r.kind = 'LATE_FILL' AND r.account_id = {0}.account_id AND r.numbers->>'order' = {1}::text)
    OR EXISTS (SELECT 1 FROM trading_fill f WHERE f.order_id = {1} AND f.application_id IS NOT NULL)
"""

# A fill that stands: its entry was not reversed.
_STANDS = """
    NOT EXISTS (SELECT 1 FROM trading_entry b JOIN trading_entry r ON r.reverses_id = b.id
                WHERE b.fill_id = f.id AND b.kind <> 'SETTLEMENT')
"""
# A fill's units after every approved split of its instrument on the account since then.
_UNITS_OF_NOW = """
    SELECT coalesce(round(f.quantity * exp(sum(ln(n.quantity / c.quantity))), 6), f.quantity) AS units
    FROM trading_entry e JOIN trading_fill c ON c.id = e.fill_id AND c.instrument_id = f.instrument_id
    JOIN trading_fill n ON n.application_id = c.application_id AND n.instrument_id = c.instrument_id
        AND n.account_id = c.account_id AND n.side <> c.side AND n.id > c.id
    WHERE e.account_id = f.account_id AND e.kind = 'SPLIT' AND n.at > f.at
"""

INVARIANTS = (
    Invariant(
        id="I-07",
        title="Filled quantity is the sum of the fills",
        rule="An order's filled quantity and average price are those of its fills that stand in the books, and it is "
        "never filled beyond its quantity without that having been raised.",
        means="stops, exits and limits are computed from a quantity that was not traded",
        todo="run `reconcile`; compare the order's fills with the broker's, and pause the strategy until they agree",
        looks_at="SELECT account_id FROM trading_order",
        find=either(
            f"""
            SELECT o.account_id, 'order' AS object, o.id::text AS id,
                   concat('says ', trim_scale(o.filled_quantity), ' filled at ', trim_scale(o.average_price),
                          '; its fills say ', trim_scale(f.quantity), ' at ', trim_scale(round(f.price, 12))) AS problem
            FROM trading_order o
            CROSS JOIN LATERAL (SELECT coalesce(sum(quantity), 0) AS quantity,
                                       sum(quantity * price) / nullif(sum(quantity), 0) AS price
                                FROM trading_fill f WHERE order_id = o.id AND {_STANDS}) f
            WHERE o.filled_quantity <> f.quantity
               OR (o.average_price IS NULL) <> (f.price IS NULL) OR abs(o.average_price - f.price) > 0.000000001
            """,
            f"""
            SELECT o.account_id, 'order', o.id::text,
                   concat('filled ', trim_scale(o.filled_quantity), ' of ', trim_scale(o.quantity),
                       ', and nobody was told')
            FROM trading_order o
            WHERE o.filled_quantity < 0 OR (o.filled_quantity > o.quantity AND NOT ({_RAISED.format("o", "o.id")}))
            """,
        ),
    ),
    Invariant(
        id="I-08",
        title="Orders move along the table of states",
        rule="Each transition starts where the last one ended, is in the table, begins with PLANNED; a fill after the "
        "end was raised; and the order stands where its last event says.",
        means="we may believe an order dead that lives at the broker, or the other way round",
        todo="look the order up at the broker, run `reconcile`, and do not resend it",
        looks_at="SELECT o.account_id FROM trading_orderevent e JOIN trading_order o ON o.id = e.order_id",
        find=either(
            f"""
            SELECT c.account_id, 'order event' AS object, c.id::text AS id,
                   concat('order ', c.order_id, ': ', coalesce(nullif(c.before, ''), 'nothing'), ' is followed by ',
                          coalesce(nullif(c.from_state, ''), 'nothing'), ' → ', c.to_state) AS problem
            FROM ({_CHAIN}) c
            LEFT JOIN (VALUES {_ALLOWED}) AS allowed (source, target, late)
                ON allowed.source = c.from_state AND allowed.target = c.to_state
            WHERE c.from_state <> c.before OR (c.number = 1 AND c.to_state <> 'PLANNED')
               OR (c.number > 1 AND allowed.source IS NULL)
            """,
            f"""
            SELECT c.account_id, 'order event', c.id::text,
                   concat('order ', c.order_id, ' filled after it had ended ', c.from_state, ', and nobody was told')
            FROM ({_CHAIN}) c
            JOIN (VALUES {_ALLOWED}) AS allowed (source, target, late)
                ON allowed.source = c.from_state AND allowed.target = c.to_state AND allowed.late
            WHERE NOT ({_RAISED.format("c", "c.order_id")})
            """,
            """
            SELECT o.account_id, 'order', o.id::text,
                   concat('is ', o.state, '; its last event says ', coalesce(last.to_state, 'nothing'))
            FROM trading_order o
            LEFT JOIN LATERAL (SELECT to_state FROM trading_orderevent e WHERE e.order_id = o.id
                               ORDER BY sequence DESC LIMIT 1) last ON true
            WHERE last.to_state IS DISTINCT FROM o.state
            """,
        ),
    ),
    Invariant(
        id="I-09",
        title="A fill is on the order it belongs to",
        rule="Account, instrument and side of a fill are those of its order.",
        means="a trade was booked on the wrong order, so P&L and open risk of two strategies are wrong",
        todo="compare the fill with the broker's transaction of that id, and propose a correction",
        looks_at="SELECT account_id FROM trading_fill WHERE order_id IS NOT NULL",
        find="""
            SELECT f.account_id, 'fill' AS object, f.id::text AS id,
                   concat(f.side, ' of instrument ', f.instrument_id, ' on account ', f.account_id, '; its order ',
                       o.id,
                          ' is ', o.side, ' of instrument ', o.instrument_id, ' on account ', o.account_id) AS problem
            FROM trading_fill f JOIN trading_order o ON o.id = f.order_id
            WHERE f.account_id <> o.account_id OR f.instrument_id <> o.instrument_id OR f.side <> o.side
        """,
    ),
    Invariant(
        id="R-03",
        title="What the broker did is never guessed",
        rule="A fill needs the broker's event; at a real broker an order leaves SENDING, UNKNOWN, WORKING or "
        "CANCELLING "
        "for another state of the broker's only with a message or an event as evidence, or by two people's decision; "
        "what was surely not sent may go back to PLANNED without one.",
        means="an order was called filled, ended or refused without the broker having said so",
        todo="look the order up at the broker and run `reconcile`; nothing is resent before that",
        looks_at="SELECT o.account_id FROM trading_orderevent e JOIN trading_order o ON o.id = e.order_id "
        "WHERE e.from_state NOT IN ('', 'PLANNED')",
        find=either(
            f"""
            SELECT c.account_id, 'order event' AS object, c.id::text AS id,
                   concat('order ', c.order_id, ' became ', c.to_state, ' without an event of the broker') AS problem
            FROM ({_CHAIN}) c
            WHERE c.to_state IN ('PARTIAL', 'FILLED') AND c.broker_event_id IS NULL AND c.message_id IS NULL
            """,
            f"""
            SELECT c.account_id, 'order event', c.id::text,
                   concat('order ', c.order_id, ' went from ', c.from_state, ' to ', c.to_state, ' without evidence')
            FROM ({_CHAIN}) c JOIN trading_account a ON a.id = c.account_id
            WHERE a.broker <> 'PAPER' AND c.message_id IS NULL AND c.broker_event_id IS NULL
              AND c.application_id IS NULL AND c.from_state NOT IN ('', 'PLANNED')
              AND c.reason NOT LIKE 'INVALID_REQUEST:%'
              AND NOT (c.from_state = 'SENDING' AND c.to_state = 'PLANNED' AND c.reason ~ '^(NOT_SENT|NEEDS_LOGIN):')
              AND c.to_state IN ('PLANNED', 'WORKING', 'CANCELLED', 'REJECTED', 'EXPIRED')
            """,
        ),
    ),
    Invariant(
        id="I-16b",
        title="A strategy closes no more than it opened",
        rule="The exit fills of a decision on an account never exceed its entry fills, unless that was raised.",
        means="an exit has opened a position in the other direction that no strategy guards",
        todo="pause the account, run `reconcile`, and close the excess under an approved resolution",
        looks_at="SELECT f.account_id FROM trading_fill f JOIN trading_order o ON o.id = f.order_id "
        "WHERE o.decision_id IS NOT NULL OR o.exit_intent_id IS NOT NULL",
        find=f"""
            SELECT s.account_id, 'decision' AS object, s.decision_id::text AS id,
                   concat('closed ', trim_scale(s.closed), ' of ', trim_scale(s.opened), ' units') AS problem
            FROM (SELECT f.account_id, coalesce(o.decision_id, x.decision_id) AS decision_id, max(o.id) AS order_id,
                         coalesce(sum(u.units) FILTER (WHERE o.tag = 'ENTRY'), 0) AS opened,
                         coalesce(sum(u.units) FILTER (WHERE o.tag <> 'ENTRY'), 0) AS closed
                  FROM trading_fill f JOIN trading_order o ON o.id = f.order_id
                  CROSS JOIN LATERAL ({_UNITS_OF_NOW}) u
                  LEFT JOIN trading_exitintent x ON x.id = o.exit_intent_id
                  WHERE coalesce(o.decision_id, x.decision_id) IS NOT NULL AND {_STANDS} GROUP BY 1, 2) s
            WHERE s.closed > s.opened AND NOT ({_RAISED.format("s", "s.order_id")})
        """,
    ),
    Invariant(
        id="I-21",
        title="Histories have no gap",
        rule="The events of each order, and of each discrepancy, are numbered from 1 without a gap.",
        means="a step of an order's or a case's history is missing: somebody removed it, or it was never written",
        todo="restore the row from the latest backup and find out who could remove it",
        looks_at="SELECT o.account_id FROM trading_orderevent e JOIN trading_order o ON o.id = e.order_id",
        find=either(
            """
            SELECT o.account_id, 'order' AS object, o.id::text AS id,
                   concat('has ', count(*), ' events numbered ', min(e.sequence), ' to ', max(e.sequence)) AS problem
            FROM trading_orderevent e JOIN trading_order o ON o.id = e.order_id
            GROUP BY o.id HAVING min(e.sequence) <> 1 OR max(e.sequence) <> count(*)
            """,
            """
            SELECT d.account_id, 'discrepancy', d.id::text,
                   concat('has ', count(*), ' events numbered ', min(e.sequence), ' to ', max(e.sequence))
            FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
            GROUP BY d.id HAVING min(e.sequence) <> 1 OR max(e.sequence) <> count(*)
            """,
        ),
    ),
)
