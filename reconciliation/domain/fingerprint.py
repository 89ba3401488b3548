"""The identity of a case over time.

What always holds here: the same account, family and key give the same fingerprint in every run and on every machine;
different ones never share it. Values are no part of it: a difference that grows is the same case.
"""

from __future__ import annotations

from reconciliation.domain.kinds import Kind, family
from trading.domain.canonical import canonical_json, sha256_hex


def fingerprint(*, account: str, kind: Kind, key: str) -> str:
    """The SHA-256 that names the case of `key` on `account`.

    `account` names one account for ever (broker, environment, scope and the broker's own id of it).
    """
    return sha256_hex(canonical_json(["discrepancy", account, family(kind), key]))
