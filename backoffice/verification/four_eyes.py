"""Four eyes, counted again from the rows by person, and what was applied compared with what was approved."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from trading.domain.money import ZERO, parse_decimal, plain

from .registry import Invariant, Offence, either

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_FILLS = ("FILL", "EXTERNAL_FILL", "MARGIN_CLOSEOUT")
_UNITS = ("ADOPTION", "ESTIMATE")
_CHANGES = ("SPLIT", "SYMBOL_CHANGE")
_GOOD = """
    SELECT v.id, v.proposal_id, u.person_id, v.recorded_at FROM trading_approval v
    JOIN trading_proposal p ON p.id = v.proposal_id
    JOIN trading_user u ON u.id = v.approver_id JOIN trading_user w ON w.id = p.proposer_id
    WHERE v.verdict = 'APPROVE' AND v.payload_sha256 = p.payload_sha256 AND v.subject_version = p.subject_version
      AND u.person_id <> w.person_id AND v.recorded_at < p.expires_at
"""

# A stop that is placed, resized or cancelled is a leg of its decision; its size may have changed with its trade since.
_STOPS = """
    SELECT o.client_order_id, o.tag, i.symbol, o.side FROM trading_order o
    JOIN trading_instrument i ON i.id = o.instrument_id WHERE o.client_order_id = ANY(%s) AND o.account_id = %s
"""


def _applied_as_approved(cursor: CursorWrapper) -> Iterator[Offence]:
    """Each application's entries and orders against the payload that people saw."""
    done: dict[int, Counter[str]] = defaultdict(Counter)
    cursor.execute("""
        -- What is booked in the place of something has the broker's id with a number behind it.
        SELECT e.application_id, e.kind, e.reverses_id, split_part(f.external_id, '~', 1), i.symbol, f.side,
               f.quantity, f.price,
               -- Of shares people saw what the broker names (no profit), or what cash an estimate moves.
               CASE WHEN i.is_margin THEN f.realised WHEN e.kind <> 'ESTIMATE' OR f.settles_on IS NULL THEN 0
                    ELSE round(CASE f.side WHEN 'BUY' THEN -1 ELSE 1 END * f.quantity * f.price * i.multiplier, 12) END,
               f.financing, f.commission, split_part(c.external_id, '~', 1), c.currency, c.amount
        FROM trading_entry e LEFT JOIN trading_fill f ON f.id = e.fill_id
        LEFT JOIN trading_instrument i ON i.id = f.instrument_id
        LEFT JOIN trading_cashevent c ON c.id = e.cash_event_id
        WHERE e.application_id IS NOT NULL AND e.idempotency_key NOT LIKE 'restated:%'
    """)
    for application, kind, reverses, external, symbol, side, units, price, *money in cursor.fetchall():
        realised, financing, commission, movement, code, amount = money
        if kind == "REVERSAL":
            told = _entry(kind, reverses)
        elif kind in _FILLS:
            told = _entry(kind, external, side, units, price, realised, financing, commission)
        elif kind in _UNITS:
            told = _entry(kind, symbol, units if side == "BUY" else -units, price, realised)
        elif kind in _CHANGES:
            told = _entry(kind, symbol, units if side == "BUY" else -units)
        else:
            told = _entry(kind, code if kind == "ADJUSTMENT" else movement, amount)
        done[application][told] += 1
    cursor.execute("""
        SELECT o.application_id, o.tag, i.symbol, o.side, o.quantity, o.type, o.reduce_only
        FROM trading_order o JOIN trading_instrument i ON i.id = o.instrument_id WHERE o.application_id IS NOT NULL
    """)
    for application, *order in cursor.fetchall():
        done[application][_entry("ORDER", *order)] += 1
    cursor.execute("""
        SELECT v.application_id, o.client_order_id FROM trading_orderevent v JOIN trading_order o ON o.id = v.order_id
        WHERE v.application_id IS NOT NULL
    """)
    for application, client_id in cursor.fetchall():
        done[application][_entry("END", client_id)] += 1
    cursor.execute("""
        SELECT a.id, p.account_id, p.payload FROM trading_application a JOIN trading_proposal p ON p.id = a.proposal_id
    """)
    for application, account_id, payload in cursor.fetchall():
        told = json.loads(payload)
        approved = _approved(told)
        stops = [stop["client_id"] for stop in told.get("stops", [])]
        if stops:
            cursor.execute(_STOPS, [stops, account_id])
            done[application].update(_entry("STOP", *stop) for stop in cursor.fetchall())
        missing, extra = approved - done[application], done[application] - approved
        if missing:
            yield Offence(account_id, "application", str(application), f"did not do: {'; '.join(sorted(missing))}")
        if extra:
            yield Offence(account_id, "application", str(application), f"nobody approved: {'; '.join(sorted(extra))}")


def _approved(payload: dict[str, Any]) -> Counter[str]:
    wanted: Counter[str] = Counter()
    for entry in payload.get("entries", []):
        kind = entry["entry"]
        if kind in _CHANGES:
            sides = (("instrument", -parse_decimal(entry["before"])), ("into", parse_decimal(entry["after"])))
            for name, units in sides:
                wanted[_entry(kind, entry.get(name, entry["instrument"]), units)] += 1
            continue
        names: tuple[str, ...]
        if kind in _FILLS:
            names = ("external_id", "side", "quantity", "price", "realised", "financing", "commission")
        elif kind in _UNITS:
            names = ("instrument", "quantity", "price", "realised")
        elif kind == "ADJUSTMENT":
            names = ("currency", "amount")
        elif kind == "REVERSAL":
            names = ("reverses",)
        else:
            names = ("external_id", "amount")
        numbers = {"quantity", "price", "realised", "financing", "commission", "amount"}
        values = [parse_decimal(entry.get(n, "0")) if n in numbers else entry[n] for n in names]
        wanted[_entry(kind, *values)] += 1
    for order in payload.get("orders", []):
        quantity = parse_decimal(order["quantity"])
        leg = (order["tag"], order["instrument"], order["side"], quantity, order["type"], order["reduce_only"])
        wanted[_entry("ORDER", *leg)] += 1
    for client_id in payload.get("ends", []):
        wanted[_entry("END", client_id)] += 1
    for stop in payload.get("stops", []):
        wanted[_entry("STOP", stop["client_id"], stop["tag"], stop["instrument"], stop["side"])] += 1
    return wanted


def _entry(*parts: Any) -> str:
    return " ".join(plain(part or ZERO) if isinstance(part, Decimal) else str(part) for part in parts)


INVARIANTS = (
    Invariant(
        id="I-39",
        title="Nobody approved their own proposal",
        rule="The person behind an approval is another than the person behind the proposal; only the proposer "
        "withdraws.",
        means="one person alone changed the books or took a risk",
        todo="deactivate both users, undo what was applied by a reversal that two other people approve",
        looks_at="SELECT p.account_id FROM trading_approval v JOIN trading_proposal p ON p.id = v.proposal_id",
        find="""
            SELECT p.account_id, 'approval' AS object, v.id::text AS id,
                   concat(v.verdict, ' of proposal ', p.id, ' by ', u.username, ', proposed by ', w.username) AS problem
            FROM trading_approval v JOIN trading_proposal p ON p.id = v.proposal_id
            JOIN trading_user u ON u.id = v.approver_id JOIN trading_user w ON w.id = p.proposer_id
            WHERE (v.verdict = 'APPROVE' AND u.person_id = w.person_id)
               OR (v.verdict = 'WITHDRAW' AND u.person_id <> w.person_id)
        """,
    ),
    Invariant(
        id="I-40",
        title="Nothing was applied without its approvals, or twice",
        rule="An application had as many approvals of different persons as asked for, each for this payload and "
        "version, "
        "before it and before the expiry, and no rejection; a proposal has one application at most, and a case became "
        "APPLIED only through it.",
        means="the books were changed on a decision that was not taken",
        todo="undo it by a reversal that two people approve; find out which guard was missing",
        looks_at="SELECT p.account_id FROM trading_application a JOIN trading_proposal p ON p.id = a.proposal_id",
        find=either(
            f"""
            SELECT p.account_id, 'application' AS object, a.id::text AS id,
                   concat('of proposal ', p.id, ' had ', g.persons, ' of ', p.approvals_required, ' approvals, ',
                          no.verdicts, ' rejections, and was made at ', a.recorded_at, ' (expiry ', p.expires_at, ')')
                       AS problem
            FROM trading_application a JOIN trading_proposal p ON p.id = a.proposal_id
            CROSS JOIN LATERAL (SELECT count(DISTINCT good.person_id) AS persons FROM ({_GOOD}) good
                                WHERE good.proposal_id = p.id AND good.recorded_at <= a.recorded_at) g
            CROSS JOIN LATERAL (SELECT count(*) AS verdicts FROM trading_approval v
                                WHERE v.proposal_id = p.id AND v.verdict <> 'APPROVE') no
            WHERE p.approvals_required < 1 OR g.persons < p.approvals_required OR no.verdicts > 0
               OR a.recorded_at >= p.expires_at
            """,
            """
            SELECT p.account_id, 'proposal', p.id::text, concat('was applied ', count(*), ' times')
            FROM trading_application a JOIN trading_proposal p ON p.id = a.proposal_id GROUP BY p.id HAVING count(*) > 1
            """,
            """
            SELECT p.account_id, 'proposal', p.id::text,
                   concat('was put to ', p.approvals_required, ' people, and its payload asks for ', wanted.number)
            FROM trading_proposal p
            CROSS JOIN LATERAL (SELECT substring(p.payload FROM '[,{]"approvals":([0-9]{1,4})[,}]')::int
                                       AS number) wanted
            WHERE wanted.number > p.approvals_required
            """,
            """
            SELECT p.account_id, 'proposal', p.id::text,
                   concat('expires at ', p.expires_at, ', more than 24 hours after ', p.recorded_at)
            FROM trading_proposal p WHERE p.expires_at > p.recorded_at + interval '24 hours 2 minutes'
            """,
            """
            SELECT d.account_id, 'discrepancy event', e.id::text,
                   concat('says APPLIED; proposal ', coalesce(e.proposal_id::text, 'none'), ' has no application')
            FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
            LEFT JOIN trading_application a ON a.proposal_id = e.proposal_id
            LEFT JOIN trading_proposal p ON p.id = a.proposal_id AND p.subject_type = 'reconciliation.Discrepancy'
                AND p.subject_id = d.id
            WHERE e.kind = 'APPLIED' AND p.id IS NULL
            """,
            f"""
            SELECT d.account_id, 'discrepancy event', e.id::text,
                   concat('says APPROVED; proposal ', coalesce(e.proposal_id::text, 'none'), ' has no valid approval')
            FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
            WHERE e.kind = 'APPROVED' AND NOT EXISTS (SELECT 1 FROM ({_GOOD}) good
                WHERE good.proposal_id = e.proposal_id)
            """,
        ),
    ),
    Invariant(
        id="I-41",
        title="What was applied is what was approved",
        rule="The entries, the orders and the ends of orders of an application are exactly those of the payload that "
        "people saw, and the stops that it places, resizes or cancels are orders of the account as they were named. "
        "What its broker then made of a resize or a cancel is proved by the next complete run, not here.",
        means="the books or the broker got something else than two people decided",
        todo="stop applying; compare payload and entries on the proposal's page; undo the difference with four eyes",
        looks_at="SELECT p.account_id FROM trading_application a JOIN trading_proposal p ON p.id = a.proposal_id",
        find=_applied_as_approved,
    ),
    Invariant(
        id="I-43",
        title="Every account stands under a policy that was decided",
        rule="An account's policy is the last one that two people put in force, or the one it was opened with.",
        means="limits of risk, or what may book itself, were changed by one hand alone",
        todo="pause the account; propose the policy that should stand on its page; find out whose hand it was",
        looks_at="SELECT id AS account_id FROM trading_account",
        find="""
            SELECT a.id AS account_id, 'account' AS object, a.id::text AS id,
                   concat('stands under ', v.name, ' ', left(v.sha256, 8), CASE WHEN decided.id IS NULL
                          THEN concat(', and was opened under ', coalesce(opened.policy, 'none that is on record'))
                          ELSE concat(', and proposal ', decided.id, ' put ', left(decided.sha256, 8), ' in force') END)
                       AS problem
            FROM trading_account a JOIN trading_configversion v ON v.id = a.policy_id
            LEFT JOIN LATERAL (SELECT p.id, p.payload::jsonb->>'to' AS sha256 FROM trading_application x
                               JOIN trading_proposal p ON p.id = x.proposal_id
                               WHERE p.kind = 'POLICY' AND p.account_id = a.id
                               ORDER BY x.id DESC LIMIT 1) decided ON true
            LEFT JOIN LATERAL (SELECT e.after->>'policy' AS policy FROM trading_auditevent e
                               WHERE e.object_type = 'trading.Account' AND e.object_id = a.id::text
                                 AND e.kind = 'account.opened' ORDER BY e.id LIMIT 1) opened ON true
            WHERE CASE WHEN decided.id IS NULL
                       THEN opened.policy IS DISTINCT FROM concat(v.name, ' ', left(v.sha256, 8))
                       ELSE decided.sha256 IS DISTINCT FROM v.sha256 END
        """,
    ),
)
