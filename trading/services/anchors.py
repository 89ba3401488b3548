"""That the chain's head was written down outside the database, as a row: what the file says, and where it lies."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from trading.models import Anchor, AuditEvent

from . import audit
from .audit import Actor


def record_anchor(*, number: int, block_hash: bytes, at: datetime, sink: str, seal: str, actor: Actor) -> Anchor:
    """Write the row and its audit event. The file holds the line already: what a crash loses here is found there."""
    with transaction.atomic():
        anchor = Anchor.objects.create(at=at, number=number, hash=block_hash, sink=sink[:200], seal=seal)
        told = {"number": number, "hash": block_hash.hex(), "sink": sink[:200]}
        audit.record(kind="chain.anchored", actor=actor, obj=anchor, after=told, at=at)
        return anchor


def record_contradiction(*, reason: str, actor: Actor) -> AuditEvent | None:
    """That the books do not go on from their anchors: one critical event, None while the last one still stands."""
    with transaction.atomic():
        kinds = AuditEvent.objects.filter(kind__in=["chain.broken", "chain.anchored"]).order_by("-id")
        if kinds.values_list("kind", flat=True).first() == "chain.broken":
            return None
        return audit.record(kind="chain.broken", actor=actor, reason=reason)
