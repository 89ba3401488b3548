"""Positions and lots: four ways to the same quantity, and no close without something that closed it."""

from __future__ import annotations

from .registry import Invariant, either

_LEFT_OVER = """
    SELECT l.account_id, l.instrument_id, l.side, l.unit_cost,
           l.quantity - coalesce((SELECT sum(c.quantity) FROM trading_lotclose c WHERE c.lot_id = l.id), 0) AS units
    FROM trading_lot l
"""

# A fill f that was booked and of which nothing stands in the books any more.
TAKEN_BACK = """
    (EXISTS (SELECT 1 FROM trading_entry e JOIN trading_entry r ON r.reverses_id = e.id WHERE e.fill_id = f.id)
     AND NOT EXISTS (SELECT 1 FROM trading_entry e
                     WHERE e.fill_id = f.id AND e.kind NOT IN ('SETTLEMENT', 'REVERSAL')
                       AND e.idempotency_key NOT LIKE 'restated:%'
                       AND NOT EXISTS (SELECT 1 FROM trading_entry r WHERE r.reverses_id = e.id)))
"""

INVARIANTS = (
    Invariant(
        id="I-22",
        title="Position = fills = contracts = lots",
        rule="For each account and instrument the signed fills that stand, the contract transfers, the open lots and "
        "the position row are one number.",
        means="we do not know what the account holds, so neither size nor protection can be right",
        todo="stop entries on the instrument, ask the broker for the position, and run `reconcile`",
        looks_at="SELECT account_id FROM trading_position",
        find=f"""
            WITH fills AS (
                SELECT account_id, instrument_id, sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END) AS units
                FROM trading_fill f WHERE NOT {TAKEN_BACK} GROUP BY 1, 2),
            contracts AS (
                SELECT a.account_id, i.id AS instrument_id, sum(p.amount) AS units
                FROM trading_ledgeraccount a JOIN ledger_posting p ON p.ledger_account_id = a.id
                JOIN trading_instrument i ON i.symbol = a.commodity_id WHERE a.kind = 'POSITION' GROUP BY 1, 2),
            lots AS (SELECT account_id, instrument_id, sum(side * units) AS units FROM ({_LEFT_OVER}) o GROUP BY 1, 2),
            held AS (SELECT account_id, instrument_id, sum(quantity) AS units FROM trading_position GROUP BY 1, 2),
            places AS (SELECT account_id, instrument_id FROM fills UNION SELECT account_id, instrument_id FROM contracts
                       UNION SELECT account_id, instrument_id FROM lots UNION SELECT account_id, instrument_id
                           FROM held)
            SELECT p.account_id, 'position' AS object, i.symbol AS id,
                   concat('fills say ', trim_scale(coalesce(f.units, 0)), ', contracts ', trim_scale(coalesce(c.units,
                       0)),
                          ', lots ', trim_scale(coalesce(l.units, 0)), ', the position row ',
                          coalesce(trim_scale(h.units)::text, 'nothing')) AS problem
            FROM places p JOIN trading_instrument i ON i.id = p.instrument_id
            LEFT JOIN fills f USING (account_id, instrument_id) LEFT JOIN contracts c USING (account_id, instrument_id)
            LEFT JOIN lots l USING (account_id, instrument_id) LEFT JOIN held h USING (account_id, instrument_id)
            WHERE (coalesce(f.units, 0), coalesce(c.units, 0), coalesce(l.units, 0))
                  IS DISTINCT FROM (coalesce(c.units, 0), coalesce(l.units, 0), h.units)
        """,
    ),
    Invariant(
        id="P-01",
        title="Position rows are rebuilt from the facts",
        rule="Average price is the cost of the open lots, and what no open trade of ours holds is external.",
        means="a strategy may count somebody else's units as its own, or the other way round",
        todo="book or close nothing by hand; run `manage.py rebuild`, then `reconcile`",
        looks_at="SELECT account_id FROM trading_position",
        find=f"""
            SELECT p.account_id, 'position' AS object, i.symbol AS id,
                   concat('says external ', trim_scale(p.external_quantity), ' at average ',
                       trim_scale(p.average_price),
                          '; the facts say ', trim_scale(s.units - s.ours), ' at ', trim_scale(s.average)) AS problem
            FROM trading_position p JOIN trading_instrument i ON i.id = p.instrument_id
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(o.side * o.units), 0) AS units,
                       round(sum(o.units * o.unit_cost) / nullif(sum(o.units), 0), 12) AS average,
                       coalesce((SELECT sum(CASE t.side WHEN 'BUY' THEN t.open_quantity ELSE -t.open_quantity END)
                                 FROM trading_trade t WHERE t.account_id = p.account_id
                                   AND t.instrument_id = p.instrument_id AND t.state = 'OPEN'), 0) AS ours
                FROM ({_LEFT_OVER}) o
                WHERE o.account_id = p.account_id AND o.instrument_id = p.instrument_id AND o.units > 0) s
            WHERE p.external_quantity <> s.units - s.ours OR (p.average_price IS NULL) <> (s.average IS NULL)
               OR abs(p.average_price - s.average) > 0.000000000001
        """,
    ),
    Invariant(
        id="R-06",
        title="No close in the books without a fill",
        rule="A lot is opened and closed only by the fill of its own entry, never beyond its size, first in first out "
        "or all of them; a fill's lots and closes add up to it; a close's profit is the one that its prices give.",
        means="a position was closed in the books that may still be open at the broker",
        todo="ask the broker for the position; run `reconcile` and resolve the difference with four eyes",
        looks_at="SELECT account_id FROM trading_lot",
        find=either(
            """
            SELECT l.account_id, 'lot close' AS object, c.id::text AS id,
                   concat('of lot ', l.id, ' has ', coalesce('fill ' || c.fill_id, 'no fill'), ' where entry ', e.id,
                          ' has ', coalesce('fill ' || e.fill_id, 'none')) AS problem
            FROM trading_lotclose c JOIN trading_lot l ON l.id = c.lot_id JOIN trading_entry e ON e.id = c.entry_id
            WHERE c.fill_id IS NULL OR c.fill_id IS DISTINCT FROM e.fill_id
            """,
            """
            SELECT f.account_id, 'fill', f.id::text,
                   concat(f.side, ' ', trim_scale(f.quantity), ': opened lots of ', trim_scale(m.opened),
                       ' and closed lots of ', trim_scale(m.closed))
            FROM trading_fill f
            CROSS JOIN LATERAL (
                SELECT coalesce((SELECT sum(l.side * l.quantity) FROM trading_lot l JOIN trading_entry e
                                     ON e.id = l.entry_id AND e.kind <> 'REVERSAL' WHERE l.fill_id = f.id), 0)
                           AS opened,
                       coalesce((SELECT sum(l.side * c.quantity) FROM trading_lotclose c JOIN trading_lot l
                                     ON l.id = c.lot_id JOIN trading_entry e ON e.id = c.entry_id
                                     AND e.kind <> 'REVERSAL' WHERE c.fill_id = f.id), 0) AS closed) m
            WHERE m.opened - m.closed <> CASE f.side WHEN 'BUY' THEN f.quantity ELSE -f.quantity END
            """,
            """
            SELECT l.account_id, 'lot close', c.id::text,
                   concat('says a profit of ', trim_scale(c.profit_quote), '; its prices give ', trim_scale(m.profit))
            FROM trading_lotclose c JOIN trading_lot l ON l.id = c.lot_id
                JOIN trading_instrument i ON i.id = l.instrument_id
            CROSS JOIN LATERAL (SELECT (c.unit_price - l.unit_cost) * l.side * c.quantity * i.multiplier AS profit) m
            WHERE abs(c.profit_quote - m.profit) > 0.000000000001
            """,
            """
            SELECT x.account_id, 'lot close', x.id::text,
                   concat('takes units ', trim_scale(x.closed), ' to ', trim_scale(x.closed + x.quantity),
                          ' of all that were opened; its lot ', x.lot_id, ' has ', trim_scale(x.opened), ' to ',
                          trim_scale(x.opened + x.size))
            FROM (SELECT c.id, c.lot_id, c.quantity, l.account_id, l.opened, l.size,
                         sum(c.quantity) OVER (PARTITION BY l.account_id, l.instrument_id ORDER BY c.entry_id, c.lot_id)
                             - c.quantity AS closed
                  FROM trading_lotclose c
                  JOIN (SELECT id, account_id, instrument_id, quantity AS size,
                               sum(quantity) OVER (PARTITION BY account_id, instrument_id ORDER BY id) - quantity
                                   AS opened
                        FROM trading_lot) l ON l.id = c.lot_id) x
            WHERE x.closed < x.opened OR x.closed + x.quantity > x.opened + x.size
            """,
        ),
    ),
)
