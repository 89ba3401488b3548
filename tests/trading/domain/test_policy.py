"""The policy of an account."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import trading
from trading.domain.policy import load_policy
from trading.domain.settings_text import BadSettings

POLICIES = Path(trading.__file__).parent / "config" / "policies"
SHIPPED, US = ((POLICIES / f"{name}.yaml").read_text(encoding="utf-8") for name in ("fx", "us_swing"))


def test_the_shipped_policy_asks_people_and_opens_a_difference_after_two_runs() -> None:
    policy = load_policy(SHIPPED)
    assert policy.k_confirmations == 2
    assert policy.quarantine_seconds == 15
    assert policy.conflict_proposal == "ask"
    assert policy.apply_exact_own_fills
    assert policy.price_age_limit == timedelta(seconds=60)


def test_no_shipped_policy_lets_any_amount_of_cash_pass() -> None:
    for path in POLICIES.glob("*.yaml"):
        tolerances = load_policy(path.read_text(encoding="utf-8")).tolerances
        assert [tolerances.cash_in(code) for code in ("USD", "JPY", "INR", "CHF")] == [0, 0, 0, 0], path.name


def test_the_us_policy_has_the_limits_of_its_preset() -> None:
    policy = load_policy(US)
    assert [policy.risk_factor(confidence) for confidence in range(1, 6)] == [
        Decimal("0.25"),
        Decimal("0.5"),
        Decimal("0.75"),
        1,
        Decimal("1.25"),
    ]
    assert policy.risk_factor(None) == Decimal("0.25"), "a signal that is not rated is not trusted more than the least"
    assert (policy.max_symbol_risk_pct, policy.max_portfolio_heat_pct, policy.max_daily_loss_pct) == (2, 8, 2)
    assert (policy.max_trades_per_day, policy.one_entry_per_symbol_a_day) == (4, True)
    assert policy.max_allocation_per_symbol_pct == Decimal("0.05")
    for strange in (0, 6):
        with pytest.raises(ValueError):
            policy.risk_factor(strange)


def test_without_factors_confidence_changes_no_risk() -> None:
    assert [load_policy(SHIPPED).risk_factor(confidence) for confidence in (None, 1, 5)] == [1, 1, 1]


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
        ("policy: {name: x, max_symbol_risk_pct: 0.4}", "max_risk_per_trade_pct must not be above max_symbol_risk_pct"),
        ("policy: {name: x, max_daily_loss_pct: 0}", "policy.max_daily_loss_pct: must be greater"),
        ("policy: {name: x, max_trades_per_day: 0}", "policy.max_trades_per_day: must be greater"),
        ("policy: {name: x, risk_by_confidence: [1, 1, 1, 1]}", "five factors, for the confidences 1 to 5"),
        ("policy: {name: x, risk_by_confidence: [1, 1, 2, 1, 1]}", "risk_by_confidence must not fall"),
        ("policy: {name: x, risk_by_confidence: [1, 1, 1, 1, 2.1]}", "must be less than or equal to 2"),
        ("policy: {name: x, swing_exit_execution_window_start_min: 30}", "must be before"),
        ("policies: {}", "policies: unknown key"),
        ("{}", "policy: missing"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_with_its_path(text: str, complaint: str) -> None:
    with pytest.raises(BadSettings) as caught:
        load_policy(text)
    assert complaint in str(caught.value)
