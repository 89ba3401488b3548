"""The policy that an account stands under."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from trading.domain.money import BadNumber, parse_decimal
from trading.domain.policy import AccountPolicy
from trading.domain.settings_text import validate
from trading.models import Account, ConfigVersion


def policy_of(account: Account) -> AccountPolicy:
    """The account's policy, from the config version that this object was read with."""
    return read_policy(account.policy.body)


def standing_policy(account: Account) -> AccountPolicy:
    """The policy that the account stands under now: for whoever keeps an account for long."""
    return read_policy(ConfigVersion.objects.get(pk=Account.objects.values("policy").filter(pk=account.pk)[:1]).body)


@lru_cache(maxsize=64)
def read_policy(body: str) -> AccountPolicy:
    """A config version's text as the policy it is. Raises `BadSettings` for a text that is none.

    The same text reads the same, in whatever database it lies.
    """
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
