"""The policy of an account."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import trading
from trading.domain.policy import load_policy
from trading.domain.settings_text import BadSettings

SHIPPED = (Path(trading.__file__).parent / "config" / "policies" / "fx.yaml").read_text(encoding="utf-8")


def test_the_shipped_policy_asks_people_and_opens_a_difference_after_two_runs() -> None:
    policy = load_policy(SHIPPED)
    assert policy.k_confirmations == 2
    assert policy.quarantine_seconds == 15
    assert policy.conflict_proposal == "ask"
    assert policy.apply_exact_own_fills
    assert policy.tolerances.cash_in("JPY") == 1
    assert policy.tolerances.cash_in("CHF") == Decimal("0.01")
    assert policy.price_age_limit == timedelta(seconds=60)


def test_flatten_on_conflict_makes_flattening_the_first_proposal() -> None:
    assert load_policy("policy: {name: x, flatten_on_conflict: true}").conflict_proposal == "flatten_external"


def test_another_value_is_another_policy() -> None:
    assert load_policy(SHIPPED).sha256 == load_policy(SHIPPED + "\n# a comment\n").sha256
    assert (
        load_policy(SHIPPED).sha256 != load_policy(SHIPPED.replace("k_confirmations: 2", "k_confirmations: 3")).sha256
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("policy: {name: x, k_confirmation: 3}", "policy.k_confirmation: unknown key"),
        ("policy: {name: x, tolerances: {money: 1}}", "policy.tolerances.money: unknown key"),
        ("policy: {name: x, k_confirmations: 0}", "policy.k_confirmations: must be greater"),
        ("policy: {name: x, add_on_buy_confidence_threshold: 4}", "policy.add_on_buy_confidence_threshold: must be"),
        ("policy: {name: x, max_allocation_per_symbol_pct: 0.11}", "must be less than or equal to 0.10"),
        ("policy: {name: x, default_proposal: guess}", "policy.default_proposal: must be"),
        ("policy: {name: x, max_risk_per_trade_pct: 3}", "max_risk_per_trade_pct must not be above"),
        (
            "policy: {name: x, flatten_on_conflict: true, default_proposal: adopt_broker}",
            "flatten_on_conflict contradicts",
        ),
        ("policy: {name: x, swing_exit_execution_window_start_min: 30}", "must be before"),
        ("policies: {}", "policies: unknown key"),
        ("{}", "policy: missing"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_with_its_path(text: str, complaint: str) -> None:
    with pytest.raises(BadSettings) as caught:
        load_policy(text)
    assert complaint in str(caught.value)
