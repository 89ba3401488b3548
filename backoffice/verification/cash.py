"""Cash: what deposits, fills and typed movements add up to, what is on its way, and what shares cost and realised.

What always holds here: a cash instrument's fill pays quantity × price at once, against a receivable or payable; a
margin instrument's fill moves only what its broker realised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .lots import shares_at_cost
from .registry import Invariant, Offence, either

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

# What a fill moved of trade-date cash, and what of it waits for its value date.
PAYMENTS = """
    SELECT f.id, f.account_id, f.settles_on, f.realised, i.is_margin, i.quote, a.currency, a.time_zone,
           CASE WHEN i.is_margin THEN f.realised WHEN f.settles_on IS NULL THEN 0
                ELSE round(CASE f.side WHEN 'BUY' THEN -1 ELSE 1 END * f.quantity * f.price * i.multiplier, 12)
           END + f.financing + f.commission AS moved
    FROM trading_fill f JOIN trading_instrument i ON i.id = f.instrument_id
    JOIN trading_account a ON a.id = f.account_id
"""
# The account's own time: the stored clock of a simulator's world or a paper book, else the wall's.
CLOCKS = """
    SELECT a.id, CASE WHEN k.account_id IS NULL OR a.environment NOT IN ('SIMULATOR', 'IN_PROCESS') THEN now()
                      ELSE k.broker_at + (now() - k.wall_at) * k.speed::double precision END AS now
    FROM trading_account a LEFT JOIN trading_accountclock k ON k.account_id = a.id
"""
_SHARES = """
    SELECT f.account_id FROM trading_fill f JOIN trading_instrument i ON i.id = f.instrument_id AND NOT i.is_margin
"""
_CASH = "('CASH', 'UNSETTLED')"
# What a fill's booking moved into realised profit: its own entry, and what it restated of other fills.
_BY_ITS_BOOKING = """
    SELECT f.account_id, 'fill' AS object, f.id::text AS id,
           concat('realises ', trim_scale(f.realised), ' on its row; its booking moved ', trim_scale(m.posted))
    FROM trading_fill f JOIN trading_instrument i ON i.id = f.instrument_id AND NOT i.is_margin
    LEFT JOIN (
        SELECT coalesce(substring(e.idempotency_key FROM '^restated:([0-9]+):')::bigint, e.fill_id) AS fill_id,
               -sum(s.amount) AS posted
        FROM trading_entry e JOIN ledger_posting s ON s.entry_id = e.id
        JOIN trading_ledgeraccount l ON l.id = s.ledger_account_id AND l.kind = 'REALISED'
        WHERE e.kind <> 'REVERSAL' AND e.idempotency_key NOT LIKE 'restated:without:%' GROUP BY 1) b ON b.fill_id = f.id
    CROSS JOIN LATERAL (SELECT coalesce(b.posted, 0) AS posted) m
    WHERE f.realised <> m.posted
"""


def _at_cost(cursor: CursorWrapper) -> Iterator[Offence]:
    cursor.execute(_BY_ITS_BOOKING)
    for row in cursor.fetchall():
        yield Offence(*row)
    yield from shares_at_cost(cursor)


INVARIANTS = (
    Invariant(
        id="C-01",
        title="Cash is what deposits, fills and movements add up to",
        rule="On every account and in every currency, settled and unsettled cash together are the sum of what the "
        "booked fills and cash movements moved.",
        means="money appeared or vanished in the books without anything that happened",
        todo="run `reconcile` and compare with the broker's balance; correct with an approved entry",
        looks_at="SELECT account_id FROM trading_ledgeraccount WHERE kind = 'CASH'",
        find=f"""
            WITH booked AS (
                SELECT l.account_id, l.commodity_id AS currency, sum(p.amount) AS amount
                FROM trading_ledgeraccount l JOIN ledger_posting p ON p.ledger_account_id = l.id
                JOIN trading_entry e ON e.id = p.entry_id
                WHERE l.kind IN {_CASH} AND e.kind <> 'REVERSAL'
                  AND NOT EXISTS (SELECT 1 FROM trading_entry r WHERE r.reverses_id = e.id)
                GROUP BY 1, 2),
            happened AS (
                SELECT account_id, currency, sum(moved) AS amount FROM (
                    SELECT p.account_id, p.currency, p.moved FROM ({PAYMENTS}) p
                    WHERE NOT EXISTS (SELECT 1 FROM trading_entry e JOIN trading_entry r ON r.reverses_id = e.id
                                      WHERE e.fill_id = p.id)
                    UNION ALL
                    SELECT c.account_id, s.currency, s.amount FROM trading_cashevent c
                    CROSS JOIN LATERAL (VALUES (c.currency, c.amount), (c.counter_currency, c.counter_amount))
                        AS s (currency, amount)
                    WHERE s.amount IS NOT NULL AND NOT EXISTS (
                                      SELECT 1 FROM trading_entry e JOIN trading_entry r ON r.reverses_id = e.id
                                      WHERE e.cash_event_id = c.id)) moves GROUP BY 1, 2)
            SELECT account_id, 'currency' AS object, currency AS id,
                   concat('has ', trim_scale(coalesce(b.amount, 0)), ' in the books; what happened gives ',
                          trim_scale(coalesce(h.amount, 0))) AS problem
            FROM booked b FULL JOIN happened h USING (account_id, currency)
            WHERE coalesce(b.amount, 0) <> coalesce(h.amount, 0)
        """,
    ),
    Invariant(
        id="C-02",
        title="What is unsettled is what unsettled fills owe",
        rule="Every paid fill of a cash instrument has a value date and no other fill has one; receivables and "
        "payables are exactly those of the fills that have not settled, each fill for itself.",
        means="settled cash will be wrong on a value date: money is counted as there that is not, or not counted",
        todo="compare the outstanding payments with the broker's; settle nothing by hand",
        looks_at=_SHARES,
        find=either(
            f"""
            SELECT p.account_id, 'fill' AS object, p.id::text AS id,
                   concat('leaves ', trim_scale(coalesce(o.amount, 0)), ' outstanding; it should leave ',
                          trim_scale(w.wanted)) AS problem
            FROM ({PAYMENTS}) p
            LEFT JOIN (SELECT e.fill_id, sum(s.amount) AS amount FROM trading_entry e
                       JOIN ledger_posting s ON s.entry_id = e.id
                       JOIN trading_ledgeraccount l ON l.id = s.ledger_account_id AND l.kind = 'UNSETTLED'
                       WHERE e.kind <> 'REVERSAL' GROUP BY 1) o ON o.fill_id = p.id
            CROSS JOIN LATERAL (SELECT CASE WHEN p.is_margin OR p.settles_on IS NULL
                OR EXISTS (SELECT 1 FROM trading_entry e WHERE e.fill_id = p.id AND e.kind = 'SETTLEMENT')
                THEN 0 ELSE p.moved END AS wanted) w
            WHERE coalesce(o.amount, 0) <> w.wanted
            """,
            f"""
            SELECT p.account_id, 'fill', p.id::text, CASE WHEN p.is_margin
                   THEN 'of a margin instrument has a value date' ELSE 'of a broker''s event has no value date' END
            FROM ({PAYMENTS}) p JOIN trading_fill f ON f.id = p.id
            WHERE (p.is_margin AND p.settles_on IS NOT NULL)
               OR (NOT p.is_margin AND p.settles_on IS NULL AND f.broker_event_id IS NOT NULL)
            """,
            """
            SELECT l.account_id, 'ledger account', l.id::text,
                   concat('has ', trim_scale(sum(s.amount)), ' ', l.commodity_id, ' outstanding without any fill')
            FROM trading_ledgeraccount l JOIN ledger_posting s ON s.ledger_account_id = l.id
            JOIN trading_entry e ON e.id = s.entry_id
            WHERE l.kind = 'UNSETTLED' AND e.fill_id IS NULL AND e.kind <> 'REVERSAL'
            GROUP BY l.id HAVING sum(s.amount) <> 0
            """,
            """
            SELECT f.account_id, 'fill', f.id::text,
                   concat('settles on ', f.settles_on, '; the broker''s event says ', said.fill->>'settles_on')
            FROM trading_fill f JOIN trading_brokerevent b ON b.id = f.broker_event_id
            CROSS JOIN LATERAL jsonb_array_elements(coalesce(b.facts->'fills', '[]')) said (fill)
            WHERE said.fill->>'external_id' = f.external_id AND f.settles_on IS NOT NULL
              AND (said.fill->>'settles_on')::date <> f.settles_on
            """,
        ),
    ),
    Invariant(
        id="C-03",
        title="A fill settles once, on its value date",
        rule="A settlement moves exactly what its fill paid from outstanding to settled cash, once, with the fill's "
        "value date, and not before that day has come on the account's clock.",
        means="cash is shown as available that the broker has not paid yet, or was paid twice",
        todo="stop the sweep of payments; compare with the broker's settled cash, and correct with an approved entry",
        looks_at="SELECT account_id FROM trading_entry WHERE kind = 'SETTLEMENT'",
        find=either(
            f"""
            SELECT e.account_id, 'entry' AS object, e.id::text AS id,
                   concat('settles ', trim_scale(m.settled), ' with value date ', e.value_date, '; fill ', p.id,
                          ' pays ', trim_scale(p.moved), ' on ', coalesce(p.settles_on::text, 'no day')) AS problem
            FROM trading_entry e JOIN ({PAYMENTS}) p ON p.id = e.fill_id
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(s.amount) FILTER (WHERE l.kind = 'CASH'), 0) AS settled,
                       coalesce(sum(s.amount) FILTER (WHERE l.kind = 'UNSETTLED'), 0) AS outstanding
                FROM ledger_posting s JOIN trading_ledgeraccount l ON l.id = s.ledger_account_id
                WHERE s.entry_id = e.id) m
            WHERE e.kind = 'SETTLEMENT' AND (m.settled <> p.moved OR m.outstanding <> -p.moved
                OR e.value_date IS DISTINCT FROM p.settles_on)
            """,
            f"""
            SELECT e.account_id, 'entry', e.id::text,
                   concat('settles at ', e.at, '; its value date is ', e.value_date, ' and the account''s time ', k.now)
            FROM trading_entry e JOIN trading_account a ON a.id = e.account_id JOIN ({CLOCKS}) k ON k.id = a.id
            WHERE e.kind = 'SETTLEMENT' AND ((e.at AT TIME ZONE a.time_zone)::date < e.value_date OR e.at > k.now)
            """,
            """
            SELECT e.account_id, 'entry', string_agg(e.id::text, ',' ORDER BY e.id),
                   concat('all settle fill ', e.fill_id)
            FROM trading_entry e WHERE e.kind = 'SETTLEMENT' GROUP BY e.account_id, e.fill_id HAVING count(*) > 1
            """,
        ),
    ),
    Invariant(
        id="C-04",
        title="Shares stand at cost, and their profit is realised once",
        rule="What the entries of a cash instrument's fill realised, and lost in rounding, is what the broker's order "
        "of fills gives; its row says what its own booking realised, late restatements of other fills included; and "
        "what the books hold at cost is the cost of the open lots, to the last digit.",
        means="a profit is in the books twice, or not at all: equity, limits and reports are wrong",
        todo="pause the account; compare the lots with the broker's cost, and correct with an approved entry",
        looks_at=_SHARES,
        find=_at_cost,
    ),
)
