"""Balance snapshots: a cache, which must say what the transfers say."""

from __future__ import annotations

from .registry import Invariant

INVARIANTS = (
    Invariant(
        id="P-04",
        title="Balance snapshots are sums of the transfers",
        rule="Each snapshot of a ledger account is the sum of all its transfers up to the one that it names.",
        means="a balance on a screen, or the cash that a gate counts with, is wrong; the transfers themselves are not",
        todo="run `manage.py rebuild`, which takes new snapshots; then find out who wrote these",
        looks_at="SELECT l.account_id FROM trading_balancesnapshot s "
        "JOIN trading_ledgeraccount l ON l.id = s.ledger_account_id",
        # One walk over the postings and the snapshots in the order of the transfers.
        find="""
            SELECT account_id, 'balance snapshot' AS object, snapshot::text AS id,
                   concat('of ', kind, ' ', commodity_id, ' says ', trim_scale(says), ' up to transfer ', cut,
                          '; the transfers say ', trim_scale(coalesce(summed, 0))) AS problem
            FROM (SELECT l.account_id, l.kind, l.commodity_id, m.snapshot, m.says, m.cut,
                         sum(m.amount) OVER (PARTITION BY m.ledger_account_id ORDER BY m.cut) AS summed
                  FROM (SELECT p.ledger_account_id, p.transfer_id AS cut, p.amount, NULL::bigint AS snapshot,
                               NULL::numeric AS says
                        FROM ledger_posting p
                        WHERE EXISTS (SELECT 1 FROM trading_balancesnapshot s
                                      WHERE s.ledger_account_id = p.ledger_account_id)
                        UNION ALL
                        SELECT s.ledger_account_id, s.last_transfer, 0, s.id, s.balance
                        FROM trading_balancesnapshot s) m
                  JOIN trading_ledgeraccount l ON l.id = m.ledger_account_id) walked
            WHERE snapshot IS NOT NULL AND says <> coalesce(summed, 0)
        """,
    ),
)
