"""What a comparison says: findings, the proof, and how far the answers could be trusted.

What always holds here: a finding says what it explains of each commodity's difference, and no part of a difference
is explained twice; `substance` changes exactly when what people would decide on has changed (not when a balance moved
under an unchanged difference).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from reconciliation.domain.kinds import Action, Confidence, Kind, Severity
from trading.domain.broker import Completeness, FillData
from trading.domain.canonical import canonical_json, sha256_hex
from trading.domain.money import ZERO, plain


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference, seen once. `difference` is broker − books where both are numbers.

    `explains` maps a commodity (a currency, or an instrument's symbol for its contracts) to the part of its
    difference that this finding accounts for. `event_ids` are our rows of the broker's events behind it.
    """

    kind: Kind
    key: str
    severity: Severity
    cause: str
    relies_on: Confidence
    instrument: str = ""
    commodity: str = ""
    books_value: Decimal | None = None
    broker_value: Decimal | None = None
    difference: Decimal | None = None
    explains: Mapping[str, Decimal] = field(default_factory=dict)
    event_ids: tuple[int, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    suggestion: Action | None = None
    matter: str = ""

    @property
    def substance(self) -> str:
        """A name (SHA-256) for what there is to decide: kind, difference, events, and `matter` (status words)."""
        return sha256_hex(
            canonical_json([self.kind, self.key, self.difference, self.event_ids, self.matter, dict(self.explains)])
        )

    def recorded(self) -> dict[str, Any]:
        """The finding as a run keeps it."""
        return {
            "kind": self.kind,
            "key": self.key,
            "severity": self.severity,
            "instrument": self.instrument,
            "commodity": self.commodity,
            "books": self.books_value,
            "broker": self.broker_value,
            "difference": self.difference,
            "explains": dict(self.explains),
            "events": list(self.event_ids),
            "evidence": dict(self.evidence),
            "cause": self.cause,
            "actions": list(self.actions),
            "suggestion": self.suggestion,
            "relies_on": self.relies_on,
            "substance": self.substance,
        }


@dataclass(frozen=True, slots=True)
class ProofLine:
    """One commodity: broker − books − what the findings explain. `unexplained` must be zero."""

    commodity: str
    broker: Decimal
    books: Decimal
    explained: Decimal
    tolerance: Decimal = ZERO

    @property
    def unexplained(self) -> Decimal:
        """What is left over: zero, or within the tolerance of the policy."""
        return self.broker - self.books - self.explained

    @property
    def holds(self) -> bool:
        """True when everything is explained."""
        return abs(self.unexplained) <= self.tolerance


@dataclass(frozen=True, slots=True)
class Findings:
    """The whole answer of one comparison. `notes` says what could not be concluded, and why.

    `complete_parts` are the parts of the answer by which a case may open, clear and close.
    """

    findings: tuple[Finding, ...]
    proof: tuple[ProofLine, ...]
    completeness: Completeness
    notes: tuple[str, ...]
    broker_positions: int
    books_positions: int
    linked: int
    complete_parts: frozenset[Confidence] = frozenset()

    def text(self) -> str:
        """Canonical JSON: the same inputs give the same text."""
        return canonical_json(
            {
                "findings": [finding.recorded() for finding in self.findings],
                "proof": self.proof_recorded(),
                "completeness": self.completeness,
                "complete_parts": sorted(self.complete_parts),
                "notes": list(self.notes),
            }
        )

    def proof_recorded(self) -> dict[str, dict[str, Any]]:
        """The proof as a run keeps it, by commodity."""
        return {
            line.commodity: {
                "broker": line.broker,
                "books": line.books,
                "explained": line.explained,
                "unexplained": line.unexplained,
                "holds": line.holds,
            }
            for line in self.proof
        }


def told(fill: FillData) -> dict[str, str]:
    """A fill as evidence keeps it."""
    return {
        "id": fill.external_id,
        "order": fill.broker_order_id,
        "client_id": fill.client_id,
        "side": fill.side,
        "quantity": plain(fill.quantity),
        "price": plain(fill.price),
        "realised": plain(fill.realised),
        "financing": plain(fill.financing),
        "commission": plain(fill.commission),
        "reason": fill.reason,
    }
