"""The part of an account's policy that reconciliation goes by.

What always holds here: it is a plain reading of `AccountPolicy`, so whatever is decided by it names the config
version that allowed it; tolerances are exact and never negative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from reconciliation.domain.snapshots import InstrumentRule
from trading.domain.money import ONE, ZERO
from trading.domain.policy import AccountPolicy


class DefaultProposal(StrEnum):
    """What is suggested first for a position that differs."""

    ADOPT_BROKER = "adopt_broker"
    FLATTEN_EXTERNAL = "flatten_external"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class ReconciliationPolicy:
    """Settings of one account's reconciliation.

    A difference opens once `confirm_runs` complete runs have seen it, or once it is older than
    `race_window_seconds` (on the account's clock). `quantity_steps` is in steps of the instrument's quantity,
    `price_steps` in steps of its price, `cash` in units of each currency (`cash_default` for those not named).
    An order without news for `stale_order_minutes` is stale; more than `unmapped_alert_above` decisions without a link
    to the broker are a graver matter than each of them. As many differences in one run as `mass_difference_at` are a
    matter of their own: entries pause. More than `alert_cap` cases that a run tells people of are one message.
    """

    interval_seconds: int = 300
    confirm_runs: int = 2
    race_window_seconds: int = 60
    max_retries: int = 3
    backfill_enabled: bool = True
    mark_unknown_closed: bool = True
    default_proposal: DefaultProposal = DefaultProposal.ASK
    quantity_steps: Decimal = ZERO
    price_steps: Decimal = ONE
    cash: Mapping[str, Decimal] = field(default_factory=dict)
    cash_default: Decimal = ZERO
    stale_order_minutes: int = 60
    unmapped_alert_above: int = 3
    mass_difference_at: int = 100
    alert_cap: int = 10

    @classmethod
    def of(cls, policy: AccountPolicy) -> ReconciliationPolicy:
        """Reconciliation's reading of an account's policy."""
        return cls(
            interval_seconds=int(policy.reconciliation_interval_seconds),
            confirm_runs=int(policy.k_confirmations),
            race_window_seconds=int(policy.race_window_seconds),
            max_retries=int(policy.max_retries),
            backfill_enabled=bool(policy.reconciliation_backfill_enabled),
            mark_unknown_closed=bool(policy.reconciliation_mark_unknown_closed),
            default_proposal=DefaultProposal(policy.conflict_proposal),
            quantity_steps=policy.tolerances.quantity_steps,
            price_steps=policy.tolerances.average_price_steps,
            cash=dict(policy.tolerances.cash),
            cash_default=policy.tolerances.cash_default,
            stale_order_minutes=int(policy.stale_order_minutes),
            unmapped_alert_above=int(policy.unmapped_alert_above),
            mass_difference_at=int(policy.mass_difference_at),
            alert_cap=int(policy.alert_cap),
        )

    def quantity_tolerance(self, rule: InstrumentRule) -> Decimal:
        """Units within which two quantities count as equal."""
        return self.quantity_steps * rule.quantity_step

    def price_tolerance(self, rule: InstrumentRule) -> Decimal:
        """Price difference within which two prices count as equal: brokers round averages to a step."""
        return self.price_steps * rule.price_step

    def cash_tolerance_of(self, currency: str) -> Decimal:
        """Amount within which two balances of a currency count as equal."""
        return self.cash.get(currency, self.cash_default)

    def recorded(self) -> dict[str, Any]:
        """The tolerances and the rule of confirmation, as they are kept with each run."""
        return {
            "confirm_runs": self.confirm_runs,
            "race_window_seconds": self.race_window_seconds,
            "quantity_steps": self.quantity_steps,
            "price_steps": self.price_steps,
            "cash": dict(self.cash),
            "cash_default": self.cash_default,
            "stale_order_minutes": self.stale_order_minutes,
            "unmapped_alert_above": self.unmapped_alert_above,
        }
