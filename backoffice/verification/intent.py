"""Intent: orders come from exactly one intent, under its derived id, and are sent only after they were committed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trading.domain.ids import client_order_id

from .registry import Invariant, Offence, either

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_INTENTS = """
    SELECT o.id, o.account_id, a.name, o.tag, o.sequence, o.client_order_id,
           num_nonnulls(o.decision_id, o.exit_intent_id, o.application_id, o.kill_epoch),
           count(*) OVER (PARTITION BY o.account_id, o.decision_id, o.exit_intent_id, o.application_id, o.kill_epoch,
                          o.tag, o.sequence),
           d.client_plan_id, xd.client_plan_id,
           (SELECT count(*) FROM trading_exitintent e
            WHERE e.account_id = x.account_id AND e.decision_id = x.decision_id AND e.id < x.id),
           p.id, p.payload_sha256
    FROM trading_order o
    JOIN trading_account a ON a.id = o.account_id
    LEFT JOIN trading_decision d ON d.id = o.decision_id
    LEFT JOIN trading_exitintent x ON x.id = o.exit_intent_id
    LEFT JOIN trading_decision xd ON xd.id = x.decision_id
    LEFT JOIN trading_application ap ON ap.id = o.application_id
    LEFT JOIN trading_proposal p ON p.id = ap.proposal_id
    ORDER BY o.id
"""


def _derived_ids(cursor: CursorWrapper) -> Iterator[Offence]:
    """The id of every order, derived again from what it stands for."""
    cursor.execute(_INTENTS)
    for row in cursor.fetchall():
        pk, account_id, account, tag, sequence, stored, intents, same, plan, exit_plan, earlier, proposal, digest = row
        if intents != 1:
            yield Offence(account_id, "order", str(pk), f"has {intents} intents, must have exactly one")
            continue
        if same > 1:
            yield Offence(account_id, "order", str(pk), f"{same} orders stand for one intent, leg {tag} {sequence}")
        if plan is not None:
            intent = f"decision:{plan}"
        elif exit_plan is not None:
            intent = f"exit:{exit_plan}:{earlier + 1}"
        elif proposal is not None:
            intent = f"application:{proposal}:{digest}"
        else:
            continue
        wanted = client_order_id(intent=intent, account=account, tag=tag, sequence=sequence)
        if wanted != stored:
            yield Offence(account_id, "order", str(pk), f"carries the id {stored}; its intent gives {wanted}")


INVARIANTS = (
    Invariant(
        id="I-01",
        title="One order for each intent and leg, under the id derived from it",
        rule="An order has exactly one intent, an intent has one order a leg and account, and the client order id is "
        "the one that intent, account and leg give.",
        means="a retry after a crash would not find this order again and could place it a second time",
        todo="pause the account, compare the order with the broker's by both ids, and correct it before resuming",
        looks_at="SELECT account_id FROM trading_order",
        find=_derived_ids,
    ),
    Invariant(
        id="I-03",
        title="One broker order for each leg",
        rule="No client order id occurs twice, none stands for two orders of the broker (but for those that it put in "
        "each other's place), and no order of the broker stands for two of ours.",
        means="one decision may have been placed twice: the account can hold twice the intended risk",
        todo="pause the account, look both orders up at the broker, close what is too much, and run `reconcile`",
        looks_at="SELECT account_id FROM trading_order WHERE broker_order_id <> ''",
        find=either(
            """
            SELECT account_id, 'order' AS object, string_agg(id::text, ',' ORDER BY id) AS id,
                   concat('share the broker order ', broker_order_id) AS problem
            FROM (SELECT account_id, id, broker_order_id FROM trading_order WHERE broker_order_id <> ''
                  UNION SELECT account_id, order_id, broker_order_id FROM trading_orderalias) had
            GROUP BY account_id, broker_order_id HAVING count(*) > 1
            """,
            """
            SELECT min(account_id), 'order', string_agg(id::text, ',' ORDER BY id),
                   concat('share the client id ', client_order_id)
            FROM trading_order GROUP BY client_order_id HAVING count(*) > 1
            """,
            """
            SELECT b.account_id, 'broker event', string_agg(b.id::text, ',' ORDER BY b.id),
                   concat('fills under client id ', f->>'client_id', ' came from the broker orders ',
                          string_agg(DISTINCT f->>'broker_order_id', ' and '))
            FROM trading_brokerevent b CROSS JOIN LATERAL jsonb_array_elements(coalesce(b.facts->'fills', '[]')) f
            WHERE f->>'client_id' <> ''
              AND NOT EXISTS (SELECT 1 FROM trading_orderalias a JOIN trading_order o ON o.id = a.order_id
                              WHERE a.account_id = b.account_id AND a.broker_order_id = f->>'broker_order_id'
                                AND o.client_order_id = f->>'client_id')
            GROUP BY b.account_id, f->>'client_id' HAVING count(DISTINCT f->>'broker_order_id') > 1
            """,
        ),
    ),
    Invariant(
        id="R-01",
        title="Sent only after the intent was committed",
        rule="An order that left PLANNED for the broker was claimed first, as many times as it was submitted, and no "
        "submission is older than its order.",
        means="something reached the broker that our books did not know of at that moment",
        todo="look at the order's messages in the admin and at the broker's history around the first of them",
        looks_at="SELECT account_id FROM trading_order WHERE attempt > 0",
        find=either(
            """
            SELECT m.account_id, 'broker message' AS object, m.id::text AS id,
                   concat('submitted at ', m.finished_at, ' order ', o.id, ', which was recorded at ', o.recorded_at)
                       AS problem
            FROM trading_brokermessage m JOIN trading_order o ON o.id = m.order_id
            WHERE m.purpose = 'submit' AND m.finished_at < o.recorded_at
            """,
            """
            SELECT o.account_id, 'order', o.id::text,
                   concat('was submitted ', sent.n, ' times and claimed ', claimed.n, ' times')
            FROM trading_order o
            CROSS JOIN LATERAL (SELECT count(*) AS n FROM trading_brokermessage m
                                WHERE m.order_id = o.id AND m.purpose = 'submit' AND m.method = 'POST') sent
            CROSS JOIN LATERAL (SELECT count(*) AS n FROM trading_orderevent e
                                WHERE e.order_id = o.id AND e.to_state = 'SENDING') claimed
            WHERE sent.n > claimed.n OR claimed.n <> o.attempt
            """,
            """
            SELECT o.account_id, 'order', o.id::text, concat('is ', o.state, ' and was never claimed for sending')
            FROM trading_order o
            WHERE o.rides_on_id IS NULL AND o.state NOT IN ('PLANNED', 'CANCELLED', 'EXPIRED')
              AND NOT EXISTS (SELECT 1 FROM trading_orderevent e WHERE e.order_id = o.id AND e.to_state = 'SENDING')
            """,
        ),
    ),
    Invariant(
        id="I-14",
        title="Every attempt of an order is the same order",
        rule="All submissions of one order carry the same body, and that body carries its client order id.",
        means="a repeated submission was not the same order: the broker may hold both",
        todo="compare the messages of the order in the admin, and look the order up at the broker",
        looks_at="SELECT account_id FROM trading_brokermessage WHERE purpose = 'submit' AND method = 'POST'",
        find=either(
            """
            SELECT o.account_id, 'order' AS object, o.id::text AS id,
                   concat(count(DISTINCT m.request_body), ' different bodies were submitted') AS problem
            FROM trading_brokermessage m JOIN trading_order o ON o.id = m.order_id
            WHERE m.purpose = 'submit' AND m.method = 'POST'
            GROUP BY o.id HAVING count(DISTINCT m.request_body) > 1
            """,
            """
            SELECT m.account_id, 'broker message', m.id::text,
                   concat('does not carry the client id ', o.client_order_id, ' of order ', o.id)
            FROM trading_brokermessage m JOIN trading_order o ON o.id = m.order_id
            WHERE m.purpose = 'submit' AND m.method = 'POST' AND position(o.client_order_id IN m.request_body) = 0
            """,
        ),
    ),
    Invariant(
        id="R-13",
        title="Signal, decision and order belong together",
        rule="Every signal has one decision; an approved one has its entry order with the decided size, side and "
        "instrument; a rejected one has no order at all.",
        means="an order exists that nobody decided, or a decision was lost",
        todo="pause the account; cancel at the broker what nobody decided; a lost entry is not placed afterwards",
        looks_at="SELECT account_id FROM trading_signal",
        find=either(
            """
            SELECT s.account_id, 'signal' AS object, s.id::text AS id, concat('has ', count(d.id), ' decisions')
                AS problem
            FROM trading_signal s LEFT JOIN trading_decision d ON d.signal_id = s.id
            GROUP BY s.id HAVING count(d.id) <> 1
            """,
            """
            SELECT d.account_id, 'decision', d.id::text,
                   concat('is approved for ', trim_scale(d.position_size), ' units; its entry order has ',
                          coalesce(trim_scale(o.quantity)::text, 'none'))
            FROM trading_decision d
            LEFT JOIN trading_order o ON o.decision_id = d.id AND o.account_id = d.account_id AND o.tag = 'ENTRY'
            WHERE d.verdict = 'APPROVED' AND o.quantity IS DISTINCT FROM d.position_size
            """,
            """
            SELECT o.account_id, 'order', o.id::text, concat('comes from the rejected decision ', d.id)
            FROM trading_order o LEFT JOIN trading_exitintent x ON x.id = o.exit_intent_id
            JOIN trading_decision d ON d.id = coalesce(o.decision_id, x.decision_id)
            WHERE d.verdict <> 'APPROVED'
            """,
            """
            SELECT o.account_id, 'order', o.id::text,
                   concat(o.tag, ' ', o.side, ' on instrument ', o.instrument_id, ' does not fit its signal ', s.id,
                       ': ',
                          s.side, ' on instrument ', s.instrument_id)
            FROM trading_order o LEFT JOIN trading_exitintent x ON x.id = o.exit_intent_id
            JOIN trading_decision d ON d.id = coalesce(o.decision_id, x.decision_id)
            JOIN trading_signal s ON s.id = d.signal_id
            WHERE o.instrument_id <> s.instrument_id OR (o.tag = 'ENTRY') <> (o.side = s.side)
            """,
        ),
    ),
    Invariant(
        id="R-15",
        title="Only what passed every gate was approved",
        rule="An approved decision has gates and all of them passed, within its policy's risk for a trade; a rejected "
        "one has a gate that failed.",
        means="risk was taken that the limits forbid",
        todo="pause the strategy, close what the decision opened if it stands above a limit, and find out how it "
        "passed",
        looks_at="SELECT account_id FROM trading_decision",
        find=either(
            """
            SELECT d.account_id, 'decision' AS object, d.id::text AS id,
                   concat('is ', d.verdict, ' with ', g.passed, ' of ', g.all_gates, ' gates passed') AS problem
            FROM trading_decision d
            CROSS JOIN LATERAL (SELECT count(*) AS all_gates, count(*) FILTER (WHERE (v->>'passed')::boolean) AS passed
                                FROM jsonb_array_elements(d.gates) v) g
            WHERE (d.verdict = 'APPROVED') <> (g.all_gates > 0 AND g.passed = g.all_gates)
            """,
            """
            SELECT d.account_id, 'decision', d.id::text,
                   concat('risks ', trim_scale(d.risk_pct), ' % where the policy allows ', p.allowed, ' %')
            FROM trading_decision d JOIN trading_account a ON a.id = d.account_id
            JOIN trading_configversion v ON v.id = a.policy_id
            CROSS JOIN LATERAL (SELECT (v.body::jsonb->>'max_risk_per_trade_pct')::numeric AS allowed) p
            WHERE d.verdict = 'APPROVED' AND d.risk_pct > p.allowed
            """,
        ),
    ),
)
