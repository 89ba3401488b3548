"""The policy of an account: how its books are compared with the broker's, what may resolve itself, and its risk caps.

What always holds here: a policy is refused when a key is unknown or a value is outside the bounds that the product
guarantees (add-on buys need the highest confidence, no symbol gets more than a tenth of the account); its canonical
JSON is the body of the config version, so an application by policy names exactly the rule that allowed it. What a
policy may apply by itself is only exact fills of our own orders and typed cash events; everything else stays a
proposal for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from trading.domain.canonical import canonical_json, sha256_hex
from trading.domain.money import ONE
from trading.domain.settings_text import STRICT, BadSettings, Flag, Number, Text, Whole, read_settings, validate

NotBelowZero = Annotated[Number, Field(ge=0)]
Percent = Annotated[Number, Field(gt=0, le=100)]
Seconds = Annotated[Whole, Field(ge=0)]
Minutes = Annotated[Whole, Field(ge=0)]
Factor = Annotated[Number, Field(gt=0, le=2)]
CONFIDENCES = range(1, 6)


@dataclass(frozen=True, config=STRICT)
class Tolerances:
    """How far two books may differ without being different.

    `quantity_steps` in steps of the instrument's lot, `average_price_steps` in steps of its price, `cash` in units of
    each currency (`cash_default` for those not named).
    """

    quantity_steps: NotBelowZero = Decimal(0)
    average_price_steps: NotBelowZero = Decimal(1)
    cash: Mapping[Text, NotBelowZero] = Field(default_factory=dict)
    cash_default: NotBelowZero = Decimal(0)

    def cash_in(self, currency: str) -> Decimal:
        """The tolerance of a currency's cash."""
        return self.cash.get(currency, self.cash_default)


@dataclass(frozen=True, config=STRICT)
class AccountPolicy:
    """One account's policy.

    A difference opens once `k_confirmations` complete runs saw it, or once it is older than `race_window_seconds`.
    `quarantine_seconds` is how long after a send's deadline an absent order may still arrive at the broker.
    A run that finds `mass_difference_at` differences or more pauses entries on the account; more than `alert_cap` cases
    that people are to hear of in one run are told as one message, which names so many of them.
    A resolution that moves more than `materiality` (account currency) needs two approvals; 0: one is always enough.
    With `ask_about_late_fills` a fill of ours that the broker shows only once a difference about its instrument is open
    is booked by people, not by itself. Risk and loss limits are percent of equity, `max_allocation_per_symbol_pct` is
    the fraction that its name has always meant (0.05 is five percent); it cuts positions that are paid for (shares),
    not those on margin. A trade risks what the session says times one of `risk_by_confidence`, five factors for a
    signal's confidence from 1 to 5; a signal without one counts as 1. Without factors confidence changes nothing.
    `one_entry_per_symbol_a_day` allows one entry a symbol and day, else one a strategy, symbol, direction and day.
    A limit entry that has not filled follows the market for up to `chase_ticks`, which its size and risk are measured
    with; one that rests unfilled for `entry_timeout_seconds` ends (0: with its window only).
    """

    name: Text
    # Comparing
    k_confirmations: Annotated[Whole, Field(ge=1)] = 2
    race_window_seconds: Seconds = 60
    reconciliation_interval_seconds: Annotated[Whole, Field(ge=1)] = 300
    max_retries: Annotated[Whole, Field(ge=0, le=10)] = 3
    quarantine_seconds: Seconds = 15
    stale_order_minutes: Minutes = 60
    unmapped_alert_above: Annotated[Whole, Field(ge=0)] = 3
    mass_difference_at: Annotated[Whole, Field(ge=1)] = 100
    alert_cap: Annotated[Whole, Field(ge=1)] = 10
    materiality: NotBelowZero = Decimal(0)
    tolerances: Tolerances = Field(default_factory=Tolerances)
    # Resolving
    default_proposal: Literal["ask", "adopt_broker", "flatten_external"] = "ask"
    flatten_on_conflict: Flag = False
    apply_exact_own_fills: Flag = True
    apply_typed_cash_events: Flag = True
    ask_about_late_fills: Flag = False
    reconciliation_backfill_enabled: Flag = True
    reconciliation_mark_unknown_closed: Flag = True
    # Risk
    max_risk_per_trade_pct: Percent = Decimal("0.5")
    max_portfolio_heat_pct: Percent = Decimal(2)
    max_symbol_risk_pct: Percent = Decimal(100)
    max_daily_loss_pct: Percent = Decimal(100)
    max_trades_per_day: Annotated[Whole, Field(ge=1)] = 1000
    one_entry_per_symbol_a_day: Flag = False
    risk_by_confidence: tuple[Factor, ...] = ()
    price_age_limit_seconds: Annotated[Whole, Field(ge=1)] = 60
    entry_age_limit_seconds: Annotated[Whole, Field(ge=60)] = 600
    entry_timeout_seconds: Seconds = 0
    chase_ticks: Annotated[Whole, Field(ge=0, le=20)] = 0
    # Swing trading
    add_on_buy_enabled: Flag = True
    add_on_buy_confidence_threshold: Annotated[Whole, Field(ge=5)] = 5
    max_allocation_per_symbol_pct: Annotated[Number, Field(gt=0, le=Decimal("0.10"))] = Decimal("0.05")
    swing_exit_two_phase_enabled: Flag = True
    swing_exit_execution_window_start_min: Minutes = 5
    swing_exit_execution_window_end_min: Minutes = 30

    def __post_init__(self) -> None:
        """Refuse rules that contradict each other."""
        if self.swing_exit_execution_window_start_min >= self.swing_exit_execution_window_end_min:
            raise ValueError("swing_exit_execution_window_start_min must be before swing_exit_execution_window_end_min")
        if self.max_risk_per_trade_pct > self.max_portfolio_heat_pct:
            raise ValueError("max_risk_per_trade_pct must not be above max_portfolio_heat_pct")
        if self.max_risk_per_trade_pct > self.max_symbol_risk_pct:
            raise ValueError("max_risk_per_trade_pct must not be above max_symbol_risk_pct")
        if self.risk_by_confidence and len(self.risk_by_confidence) != len(CONFIDENCES):
            raise ValueError("risk_by_confidence must be five factors, for the confidences 1 to 5, or none")
        if list(self.risk_by_confidence) != sorted(self.risk_by_confidence):
            raise ValueError("risk_by_confidence must not fall: more confidence never means less risk")
        if self.flatten_on_conflict and self.default_proposal == "adopt_broker":
            raise ValueError("flatten_on_conflict contradicts default_proposal adopt_broker")

    @property
    def conflict_proposal(self) -> str:
        """What is proposed first for a position that only the broker has."""
        return "flatten_external" if self.flatten_on_conflict else self.default_proposal

    def risk_factor(self, confidence: int | None) -> Decimal:
        """By what the session's risk of a trade is multiplied. Raises `ValueError` for a confidence off the scale."""
        if not self.risk_by_confidence:
            return ONE
        return self.risk_by_confidence[CONFIDENCES.index(CONFIDENCES[0] if confidence is None else confidence)]

    @property
    def price_age_limit(self) -> timedelta:
        """Prices older than this block entries, never exits."""
        return timedelta(seconds=self.price_age_limit_seconds)

    @property
    def entry_age_limit(self) -> timedelta:
        """A market entry that could not be sent for this long is never sent: longer than any quarantine."""
        return timedelta(seconds=self.entry_age_limit_seconds)

    @property
    def entry_timeout(self) -> timedelta | None:
        """A resting entry that has not filled for this long ends; None: not before its window."""
        return timedelta(seconds=self.entry_timeout_seconds) if self.entry_timeout_seconds else None

    @property
    def canonical(self) -> str:
        """The canonical JSON text: the body of the config version."""
        return canonical_json(self)

    @property
    def sha256(self) -> str:
        """The identity of this policy."""
        return sha256_hex(self.canonical)


def load_policy(text: str) -> AccountPolicy:
    """The policy that YAML `text` (one key `policy`) writes. Raises `BadSettings` with the path of what is wrong."""
    data = read_settings(text)
    for key in data:
        if key != "policy":
            raise BadSettings(f"{key}: unknown key (known here: policy)")
    if "policy" not in data:
        raise BadSettings("policy: missing")
    return validate(AccountPolicy, data["policy"], "policy")
