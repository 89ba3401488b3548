"""The part of an account's policy that reconciliation goes by."""

from __future__ import annotations

from reconciliation.domain.policy import ReconciliationPolicy
from trading.models import Account
from trading.selectors.policies import standing_policy


def reconciliation_policy(account: Account) -> ReconciliationPolicy:
    """Reconciliation's reading of the account's policy."""
    return ReconciliationPolicy.of(standing_policy(account))
