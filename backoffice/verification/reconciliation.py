"""Reconciliation: cases are the fold of their events, under one identity, and only complete runs conclude anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciliation.domain.fingerprint import fingerprint
from reconciliation.domain.kinds import Kind, family

from .registry import Invariant, Offence, either

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_CASES = "SELECT account_id FROM reconciliation_discrepancy"
_STEPS = (
    "SELECT d.account_id FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = "
    "e.discrepancy_id"
)
KEY_LENGTH = 120


def _identities(cursor: CursorWrapper) -> Iterator[Offence]:
    """The fingerprint of every case, made again; and no two cases of one difference."""
    cursor.execute("""
        SELECT d.id, d.account_id, d.fingerprint, d.kind, d.key,
               concat_ws(':', a.broker, a.environment, a.scope, a.external_id)
        FROM reconciliation_discrepancy d JOIN trading_account a ON a.id = d.account_id ORDER BY d.id
    """)
    same: dict[tuple[int, str, str], list[int]] = defaultdict(list)
    for pk, account_id, stored, kind, key, account in cursor.fetchall():
        if kind not in set(Kind):
            yield Offence(account_id, "discrepancy", str(pk), f"has the unknown kind {kind}")
            continue
        same[account_id, family(Kind(kind)), key].append(pk)
        # A longer key is stored cut off, so its fingerprint cannot be made again from the row.
        if len(key) < KEY_LENGTH and fingerprint(account=account, kind=Kind(kind), key=key) != stored:
            yield Offence(
                account_id, "discrepancy", str(pk), f"{kind} {key} carries the fingerprint of another difference"
            )
    for (account_id, name, key), pks in same.items():
        if len(pks) > 1:
            yield Offence(account_id, "discrepancy", ",".join(map(str, pks)), f"are all the difference {name} {key}")


INVARIANTS = (
    Invariant(
        id="I-31",
        title="Only complete answers conclude anything",
        rule="A FAILED run has an error, no findings, and touches no case but those of what cannot be read; an "
        "incomplete one at most raises a suspicion, but for cases that rely on a part that is complete; a complete one "
        "compared two snapshots.",
        means="a broker that did not answer may have been taken for a broker with nothing: positions may be called "
        "gone",
        todo="do not resolve the cases named here; run `reconcile` until it is complete, and judge by that",
        looks_at="SELECT account_id FROM reconciliation_run",
        find=either(
            """
            SELECT r.account_id, 'run' AS object, r.id::text AS id,
                   concat(r.status, ' with ', jsonb_array_length(r.findings), ' findings, error "', r.error, '"')
                       AS problem
            FROM reconciliation_run r WHERE r.status = 'FAILED' AND (r.findings <> '[]' OR r.error = ''
                OR r.broker_snapshot_id IS NOT NULL
                OR coalesce(r.counts->'complete_parts', '["answer"]') <> '["answer"]')
            """,
            """
            SELECT r.account_id, 'run', r.id::text, concat(r.status, ' with completeness ', r.completeness, ' and ',
                   num_nonnulls(r.broker_snapshot_id, r.books_snapshot_id), ' snapshots')
            FROM reconciliation_run r
            WHERE r.status <> 'FAILED' AND ((r.status = 'COMPLETE') <> (r.completeness = 'COMPLETE')
                OR num_nonnulls(r.broker_snapshot_id, r.books_snapshot_id) < 2)
            """,
            """
            SELECT d.account_id, 'discrepancy event', e.id::text,
                   concat(e.kind, ' → ', e.to_state, ' by run ', r.id, ', which was ', r.status)
            FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
            JOIN reconciliation_run r ON r.id = e.run_id
            WHERE r.status <> 'COMPLETE' AND (r.status = 'FAILED' OR e.to_state <> 'SUSPECTED')
                AND NOT coalesce(r.counts->'complete_parts' @> to_jsonb(e.details->>'relies_on'), false)
            """,
            """
            SELECT d.account_id, 'discrepancy', d.id::text, concat('was first or last seen by the failed run ', r.id)
            FROM reconciliation_discrepancy d JOIN reconciliation_run r ON r.id IN (d.first_run_id, d.last_run_id)
            WHERE r.status = 'FAILED' AND d.kind <> 'FETCH_FAILED'
            """,
            """
            SELECT d.account_id, 'discrepancy event', e.id::text,
                   concat('says that the ', d.kind, ' of ', d.key, ' relies on ', e.details->>'relies_on')
            FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
            WHERE (d.kind = 'FETCH_FAILED') IS DISTINCT FROM (e.details->>'relies_on' = 'answer')
                AND (d.kind = 'FETCH_FAILED' OR e.details->>'relies_on' = 'answer')
            """,
        ),
    ),
    Invariant(
        id="I-32",
        title="A case ends only by a later complete run",
        rule="CLOSED and CLEARED are steps of a run that is complete in what the case relies on; after a "
        "resolution, of one that read the books later than it was applied; of what could not be read, of one that "
        "has read it.",
        means="a difference was declared gone by whoever wanted it gone",
        todo="run `reconcile`: a difference that is still there comes back under the same case",
        looks_at=_STEPS,
        find=either(
            """
            SELECT d.account_id, 'discrepancy event' AS object, e.id::text AS id,
                   concat(e.kind, ' → ', e.to_state, ' by ', coalesce('run ' || r.id || ', which was ' || r.status,
                       'no run'))
                       AS problem
            FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
            LEFT JOIN reconciliation_run r ON r.id = e.run_id
            WHERE e.to_state IN ('CLOSED', 'CLEARED') AND r.status IS DISTINCT FROM 'COMPLETE'
                AND NOT (e.run_id IS NULL AND e.from_state = e.to_state)
                AND NOT coalesce(r.counts->'complete_parts' @> to_jsonb(e.details->>'relies_on'), false)
            """,
            """
            SELECT d.account_id, 'discrepancy event', e.id::text,
                   concat('ends the case by run ', r.id, ', stored before the resolution was applied')
            FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
            JOIN reconciliation_run r ON r.id = e.run_id
            JOIN reconciliation_discrepancyevent ap ON ap.discrepancy_id = d.id AND ap.kind = 'APPLIED'
                AND ap.sequence < e.sequence
            WHERE e.from_state = 'APPLIED' AND e.to_state IN ('CLOSED', 'CLEARED') AND r.recorded_at <= ap.recorded_at
            """,
            """
            SELECT d.account_id, 'discrepancy event', e.id::text,
                   concat('says that the ', d.key, ' could be read again, by run ', r.id, ', which was ', r.status,
                          ' and has not read it')
            FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
            JOIN reconciliation_run r ON r.id = e.run_id
            WHERE d.kind = 'FETCH_FAILED' AND e.to_state IN ('CLOSED', 'CLEARED') AND r.status <> 'COMPLETE'
                AND NOT coalesce(r.counts->'complete_parts' ?| CASE d.key WHEN 'answer'
                    THEN array['positions', 'orders', 'cash'] ELSE array[d.key] END, false)
            """,
        ),
    ),
    Invariant(
        id="I-38",
        title="One difference is one case",
        rule="A case's fingerprint is the one that account, family and key give, and no difference has two cases.",
        means="a difference could be resolved twice, and so booked twice",
        todo="resolve nothing of these cases; compare them, and withdraw the proposals of the newer one",
        looks_at=_CASES,
        find=_identities,
    ),
    Invariant(
        id="P-05",
        title="A case stands where its last step says",
        rule="State, owner, labels and number of reopenings are those of its events, each of which begins where the "
        "last one ended; what people write on a case leaves its state; a case under decision has its proposal, about "
        "itself and its version.",
        means="a case may look resolved that is not, or be decided on an old version",
        todo="run `reconcile`, and decide nothing about the case until it agrees",
        looks_at=_CASES,
        find=either(
            """
            SELECT d.account_id, 'discrepancy' AS object, d.id::text AS id,
                   concat('is ', d.state, ', reopened ', d.times_reopened, ' times; its events say ',
                          coalesce(last.to_state, 'nothing'), ' and ', s.reopened) AS problem
            FROM reconciliation_discrepancy d
            LEFT JOIN LATERAL (SELECT to_state FROM reconciliation_discrepancyevent e WHERE e.discrepancy_id = d.id
                               ORDER BY sequence DESC LIMIT 1) last ON true
            CROSS JOIN LATERAL (SELECT count(*) AS reopened FROM reconciliation_discrepancyevent e
                                WHERE e.discrepancy_id = d.id AND e.kind IN ('REOPENED', 'REOPENED_BY_PERSON')) s
            WHERE last.to_state IS DISTINCT FROM d.state OR s.reopened <> d.times_reopened
            """,
            """
            SELECT account_id, 'discrepancy event', id::text,
                   concat('begins at ', coalesce(nullif(from_state, ''), 'nothing'), ' where the case stood at ',
                          coalesce(nullif(before, ''), 'nothing'))
            FROM (SELECT e.id, d.account_id, e.from_state,
                         lag(e.to_state, 1, '') OVER (PARTITION BY e.discrepancy_id ORDER BY e.sequence) AS before
                  FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id) x
            WHERE from_state <> before
            """,
            """
            SELECT d.account_id, 'discrepancy event', e.id::text,
                   concat(e.kind, ' leads from ', e.from_state, ' to ', e.to_state)
            FROM reconciliation_discrepancyevent e JOIN reconciliation_discrepancy d ON d.id = e.discrepancy_id
            WHERE (e.kind IN ('ASSIGNED', 'LABELLED', 'COMMENTED', 'RELATED') AND e.from_state <> e.to_state)
               OR (e.kind = 'REOPENED_BY_PERSON' AND (e.from_state NOT IN ('CLOSED', 'CLEARED')
                   OR e.to_state <> 'SUSPECTED' OR e.actor_id IS NULL))
            """,
            """
            SELECT d.account_id, 'discrepancy', d.id::text,
                   concat('is the case of ', coalesce('user ' || d.owner_id, 'nobody'), '; its last step says ',
                          coalesce('user ' || (told.details->>'owner'), 'nobody'))
            FROM reconciliation_discrepancy d
            LEFT JOIN (SELECT DISTINCT ON (discrepancy_id) discrepancy_id, details
                       FROM reconciliation_discrepancyevent WHERE kind = 'ASSIGNED'
                       ORDER BY discrepancy_id, sequence DESC) told ON told.discrepancy_id = d.id
            WHERE d.owner_id::text IS DISTINCT FROM told.details->>'owner'
            """,
            """
            SELECT d.account_id, 'discrepancy', d.id::text,
                   concat('has the labels ', d.labels, '; its last step says ',
                          coalesce(told.details->'labels', '[]'))
            FROM reconciliation_discrepancy d
            LEFT JOIN (SELECT DISTINCT ON (discrepancy_id) discrepancy_id, details
                       FROM reconciliation_discrepancyevent WHERE kind = 'LABELLED'
                       ORDER BY discrepancy_id, sequence DESC) told ON told.discrepancy_id = d.id
            WHERE d.labels <> coalesce(told.details->'labels', '[]')
            """,
            """
            SELECT d.account_id, 'discrepancy', d.id::text,
                   concat('is ', d.state, ' in version ', d.version, ' with ',
                          coalesce('proposal ' || p.id || ' for version ' || p.subject_version, 'no proposal'))
            FROM reconciliation_discrepancy d
            LEFT JOIN trading_proposal p ON p.id = d.proposal_id AND p.subject_id = d.id
                AND p.subject_type = 'reconciliation.Discrepancy' AND p.account_id = d.account_id
            WHERE d.state IN ('PROPOSED', 'APPROVED', 'APPLIED') AND p.subject_version IS DISTINCT FROM d.version
            """,
        ),
    ),
    Invariant(
        id="R-11",
        title="Restrictions stand until they are lifted for a reason",
        rule="A confirmed case of high or critical severity about an instrument blocks entries on it, unless it is "
        "about a trade that the account does not hold; a lift says why.",
        means="new risk may be taken on top of a position that nobody can vouch for",
        todo="pause the account; run `reconcile`, which puts the restriction again",
        looks_at="SELECT account_id FROM trading_restriction",
        find=either(
            """
            SELECT d.account_id, 'discrepancy' AS object, d.id::text AS id,
                   concat(d.severity, ' ', d.kind, ' ', d.key, ' is ', d.state, ' and nothing blocks entries')
                       AS problem
            FROM reconciliation_discrepancy d
            WHERE d.state IN ('OPEN', 'PROPOSED', 'APPROVED', 'APPLIED') AND d.severity IN ('HIGH', 'CRITICAL')
              AND d.instrument_id IS NOT NULL AND d.kind <> 'UNMAPPED_TRADE'
              AND NOT EXISTS (SELECT 1 FROM trading_restriction r WHERE r.lifted_at IS NULL AND r.strategy = ''
                              AND (r.account_id IS NULL OR r.account_id = d.account_id)
                              AND (r.instrument_id IS NULL OR r.instrument_id = d.instrument_id))
            """,
            """
            SELECT r.account_id, 'restriction', r.id::text, concat('was lifted at ', r.lifted_at, ' without a reason')
            FROM trading_restriction r
            WHERE r.lifted_at IS NOT NULL AND trim(r.lift_reason) = ''
            """,
        ),
    ),
)
