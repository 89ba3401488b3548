"""The policy that an account stands under."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from trading.domain.money import BadNumber, parse_decimal
from trading.domain.policy import AccountPolicy
from trading.domain.settings_text import validate
from trading.models import Account


def policy_of(account: Account) -> AccountPolicy:
    """The account's policy, from its config version."""
    return _parsed(account.policy.body)


@lru_cache(maxsize=64)
def _parsed(body: str) -> AccountPolicy:
    """The same text reads the same, in whatever database it lies."""
    return validate(AccountPolicy, _numbers(json.loads(body)), "policy")


def _numbers(value: Any) -> Any:
    """Canonical JSON writes decimals as text; give them back as numbers."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str):
        try:
            return parse_decimal(value)
        except BadNumber:
            return value
    return value
