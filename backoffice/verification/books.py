"""The books: double entry, one source an entry, finite numbers, one account a row, no correction without approval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .registry import Invariant, Offence, either

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

LARGEST = 10**18


def _numbers_in_bounds(cursor: CursorWrapper) -> Iterator[Offence]:
    """Every numeric column of every table of ours: finite, and no larger than any real amount."""
    cursor.execute("""
        SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum),
               EXISTS (SELECT 1 FROM pg_attribute k WHERE k.attrelid = c.oid AND k.attname = 'account_id'),
               EXISTS (SELECT 1 FROM pg_attribute k WHERE k.attrelid = c.oid AND k.attname = 'id')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid AND t.typname = 'numeric'
        WHERE c.relkind = 'r' AND c.relname ~ '^(trading|reconciliation)_' GROUP BY c.oid, c.relname ORDER BY c.relname
    """)
    for table, columns, has_account, has_id in cursor.fetchall():
        quoted = [f'"{column}"' for column in columns]
        # NaN is greater than every number in PostgreSQL, so this catches it, and both infinities, too.
        wrong = " OR ".join(f"abs({column}) > {LARGEST}" for column in quoted)
        shown = ", ' ', ".join(f"'{name}=', {column}" for name, column in zip(columns, quoted, strict=True))
        account = "account_id" if has_account else "NULL"
        identity = "id" if has_id else "ctid"
        cursor.execute(f'SELECT {account}, {identity}::text, concat({shown}) FROM "{table}" WHERE {wrong}')
        for account_id, pk, told in cursor.fetchall():
            yield Offence(account_id, table, pk, f"has a number that no money can be: {told}")


_TRANSFERS = "SELECT e.account_id FROM trading_transfer t JOIN trading_entry e ON e.id = t.entry_id"

INVARIANTS = (
    Invariant(
        id="I-10",
        title="Debits equal credits",
        rule="In every entry, and in total, debits and credits of each commodity are equal, each transfer is in the "
        "commodity of both its ledger accounts, and no entry is empty.",
        means="money or units were made out of nothing",
        todo="stop trading; restore the ledger from the last backup whose `verify` was clean and compare",
        looks_at=_TRANSFERS,
        find=either(
            """
            SELECT e.account_id, 'entry' AS object, e.id::text AS id,
                   concat('is off by ', trim_scale(sum(p.amount)), ' ', l.commodity_id) AS problem
            FROM ledger_posting p JOIN trading_ledgeraccount l ON l.id = p.ledger_account_id
            JOIN trading_entry e ON e.id = p.entry_id
            GROUP BY e.id, l.commodity_id HAVING sum(p.amount) <> 0
            """,
            """
            SELECT NULL::bigint, 'commodity', l.commodity_id, concat('is off by ', trim_scale(sum(p.amount)),
                ' in total')
            FROM ledger_posting p JOIN trading_ledgeraccount l ON l.id = p.ledger_account_id
            GROUP BY l.commodity_id HAVING sum(p.amount) <> 0
            """,
            """
            SELECT e.account_id, 'transfer', t.id::text,
                   concat('moves ', t.commodity_id, ' from ', k.commodity_id, ' to ', d.commodity_id)
            FROM trading_transfer t JOIN trading_entry e ON e.id = t.entry_id
            JOIN trading_ledgeraccount d ON d.id = t.debit_id JOIN trading_ledgeraccount k ON k.id = t.credit_id
            WHERE d.commodity_id <> t.commodity_id OR k.commodity_id <> t.commodity_id OR t.debit_id = t.credit_id
               OR t.amount <= 0
            """,
            """
            SELECT e.account_id, 'entry', e.id::text, 'has no transfer' FROM trading_entry e
            WHERE NOT EXISTS (SELECT 1 FROM trading_transfer t WHERE t.entry_id = e.id)
            """,
        ),
    ),
    Invariant(
        id="I-12",
        title="Only finite numbers of a possible size",
        rule="No number in any table is NaN, infinite, or beyond 10^18.",
        means="a limit compared with such a number lets everything through",
        todo="find what wrote the row before trading again: such a number must have passed a check that was taken away",
        looks_at=_TRANSFERS,
        find=_numbers_in_bounds,
    ),
    Invariant(
        id="I-25",
        title="Every entry has one source",
        rule="An entry comes from exactly one fill or cash movement of its kind (or reverses one entry, exactly and "
        "once), and its application is that of its source; a settlement is a second entry of a fill that pays later.",
        means="the books contain something that did not happen, or the same thing twice",
        todo="compare the entry with the broker's history; undo it by an approved reversal",
        looks_at="SELECT account_id FROM trading_entry",
        find=either(
            """
            SELECT e.account_id, 'entry' AS object, e.id::text AS id,
                   concat(e.kind, ' has ', num_nonnulls(e.fill_id, e.cash_event_id), ' sources') AS problem
            FROM trading_entry e WHERE e.kind <> 'REVERSAL' AND num_nonnulls(e.fill_id, e.cash_event_id) <> 1
            """,
            """
            SELECT e.account_id, 'entry', string_agg(e.id::text, ',' ORDER BY e.id),
                   concat('book the same ', CASE WHEN e.fill_id IS NULL THEN 'cash movement ' ELSE 'fill ' END,
                          coalesce(e.fill_id, e.cash_event_id))
            FROM trading_entry e
            WHERE e.kind NOT IN ('REVERSAL', 'SETTLEMENT') AND num_nonnulls(e.fill_id, e.cash_event_id) > 0
              AND e.idempotency_key NOT LIKE 'restated:%'
            GROUP BY e.account_id, e.fill_id, e.cash_event_id HAVING count(*) > 1
            """,
            """
            SELECT e.account_id, 'entry', e.id::text, concat(e.kind, ' does not fit its source')
            FROM trading_entry e
            LEFT JOIN trading_fill f ON f.id = e.fill_id LEFT JOIN trading_cashevent c ON c.id = e.cash_event_id
            WHERE e.kind <> 'REVERSAL' AND num_nonnulls(f.id, c.id) = 1 AND e.idempotency_key NOT LIKE 'restated:%'
              AND ((CASE WHEN e.kind <> 'SETTLEMENT' THEN coalesce(f.application_id, c.application_id) END)
                       IS DISTINCT FROM e.application_id
                   OR NOT CASE e.kind
                       WHEN 'FILL' THEN f.order_id IS NOT NULL AND f.broker_event_id IS NOT NULL
                       WHEN 'SETTLEMENT' THEN f.settles_on IS NOT NULL
                       WHEN 'EXTERNAL_FILL' THEN f.id IS NOT NULL AND f.order_id IS NULL
                           AND f.broker_event_id IS NOT NULL
                       WHEN 'MARGIN_CLOSEOUT' THEN f.id IS NOT NULL AND f.order_id IS NULL
                           AND f.broker_event_id IS NOT NULL
                       WHEN 'ADOPTION' THEN f.id IS NOT NULL AND f.order_id IS NULL
                       WHEN 'ESTIMATE' THEN f.id IS NOT NULL AND f.order_id IS NULL AND f.is_estimate
                       WHEN 'SPLIT' THEN f.id IS NOT NULL AND f.order_id IS NULL AND f.broker_event_id IS NULL
                           AND f.realised = 0 AND f.settles_on IS NULL
                       WHEN 'SYMBOL_CHANGE' THEN f.id IS NOT NULL AND f.order_id IS NULL
                           AND f.broker_event_id IS NULL AND f.realised = 0 AND f.settles_on IS NULL
                       WHEN 'ADJUSTMENT' THEN c.id IS NOT NULL AND c.kind = 'ADJUSTMENT'
                       ELSE c.id IS NOT NULL AND c.kind = e.kind AND c.broker_event_id IS NOT NULL END)
            """,
            """
            SELECT e.account_id, 'entry', e.id::text, 'restates a profit and moves something else than profit and cost'
            FROM trading_entry e
            WHERE e.idempotency_key LIKE 'restated:%' AND (e.kind <> 'FILL' OR EXISTS (
                SELECT 1 FROM ledger_posting p JOIN trading_ledgeraccount l ON l.id = p.ledger_account_id
                JOIN trading_account a ON a.id = l.account_id
                WHERE p.entry_id = e.id
                  AND (l.kind NOT IN ('MARKET', 'REALISED', 'ROUNDING') OR l.commodity_id <> a.currency)))
            """,
            """
            SELECT r.account_id, 'entry', r.id::text, concat('is not the exact reverse of entry ', r.reverses_id)
            FROM trading_entry r WHERE r.kind = 'REVERSAL' AND (
                r.reverses_id IS NULL
                OR EXISTS (SELECT l.ledger_account_id, sum(l.amount) FROM ledger_posting l
                           WHERE l.entry_id IN (r.id, r.reverses_id) GROUP BY 1 HAVING sum(l.amount) <> 0)
                OR EXISTS (SELECT 1 FROM trading_entry o WHERE o.reverses_id = r.reverses_id AND o.id <> r.id))
            """,
        ),
    ),
    Invariant(
        id="I-27",
        title="No row crosses accounts",
        rule="An order, fill, cash movement, entry, transfer, lot, trade, event and message agree on their account; a "
        "mirror's order may come from a decision of the account that it mirrors.",
        means="one account's money is booked on another, or paper is mixed with real",
        todo="stop both accounts; compare each with its broker, and correct with approved entries",
        looks_at="SELECT account_id FROM trading_order UNION ALL SELECT account_id FROM trading_entry",
        find=either(
            """
            SELECT o.account_id, 'order' AS object, o.id::text AS id,
                   'its decision, exit, approval, group or entry order is of another account' AS problem
            FROM trading_order o JOIN trading_account a ON a.id = o.account_id
            LEFT JOIN trading_decision d ON d.id = o.decision_id
            LEFT JOIN trading_exitintent x ON x.id = o.exit_intent_id
            LEFT JOIN trading_application ap ON ap.id = o.application_id LEFT
                JOIN trading_proposal p ON p.id = ap.proposal_id
            LEFT JOIN trading_ordergroup g ON g.id = o.parent_group_id LEFT JOIN trading_order r ON r.id = o.rides_on_id
            WHERE d.account_id NOT IN (o.account_id, coalesce(a.mirror_of_id, o.account_id))
               OR x.account_id <> o.account_id OR p.account_id <> o.account_id OR g.account_id <> o.account_id
               OR r.account_id <> o.account_id
            """,
            """
            SELECT f.account_id, 'fill', f.id::text, 'its event or approval is of another account'
            FROM trading_fill f LEFT JOIN trading_brokerevent b ON b.id = f.broker_event_id
            LEFT JOIN trading_application ap ON ap.id = f.application_id LEFT
                JOIN trading_proposal p ON p.id = ap.proposal_id
            WHERE b.account_id <> f.account_id OR p.account_id <> f.account_id
            """,
            """
            SELECT c.account_id, 'cash event', c.id::text, 'its event or approval is of another account'
            FROM trading_cashevent c LEFT JOIN trading_brokerevent b ON b.id = c.broker_event_id
            LEFT JOIN trading_application ap ON ap.id = c.application_id LEFT
                JOIN trading_proposal p ON p.id = ap.proposal_id
            WHERE b.account_id <> c.account_id OR p.account_id <> c.account_id
            """,
            """
            SELECT e.account_id, 'entry', e.id::text, 'its source is of another account'
            FROM trading_entry e LEFT JOIN trading_fill f ON f.id = e.fill_id
            LEFT JOIN trading_cashevent c ON c.id = e.cash_event_id
            WHERE f.account_id <> e.account_id OR c.account_id <> e.account_id
            """,
            """
            SELECT e.account_id, 'transfer', t.id::text, 'one of its ledger accounts is of another account'
            FROM trading_transfer t JOIN trading_entry e ON e.id = t.entry_id
            JOIN trading_ledgeraccount d ON d.id = t.debit_id JOIN trading_ledgeraccount k ON k.id = t.credit_id
            WHERE d.account_id <> e.account_id OR k.account_id <> e.account_id
            """,
            """
            SELECT l.account_id, 'lot', l.id::text, 'its entry, fill or close is of another account or instrument'
            FROM trading_lot l JOIN trading_entry e ON e.id = l.entry_id LEFT JOIN trading_fill f ON f.id = l.fill_id
            LEFT JOIN trading_fill o ON o.id = l.origin_id
            WHERE e.account_id <> l.account_id OR f.account_id <> l.account_id OR f.instrument_id <> l.instrument_id
               OR o.account_id <> l.account_id
               OR (o.instrument_id <> l.instrument_id AND NOT EXISTS (
                   SELECT 1 FROM trading_entry s JOIN trading_fill n ON n.id = s.fill_id
                   WHERE s.kind = 'SYMBOL_CHANGE' AND n.account_id = l.account_id
                     AND n.instrument_id = l.instrument_id))
               OR EXISTS (SELECT 1 FROM trading_lotclose c JOIN trading_fill cf ON cf.id = c.fill_id
                          WHERE c.lot_id = l.id
                            AND (cf.account_id <> l.account_id OR cf.instrument_id <> l.instrument_id))
            """,
            """
            SELECT t.account_id, 'trade', t.id::text, 'its decision is of another account'
            FROM trading_trade t JOIN trading_account a ON a.id = t.account_id
                JOIN trading_decision d ON d.id = t.decision_id
            WHERE d.account_id NOT IN (t.account_id, coalesce(a.mirror_of_id, t.account_id))
            """,
            """
            SELECT o.account_id, 'order event', e.id::text, 'its evidence is of another account or order'
            FROM trading_orderevent e JOIN trading_order o ON o.id = e.order_id
            LEFT JOIN trading_brokermessage m ON m.id = e.message_id
            LEFT JOIN trading_brokerevent b ON b.id = e.broker_event_id
            WHERE m.account_id <> o.account_id OR m.order_id <> o.id OR b.account_id <> o.account_id
            """,
            """
            SELECT a.id, 'account', a.id::text, concat('is in mode LIVE at a ', a.environment, ' broker')
            FROM trading_account a WHERE a.mode = 'LIVE' AND a.environment <> 'LIVE'
            """,
        ),
    ),
    Invariant(
        id="I-33",
        title="No correction without an approval",
        rule="An entry that corrects, a fill without an order of ours, and a movement without the broker's event exist "
        "only under an application of an approved proposal.",
        means="somebody changed the books alone",
        todo="find out in the audit trail who did it; undo it by an approved reversal",
        looks_at="SELECT account_id FROM trading_entry "
        "WHERE kind IN ('EXTERNAL_FILL', 'MARGIN_CLOSEOUT', 'ADOPTION', 'ESTIMATE', 'SPLIT', 'SYMBOL_CHANGE', "
        "'ADJUSTMENT', 'REVERSAL')",
        find=either(
            """
            SELECT e.account_id, 'entry' AS object, e.id::text AS id, concat(e.kind, ' without an application')
                AS problem
            FROM trading_entry e WHERE e.application_id IS NULL
              AND e.kind NOT IN ('FILL', 'SETTLEMENT', 'TRANSFER', 'FINANCING', 'DIVIDEND', 'FEE', 'TAX', 'CONVERSION')
            """,
            """
            SELECT f.account_id, 'fill', f.id::text, 'without an order or event of ours, and without an application'
            FROM trading_fill f WHERE f.application_id IS NULL AND (f.order_id IS NULL OR f.broker_event_id IS NULL)
            """,
            """
            SELECT c.account_id, 'cash event', c.id::text, 'without the broker''s event, and without an application'
            FROM trading_cashevent c WHERE c.application_id IS NULL AND c.broker_event_id IS NULL
            """,
        ),
    ),
)
