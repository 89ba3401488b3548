"""The audit trail: everything that happened is in it, and everything in it happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trading.domain.audit_kinds import KINDS

from .registry import Invariant, Offence, either

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

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
    "trading.ConfigVersion": "trading_configversion",
    "trading.OrderGroup": "trading_ordergroup",
    "trading.Notification": "trading_notification",
    "reconciliation.Discrepancy": "reconciliation_discrepancy",
    "reconciliation.Run": "reconciliation_run",
    "reconciliation.Statement": "reconciliation_statement",
}

_OF_ROW = ("r.account_id", "")
_OF_PROPOSAL = ("p.account_id", "JOIN trading_proposal p ON p.id = r.proposal_id")
_AUDITED_TABLES: dict[str, tuple[str, str, str]] = {
    "trading_signal": ("signal", *_OF_ROW),
    "trading_decision": ("decision", *_OF_ROW),
    "trading_orderevent": ("order event", "o.account_id", "JOIN trading_order o ON o.id = r.order_id"),
    "trading_fill": ("fill", *_OF_ROW),
    "trading_cashevent": ("cash event", *_OF_ROW),
    "trading_entry": ("entry", *_OF_ROW),
    "trading_closedday": ("closed day", *_OF_ROW),
    "trading_proposal": ("proposal", *_OF_ROW),
    "trading_approval": ("approval", *_OF_PROPOSAL),
    "trading_application": ("application", *_OF_PROPOSAL),
    "trading_configversion": ("config version", "NULL::bigint", ""),
    "reconciliation_run": ("run", *_OF_ROW),
    "reconciliation_statement": ("statement", *_OF_ROW),
    "reconciliation_statementline": (
        "line of a statement",
        "x.account_id",
        "LEFT JOIN reconciliation_statement x ON x.id = r.statement_id OR x.batch = r.batch",
    ),
    "reconciliation_signoff": ("sign-off", "x.account_id", "JOIN reconciliation_run x ON x.id = r.run_id"),
    "reconciliation_discrepancyevent": (
        "step of a case",
        "d.account_id",
        "JOIN reconciliation_discrepancy d ON d.id = r.discrepancy_id",
    ),
}
"""Tables of which no row may come to be without an audit event: what a row is called, its account, and the way there.

Everything that one transaction writes is one act: one event of it is enough.
"""
_BARE = """
    WITH audited AS (
        SELECT b.transaction FROM trading_chainblock b JOIN trading_auditevent e ON e.id = b.first_id
        WHERE b.table_name = 'trading_auditevent'
    ), bare AS (
        SELECT b.table_name, b.first_id, b.last_id, b.transaction FROM trading_chainblock b
        WHERE b.table_name = ANY('{{{tables}}}')
          AND NOT EXISTS (SELECT 1 FROM audited a WHERE a.transaction = b.transaction)
    )
"""


def _bare(cursor: CursorWrapper) -> Iterator[Offence]:
    """The rows of transactions that wrote no audit event, by the transaction's number in the chain."""
    cursor.execute(_BARE.format(tables=",".join(_AUDITED_TABLES)) + "SELECT DISTINCT table_name FROM bare")
    for (table,) in sorted(cursor.fetchall()):
        called, account, way = _AUDITED_TABLES[table]
        cursor.execute(
            _BARE.format(tables=table) + f"SELECT {account}, r.id, bare.transaction FROM bare "
            f"JOIN {table} r ON r.id BETWEEN bare.first_id AND bare.last_id {way} ORDER BY r.id"
        )
        for account_id, row, transaction in cursor.fetchall():
            told = f"was written by transaction {transaction}, which wrote no audit event"
            yield Offence(account_id, called, str(row), told)


_RIGHTS = """
    SELECT NULL::bigint AS account_id, 'user' AS object, u.id::text AS id,
           concat(u.username, ': ', v.name, ' is ', v.stands, ', and was last told as ',
                  coalesce(t.told::text, 'nothing')) AS problem
    FROM trading_user u CROSS JOIN LATERAL (VALUES
        ('active', to_jsonb(u.is_active)),
        ('staff', to_jsonb(u.is_staff)),
        ('superuser', to_jsonb(u.is_superuser)),
        ('person', to_jsonb(u.person_id)),
        ('groups', (SELECT coalesce(jsonb_agg(g.name ORDER BY g.name COLLATE "C"), '[]'::jsonb)
                    FROM trading_user_groups m JOIN auth_group g ON g.id = m.group_id WHERE m.user_id = u.id))
    ) AS v(name, stands)
    JOIN LATERAL (
        SELECT a.after -> v.name AS told FROM trading_auditevent a
        WHERE a.object_type = 'trading.User' AND a.object_id = u.id::text AND jsonb_exists(a.after, v.name)
        ORDER BY a.id DESC LIMIT 1
    ) t ON true
    WHERE t.told IS DISTINCT FROM v.stands
"""


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
        id="I-45e",
        title="No fact without an audit event in its own transaction",
        rule="Each transaction that wrote a signal, decision, step of an order, fill, cash event, entry, proposal, "
        "approval, application, closed day, sign-off, config version, run or step of a case wrote an audit event, too.",
        means="the row came on a way that leaves no trace of who made it",
        todo="look at the row and at what else its transaction wrote (the chain's blocks name it); find out which way "
        "round the services exists, and close it",
        looks_at="SELECT NULL::bigint AS account_id FROM trading_chainblock WHERE table_name IN "
        f"({', '.join(repr(table) for table in _AUDITED_TABLES)})",
        find=_bare,
    ),
    Invariant(
        id="I-45f",
        title="Users are and may what the trail last told",
        rule="Each user has an audit event of how it came to be; its person, groups, and whether it is active, staff "
        "or a superuser are what the last event that tells of it says.",
        means="somebody got or lost rights on a way that leaves no trace: approvals of that user may be worthless",
        todo="look at what that user did since; take the right away in the admin; find out who could write the row",
        looks_at="SELECT NULL::bigint AS account_id FROM trading_user",
        find=either(
            _RIGHTS,
            f"""
            SELECT NULL::bigint, 'user', u.id::text, concat(u.username, ' has no audit event user.added')
            FROM trading_user u WHERE {_audited("trading.User", "u.id", "'user.added'")}
            """,
        ),
    ),
    Invariant(
        id="I-46",
        title="Every audit event has an actor and a subject that exists",
        rule="An audit event names who acted, through which door, and a known kind; a person's door names the user; "
        "what it is about is there; proposals, rejections and lifts by people have a reason.",
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
            f"""
            SELECT a.account_id, 'audit event', a.id::text, concat(a.kind, ' is no kind that there is')
            FROM trading_auditevent a WHERE a.kind NOT IN ({", ".join(f"'{kind}'" for kind in sorted(KINDS))})
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
