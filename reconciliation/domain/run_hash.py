"""The name of a comparison: what was compared, under which policy and rules, and what came of it.

What always holds here: equal sides under an equal policy and equal rules have one name, whenever they were read; any
other side, policy, rule or outcome has another. An outcome is what there is to decide, what could not be concluded and
the proof, not how grave something has become by growing older.
"""

from __future__ import annotations

from datetime import datetime

from reconciliation.domain.findings import Findings
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.rules import RULES_VERSION
from trading.domain.canonical import canonical_json, sha256_hex


def run_sha256(
    *,
    broker: tuple[str, datetime],
    books: tuple[str, datetime],
    policy: ReconciliationPolicy,
    findings: Findings,
    rules_version: str = RULES_VERSION,
) -> str:
    """SHA-256 of a comparison. Each side is its snapshot's canonical text and the moment that it was taken at."""
    outcome = {
        "substances": [[finding.kind, finding.key, finding.substance] for finding in findings.findings],
        "proof": findings.proof_recorded(),
        "completeness": findings.completeness,
        "complete_parts": sorted(findings.complete_parts),
        "notes": findings.notes,
    }
    sides = [sha256_hex(_at_no_moment(text, at)) for text, at in (broker, books)]
    return sha256_hex(canonical_json([*sides, rules_version, policy, outcome]))


def _at_no_moment(text: str, at: datetime) -> str:
    """A snapshot's text without its own moment, which says when it was looked at and not what was seen.

    Its keys are sorted, and a quote inside a value is escaped: the first `at` is the snapshot's own.
    """
    return text.replace(f'"at":{canonical_json(at)},', "", 1)
