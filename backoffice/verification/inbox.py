"""The inbox and the books: what the broker said is booked once,
with the broker's own numbers, in the broker's order."""

from __future__ import annotations

from .lots import lots_out_of_order
from .registry import Invariant, either

_FILLS = """
    SELECT b.id AS event_id, b.account_id, b.sequence, b.recorded_at, f->>'external_id' AS external_id,
           f->>'client_id' AS client_id, f->>'broker_order_id' AS broker_order_id, f->>'side' AS side,
           (f->>'quantity')::numeric AS quantity, (f->>'price')::numeric AS price, (f->>'realised')::numeric
               AS realised,
           (f->>'financing')::numeric AS financing, (f->>'commission')::numeric AS commission,
           f->>'instrument' AS instrument, f->>'opened_trade_id' AS opened, f->'closed' AS closed
    FROM trading_brokerevent b CROSS JOIN LATERAL jsonb_array_elements(coalesce(b.facts->'fills', '[]')) f
"""
_CASH = """
    SELECT b.id AS event_id, b.account_id, b.recorded_at, c->>'external_id' AS external_id, c->>'kind' AS kind,
           c->>'currency' AS currency, (c->>'amount')::numeric AS amount,
           coalesce(c->>'counter_currency', '') AS counter_currency,
           (c->>'counter_amount')::numeric AS counter_amount
    FROM trading_brokerevent b CROSS JOIN LATERAL jsonb_array_elements(coalesce(b.facts->'cash', '[]')) c
"""
# What the broker said of an event again, in other words: a busted or corrected execution or movement.
_SAID_AGAIN = """
    (SELECT b.id AS event_id, p AS part
     FROM trading_riskevent r
     JOIN trading_brokerevent b ON b.account_id = r.account_id AND b.external_id = r.numbers->>'event'
     CROSS JOIN LATERAL jsonb_array_elements(coalesce(nullif(r.numbers->'facts'->'{0}', 'null'), '[]')) p
     WHERE r.kind = 'EVENT_BODY_CHANGED')
"""
_CHANGED = """
    EXISTS (SELECT 1 FROM trading_riskevent r JOIN trading_brokerevent b ON b.account_id = r.account_id
            AND b.external_id = r.numbers->>'event' WHERE r.kind = 'EVENT_BODY_CHANGED' AND b.id = {0}.event_id)
"""
# What may wait outside the books: an event that a live case names, or, where the policy books nothing by itself, one
# that no complete run has seen yet.
_MAY_WAIT = """
    EXISTS (SELECT 1 FROM reconciliation_discrepancy d WHERE d.account_id = {0}.account_id
            AND d.state NOT IN ('CLOSED', 'CLEARED') AND d.evidence->'events' @> to_jsonb({0}.event_id))
    OR (NOT coalesce((v.body::jsonb->>'{1}')::boolean, true)
        AND NOT EXISTS (SELECT 1 FROM reconciliation_run r WHERE r.account_id = {0}.account_id
                        AND r.status = 'COMPLETE' AND r.started_at > {0}.recorded_at))
"""
_NET = """
    (SELECT coalesce(sum(p.amount), 0) FROM ledger_posting p JOIN trading_ledgeraccount l ON l.id = p.ledger_account_id
     WHERE p.entry_id = e.id AND l.kind IN ({}) AND l.commodity_id = {})
"""
_TRADE_DATE_CASH = "'CASH', 'UNSETTLED'"
# An execution of a cash instrument pays for its units; its broker names no realised profit.
_PAID = """
    CASE WHEN i.is_margin THEN {realised} WHEN {paid} THEN
         round(CASE {side} WHEN 'BUY' THEN -1 ELSE 1 END * {quantity} * {price} * i.multiplier, 12) ELSE 0 END
"""
_PAID_BY_FILL = _PAID.format(
    realised="f.realised", paid="f.settles_on IS NOT NULL", side="f.side", quantity="f.quantity", price="f.price"
)
_PAID_BY_EVENT = _PAID.format(
    realised="(f->>'realised')::numeric",
    paid="true",
    side="(f->>'side')",
    quantity="(f->>'quantity')::numeric",
    price="(f->>'price')::numeric",
)

INVARIANTS = (
    Invariant(
        id="I-05",
        title="Booked with the broker's own numbers",
        rule="A fill or cash movement says what the broker's event says, and its entry moves exactly that cash and "
        "those contracts.",
        means="the books moved by another amount than the account at the broker",
        todo="compare with the broker's transaction of that id; propose a correction, never a change of the row",
        looks_at="SELECT account_id FROM trading_fill UNION ALL SELECT account_id FROM trading_cashevent",
        find=either(
            f"""
            SELECT f.account_id, 'fill' AS object, f.id::text AS id,
                   concat(f.external_id, ' is booked as ', f.side, ' ', trim_scale(f.quantity), ' at ',
                       trim_scale(f.price),
                          ' realising ', trim_scale(f.realised), '; the broker''s event says ',
                          coalesce(concat(e.side, ' ', e.quantity, ' at ', e.price, ' realising ', e.realised),
                              'nothing'))
                       AS problem
            FROM trading_fill f JOIN trading_instrument i ON i.id = f.instrument_id
            LEFT JOIN ({_FILLS}) e ON e.event_id = f.broker_event_id
                AND e.external_id = split_part(f.external_id, '~', 1)
            WHERE f.broker_event_id IS NOT NULL
              AND ((f.side, f.quantity, f.price, f.financing, f.commission)
                   IS DISTINCT FROM (e.side, e.quantity, e.price, e.financing, e.commission)
                   OR (i.is_margin AND f.realised IS DISTINCT FROM e.realised))
              AND NOT EXISTS (
                  SELECT 1 FROM {_SAID_AGAIN.format("fills")} a
                  WHERE a.event_id = f.broker_event_id
                    AND a.part->>'external_id' = split_part(f.external_id, '~', 1)
                    AND (a.part->>'side', (a.part->>'quantity')::numeric, (a.part->>'price')::numeric)
                        = (f.side, f.quantity, f.price)
                    AND (NOT i.is_margin OR (a.part->>'realised')::numeric = f.realised))
            """,
            f"""
            SELECT c.account_id, 'cash event', c.id::text,
                   concat(c.external_id, ' is booked as ', c.kind, ' ', trim_scale(c.amount), ' ', c.currency,
                          '; the broker''s event says ', coalesce(concat(e.kind, ' ', e.amount, ' ', e.currency),
                              'nothing'))
            FROM trading_cashevent c
            LEFT JOIN ({_CASH}) e ON e.event_id = c.broker_event_id
                AND e.external_id = split_part(c.external_id, '~', 1)
            WHERE c.broker_event_id IS NOT NULL
              AND (c.kind, c.currency, c.amount, c.counter_currency, c.counter_amount)
                  IS DISTINCT FROM (e.kind, e.currency, e.amount, e.counter_currency, e.counter_amount)
              AND NOT EXISTS (
                  SELECT 1 FROM {_SAID_AGAIN.format("cash")} a
                  WHERE a.event_id = c.broker_event_id
                    AND a.part->>'external_id' = split_part(c.external_id, '~', 1)
                    AND (a.part->>'kind', a.part->>'currency', (a.part->>'amount')::numeric)
                        = (c.kind, c.currency, c.amount))
            """,
            f"""
            SELECT e.account_id, 'entry', e.id::text,
                   concat('moves ', trim_scale(m.cash), ' cash and ', trim_scale(m.units), ' units; fill ', f.id,
                       ' says ',
                          trim_scale(m.wanted_cash), ' and ', trim_scale(m.wanted_units))
            FROM trading_entry e JOIN trading_fill f ON f.id = e.fill_id
            JOIN trading_account a ON a.id = f.account_id JOIN trading_instrument i ON i.id = f.instrument_id
            CROSS JOIN LATERAL (
                SELECT {_NET.format(_TRADE_DATE_CASH, "a.currency")} AS cash,
                       {_NET.format("'POSITION'", "i.symbol")} AS units,
                       {_PAID_BY_FILL}
                           + f.financing + f.commission AS wanted_cash,
                       CASE f.side WHEN 'BUY' THEN f.quantity ELSE -f.quantity END AS wanted_units) m
            WHERE e.kind NOT IN ('REVERSAL', 'SETTLEMENT') AND e.idempotency_key NOT LIKE 'restated:%'
              AND (m.cash <> m.wanted_cash OR m.units <> m.wanted_units)
            """,
            f"""
            SELECT e.account_id, 'entry', e.id::text,
                   concat('moves ', trim_scale(m.cash), ' ', s.currency, '; cash event ', c.id, ' says ',
                       trim_scale(s.amount))
            FROM trading_entry e JOIN trading_cashevent c ON c.id = e.cash_event_id
            CROSS JOIN LATERAL (VALUES (c.currency, c.amount), (c.counter_currency, c.counter_amount))
                AS s (currency, amount)
            CROSS JOIN LATERAL (SELECT {_NET.format(_TRADE_DATE_CASH, "s.currency")} AS cash) m
            WHERE e.kind <> 'REVERSAL' AND m.cash <> s.amount
            """,
        ),
    ),
    Invariant(
        id="I-06",
        title="Every fill and cash movement is booked once",
        rule="A broker's execution or cash movement is at most one row, and each row has exactly one entry (beside "
        "the settlement of what it pays later).",
        means="money or units are in the books twice, or not at all",
        todo="run `reconcile`: the difference becomes a case; resolve it with four eyes",
        looks_at="SELECT account_id FROM trading_fill UNION ALL SELECT account_id FROM trading_cashevent",
        find=either(
            """
            SELECT f.account_id, 'fill' AS object, f.id::text AS id, concat('has ', count(e.id), ' entries') AS problem
            FROM trading_fill f
            LEFT JOIN trading_entry e ON e.fill_id = f.id AND e.kind NOT IN ('REVERSAL', 'SETTLEMENT')
                AND e.idempotency_key NOT LIKE 'restated:%'
            GROUP BY f.id HAVING count(e.id) <> 1
            """,
            """
            SELECT c.account_id, 'cash event', c.id::text, concat('has ', count(e.id), ' entries')
            FROM trading_cashevent c LEFT JOIN trading_entry e ON e.cash_event_id = c.id AND e.kind <> 'REVERSAL'
            GROUP BY c.id HAVING count(e.id) <> CASE WHEN c.amount = 0 THEN 0 ELSE 1 END
            """,
            """
            SELECT account_id, 'fill', string_agg(id::text, ',' ORDER BY id), concat('are all the execution ',
                external_id)
            FROM trading_fill GROUP BY account_id, external_id HAVING count(*) > 1
            """,
            """
            SELECT account_id, 'cash event', string_agg(id::text, ',' ORDER BY id),
                   concat('are all the movement ', external_id)
            FROM trading_cashevent GROUP BY account_id, external_id HAVING count(*) > 1
            """,
            """
            SELECT account_id, 'broker event', string_agg(id::text, ',' ORDER BY id), concat('are all the event ',
                external_id)
            FROM trading_brokerevent GROUP BY account_id, external_id HAVING count(*) > 1
            """,
        ),
    ),
    Invariant(
        id="R-07",
        title="What the broker reported of our own is in the books",
        rule="Every execution of an order of ours, and every typed cash movement, that the inbox holds is booked, or a "
        "live case names it.",
        means="the account at the broker has moved and our books have not: sizes and limits are computed on old "
        "numbers",
        todo="run `reconcile`; it books or raises what is waiting",
        looks_at="SELECT account_id FROM trading_brokerevent WHERE facts->'fills' <> '[]' OR facts->'cash' <> '[]'",
        find=either(
            f"""
            WITH waiting AS MATERIALIZED (
                SELECT f.* FROM ({_FILLS}) f
                LEFT JOIN trading_fill b ON b.account_id = f.account_id AND b.external_id = f.external_id
                WHERE b.id IS NULL AND NOT {_CHANGED.format("f")})
            SELECT f.account_id, 'broker event' AS object, f.event_id::text AS id,
                   concat('execution ', f.external_id, ' of our order ', o.id, ' is not in the books') AS problem
            FROM waiting f
            JOIN trading_order o ON o.account_id = f.account_id
                AND ((f.client_id <> '' AND o.client_order_id = f.client_id)
                     OR (f.broker_order_id <> '' AND (o.broker_order_id = f.broker_order_id
                         OR EXISTS (SELECT 1 FROM trading_orderalias l WHERE l.order_id = o.id
                                    AND l.broker_order_id = f.broker_order_id))))
            JOIN trading_account a ON a.id = f.account_id JOIN trading_configversion v ON v.id = a.policy_id
            WHERE NOT ({_MAY_WAIT.format("f", "apply_exact_own_fills")})
            """,
            f"""
            SELECT c.account_id, 'broker event', c.event_id::text,
                   concat(c.kind, ' ', c.amount, ' ', c.currency, ' (', c.external_id, ') is not in the books')
            FROM ({_CASH}) c
            JOIN trading_account a ON a.id = c.account_id JOIN trading_configversion v ON v.id = a.policy_id
            WHERE c.kind IN ('TRANSFER', 'FINANCING', 'DIVIDEND', 'FEE', 'TAX', 'CONVERSION')
              AND NOT {_CHANGED.format("c")}
              AND NOT EXISTS (SELECT 1 FROM trading_cashevent b
                              WHERE b.account_id = c.account_id AND b.external_id = c.external_id)
              AND NOT ({_MAY_WAIT.format("c", "apply_typed_cash_events")})
            """,
        ),
    ),
    Invariant(
        id="I-20",
        title="Lots are those of the broker's order",
        rule="The open lots of each instrument are those that its fills leave in the order of the broker's sequence, "
        "not of any clock and not of arrival (what people decided is a barrier between what came before and after): "
        "a fill that was told late closed every lot at its own cost and opened those of the right order.",
        means="lots were closed in another order than at the broker: cost and realised P&L of the lots differ",
        todo="compare the average price with the broker's; a difference is raised by `reconcile` as COST_BASIS",
        looks_at="SELECT account_id FROM trading_lot",
        find=lots_out_of_order,
    ),
    Invariant(
        id="I-23",
        title="The paper account's cash is what its broker says",
        rule="On a paper account every event's balance is the last one plus what the event moved, and the ledger's "
        "trade-date cash is the balance of the last event; realised P&L is the one that the fills' own prices give.",
        means="size and drawdown of the paper account, and of every mirror of it, are computed on wrong cash",
        todo="stop the strategies of the account; compare its events with its entries, and replay it on a new account",
        looks_at="SELECT b.account_id FROM trading_brokerevent b JOIN trading_account a ON a.id = b.account_id "
        "WHERE a.broker = 'PAPER'",
        find=either(
            f"""
            SELECT account_id, 'broker event' AS object, id::text AS id,
                   concat('says balance ', balance, '; what came before gives ', trim_scale(previous + moved))
                       AS problem
            FROM (SELECT b.id, b.account_id, (b.body->>'balance')::numeric AS balance, m.moved,
                         lag((b.body->>'balance')::numeric, 1, 0) OVER (PARTITION BY b.account_id ORDER BY b.sequence)
                             AS previous
                  FROM trading_brokerevent b JOIN trading_account a ON a.id = b.account_id AND a.broker = 'PAPER'
                  CROSS JOIN LATERAL (
                      SELECT coalesce((SELECT sum({_PAID_BY_EVENT}
                                              + (f->>'financing')::numeric + (f->>'commission')::numeric)
                                       FROM jsonb_array_elements(b.facts->'fills') f
                                       JOIN trading_instrument i ON i.symbol = f->>'instrument'), 0)
                             + coalesce((SELECT sum((c->>'amount')::numeric)
                                         FROM jsonb_array_elements(b.facts->'cash') c), 0) AS moved) m) x
            WHERE balance IS DISTINCT FROM previous + moved
            """,
            """
            SELECT a.id, 'account', a.id::text,
                   concat('has ', trim_scale(ledger.cash), ' ', a.currency, ' in the ledger; its last event says ',
                          coalesce(last.balance::text, 'nothing'))
            FROM trading_account a
            LEFT JOIN LATERAL (SELECT (b.body->>'balance')::numeric AS balance FROM trading_brokerevent b
                               WHERE b.account_id = a.id ORDER BY b.sequence DESC LIMIT 1) last ON true
            CROSS JOIN LATERAL (SELECT coalesce(sum(p.amount), 0) AS cash FROM trading_ledgeraccount l
                                JOIN ledger_posting p ON p.ledger_account_id = l.id
                                WHERE l.account_id = a.id AND l.kind IN ('CASH', 'UNSETTLED')
                                  AND l.commodity_id = a.currency) ledger
            WHERE a.broker = 'PAPER' AND ledger.cash IS DISTINCT FROM coalesce(last.balance, 0)
            """,
            f"""
            SELECT f.account_id, 'fill', f.id::text,
                   concat('realises ', trim_scale(f.realised), '; its prices give ',
                          trim_scale(round(coalesce(p.profit, 0), 5)))
            FROM trading_fill f
            JOIN trading_account a ON a.id = f.account_id AND a.broker = 'PAPER'
            JOIN trading_instrument i ON i.id = f.instrument_id AND i.quote = a.currency AND i.is_margin
            LEFT JOIN (
                SELECT c.account_id, c.external_id,
                       sum((c.price - o.price) * c.units * ci.multiplier * CASE o.side WHEN 'BUY' THEN 1 ELSE -1 END)
                           AS profit
                FROM (SELECT said.*, part->>0 AS trade, (part->>1)::numeric AS units
                      FROM ({_FILLS}) said CROSS JOIN LATERAL jsonb_array_elements(said.closed) part) c
                JOIN ({_FILLS}) o ON o.account_id = c.account_id AND o.opened = c.trade
                JOIN trading_instrument ci ON ci.symbol = c.instrument
                GROUP BY 1, 2) p ON p.account_id = f.account_id AND p.external_id = f.external_id
            WHERE abs(f.realised - coalesce(p.profit, 0)) > 0.00001
            """,
        ),
    ),
)
