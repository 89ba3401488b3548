"""What carries a hash still has it: proposals, config versions, broker events and messages, snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trading.domain.canonical import canonical_json, sha256_hex

from .registry import Invariant, Offence

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

_BATCH = 2000
_TEXTS = """
    SELECT account_id, 'proposal', id::text FROM trading_proposal
    WHERE payload_sha256 <> encode(sha256(convert_to(payload, 'UTF8')), 'hex')
    UNION ALL
    SELECT NULL::bigint, 'config version', id::text FROM trading_configversion
    WHERE sha256 <> encode(sha256(convert_to(body, 'UTF8')), 'hex')
    UNION ALL
    SELECT account_id, 'snapshot', id::text FROM reconciliation_snapshot
    WHERE sha256 <> encode(sha256(convert_to(body, 'UTF8')), 'hex')
"""
# A path is stored cut off at 500 characters and hashed whole, so longer ones cannot be computed again.
_MESSAGES = """
    SELECT id, account_id, sha256, method, path, request_body, status, response_body FROM trading_brokermessage
    WHERE length(path) < 500 ORDER BY id
"""


def _recomputed(cursor: CursorWrapper) -> Iterator[Offence]:
    """Every stored hash, computed again from what it stands for."""
    cursor.execute(_TEXTS)
    for account_id, kind, pk in cursor.fetchall():
        yield Offence(account_id, kind, pk, "its text is not the one that its hash was made of")
    cursor.execute("SELECT id, account_id, body_sha256, body::text FROM trading_brokerevent ORDER BY id")
    while rows := cursor.fetchmany(_BATCH):
        for pk, account_id, digest, body in rows:
            if sha256_hex(canonical_json(json.loads(body))) != digest:
                yield Offence(account_id, "broker event", str(pk), "its body is not the one that its hash was made of")
    cursor.execute(_MESSAGES)
    while rows := cursor.fetchmany(_BATCH):
        for pk, account_id, digest, *parts in rows:
            if sha256_hex(canonical_json(parts)) != digest:
                yield Offence(account_id, "broker message", str(pk), "its text is not the one its hash was made of")


INVARIANTS = (
    Invariant(
        id="I-11b",
        title="Evidence is unchanged",
        rule="Payloads of proposals, config versions, bodies of broker events and messages, and snapshots have the "
        "hash "
        "that was stored with them.",
        means="what people approved, or what the broker said, was changed afterwards",
        todo="restore the row from the last backup whose `verify` was clean; find out who could write it",
        looks_at="SELECT account_id FROM trading_brokerevent UNION ALL SELECT account_id FROM trading_brokermessage "
        "UNION ALL SELECT account_id FROM trading_proposal",
        find=_recomputed,
    ),
)
