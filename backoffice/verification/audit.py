"""The audit trail: everything that happened is in it, and everything in it happened."""

from __future__ import annotations

from .registry import Invariant, either

_AUDITED = """
    NOT EXISTS (SELECT 1 FROM trading_auditevent a
                WHERE a.object_type = '{type}' AND a.object_id = {id}::text AND a.kind = {kind}{more})
"""


def _audited(type_: str, id_: str, kind: str, more: str = "") -> str:
    return _AUDITED.format(type=type_, id=id_, kind=kind, more=more)


_SUBJECTS = {
    "trading.Fill": "trading_fill",
    "trading.CashEvent": "trading_cashevent",
    "trading.Order": "trading_order",
    "trading.Decision": "trading_decision",
    "trading.ExitIntent": "trading_exitintent",
    "trading.Proposal": "trading_proposal",
    "trading.Restriction": "trading_restriction",
    "trading.Account": "trading_account",
    "trading.User": "trading_user",
    "reconciliation.Discrepancy": "reconciliation_discrepancy",
    "reconciliation.Run": "reconciliation_run",
}

INVARIANTS = (
    Invariant(
        id="I-45a",
        title="Every movement of money is audited",
        rule="Each fill, each settlement of one, and each cash movement has its audit event.",
        means="the books changed on a way that leaves no trace of who did it",
        todo="find out which way round the services exists, and close it",
        looks_at="SELECT account_id FROM trading_fill UNION ALL SELECT account_id FROM trading_cashevent",
        find=either(
            f"""
            SELECT f.account_id, 'fill' AS object, f.id::text AS id, 'has no audit event fill.booked' AS problem
            FROM trading_fill f WHERE {_audited("trading.Fill", "f.id", "'fill.booked'")}
            """,
            f"""
            SELECT c.account_id, 'cash event', c.id::text, 'has no audit event cash.booked'
            FROM trading_cashevent c WHERE {_audited("trading.CashEvent", "c.id", "'cash.booked'")}
            """,
            f"""
            SELECT e.account_id, 'entry', e.id::text, concat('settles fill ', e.fill_id, ' without an audit event')
            FROM trading_entry e
            WHERE e.kind = 'SETTLEMENT' AND {_audited("trading.Fill", "e.fill_id", "'fill.settled'")}
            """,
        ),
    ),
    Invariant(
        id="I-45b",
        title="Every decision of people is audited",
        rule="Each proposal, verdict and application, and each restriction put or lifted, has its audit event, by the "
        "user it names.",
        means="somebody decided on a way that leaves no trace",
        todo="ask the person named in the row; find out which way round the services exists, and close it",
        looks_at="SELECT account_id FROM trading_proposal UNION ALL SELECT account_id FROM trading_restriction",
        find=either(
            f"""
            SELECT p.account_id, 'proposal' AS object, p.id::text AS id, 'has no audit event proposal.made' AS problem
            FROM trading_proposal p WHERE {_audited("trading.Proposal", "p.id", "'proposal.made'")}
            """,
            f"""
            SELECT p.account_id, 'approval', v.id::text, concat('has no audit event proposal.', lower(v.verdict))
            FROM trading_approval v JOIN trading_proposal p ON p.id = v.proposal_id
            WHERE {
                _audited(
                    "trading.Proposal",
                    "p.id",
                    "'proposal.' || lower(v.verdict)",
                    " AND (a.actor_id = v.approver_id OR a.via NOT IN ('admin', 'api'))",
                )
            }
            """,
            f"""
            SELECT p.account_id, 'application', ap.id::text, 'has no audit event proposal.applied'
            FROM trading_application ap JOIN trading_proposal p ON p.id = ap.proposal_id
            WHERE {_audited("trading.Proposal", "p.id", "'proposal.applied'")}
            """,
            f"""
            SELECT r.account_id, 'restriction', r.id::text, 'has no audit event restriction.put'
            FROM trading_restriction r WHERE {_audited("trading.Restriction", "r.id", "'restriction.put'")}
            """,
            f"""
            SELECT r.account_id, 'restriction', r.id::text, 'was lifted without an audit event of who did it'
            FROM trading_restriction r WHERE r.lifted_at IS NOT NULL
              AND {
                _audited(
                    "trading.Restriction",
                    "r.id",
                    "'restriction.lifted'",
                    " AND a.actor_id IS NOT DISTINCT FROM r.lifted_by_id",
                )
            }
            """,
        ),
    ),
    Invariant(
        id="I-45c",
        title="Every step of a case and every run is audited",
        rule="Each discrepancy has as many audit events of a kind as steps of it, and each run has one.",
        means="a difference with the broker was moved on a way that leaves no trace",
        todo="compare the case's history with the broker's statement; find out which way round the services exists",
        looks_at="SELECT d.account_id FROM reconciliation_discrepancyevent e "
        "JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id",
        find=either(
            """
            SELECT d.account_id, 'discrepancy' AS object, d.id::text AS id,
                   concat('has ', s.steps, ' steps ', s.kind, ' and ', s.audited, ' audit events of them') AS problem
            FROM (SELECT e.discrepancy_id, e.kind, count(*) AS steps,
                         (SELECT count(*) FROM trading_auditevent a
                          WHERE a.object_type = 'reconciliation.Discrepancy' AND a.object_id = e.discrepancy_id::text
                            AND a.kind = 'discrepancy.' || lower(e.kind)) AS audited
                  FROM reconciliation_discrepancyevent e GROUP BY 1, 2) s
            JOIN reconciliation_discrepancy d ON d.id = s.discrepancy_id WHERE s.steps <> s.audited
            """,
            f"""
            SELECT r.account_id, 'run', r.id::text, 'has no audit event'
            FROM reconciliation_run r
            WHERE {
                _audited(
                    "reconciliation.Run",
                    "r.id",
                    "CASE r.status WHEN 'FAILED' THEN 'reconciliation.failed' ELSE 'reconciliation.run' END",
                )
            }
            """,
        ),
    ),
    Invariant(
        id="I-45d",
        title="Every decision and order is audited",
        rule="Each decision, exit and order, the end of each order, and each account has its audit event.",
        means="an order came to be, or ended, on a way that leaves no trace",
        todo="look the order up at the broker; find out which way round the services exists, and close it",
        looks_at="SELECT account_id FROM trading_order",
        find=either(
            f"""
            SELECT o.account_id, 'order' AS object, o.id::text AS id, 'has no audit event order.planned' AS problem
            FROM trading_order o WHERE {_audited("trading.Order", "o.id", "'order.planned'")}
            """,
            f"""
            SELECT o.account_id, 'order', o.id::text, concat('is ', o.state, ' without an audit event order.moved')
            FROM trading_order o WHERE o.state IN ('FILLED', 'CANCELLED', 'REJECTED', 'EXPIRED')
              AND {_audited("trading.Order", "o.id", "'order.moved'", " AND a.after->>'state' = o.state")}
            """,
            f"""
            SELECT d.account_id, 'decision', d.id::text, 'has no audit event decision.made'
            FROM trading_decision d WHERE {_audited("trading.Decision", "d.id", "'decision.made'")}
            """,
            f"""
            SELECT x.account_id, 'exit', x.id::text, 'has no audit event exit.planned'
            FROM trading_exitintent x WHERE {_audited("trading.ExitIntent", "x.id", "'exit.planned'")}
            """,
            f"""
            SELECT c.id, 'account', c.id::text, 'has no audit event account.opened'
            FROM trading_account c WHERE {_audited("trading.Account", "c.id", "'account.opened'")}
            """,
        ),
    ),
    Invariant(
        id="I-46",
        title="Every audit event has an actor and a subject that exists",
        rule="An audit event names who acted and through which door; a person's door names the user; what it is about "
        "is there; proposals, rejections and lifts by people have a reason.",
        means="the trail tells of something that is gone, or of nobody",
        todo="restore the missing row from the last backup whose `verify` was clean; find out who could remove it",
        looks_at="SELECT account_id FROM trading_auditevent",
        find=either(
            """
            SELECT a.account_id, 'audit event' AS object, a.id::text AS id,
                   concat(a.kind, ' by ', coalesce(nullif(a.actor_name, ''), 'nobody'), ' through ',
                          coalesce(nullif(a.via, ''), 'no door')) AS problem
            FROM trading_auditevent a
            WHERE a.actor_name = '' OR a.via = '' OR (a.via IN ('admin', 'api') AND a.actor_id IS NULL)
            """,
            """
            SELECT a.account_id, 'audit event', a.id::text, concat(a.kind, ' by ', a.actor_name, ' without a reason')
            FROM trading_auditevent a
            WHERE length(trim(a.reason)) < 5 AND (
                a.kind IN ('proposal.made', 'proposal.reject', 'proposal.withdraw')
                OR (a.kind = 'restriction.lifted' AND a.actor_id IS NOT NULL))
            """,
            *(
                f"""
                SELECT a.account_id, 'audit event', a.id::text,
                       concat(a.kind, ' is about ', a.object_type, ' ', a.object_id, ', which is not there')
                FROM trading_auditevent a LEFT JOIN {table} s ON s.id::text = a.object_id
                WHERE a.object_type = '{label}' AND s.id IS NULL
                """
                for label, table in _SUBJECTS.items()
            ),
        ),
    ),
)
