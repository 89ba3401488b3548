"""A policy in words loses nothing: every setting has its words, and its text reads back as the same policy."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.policy import AccountPolicy, Tolerances, load_policy
from trading.domain.policy_words import SETTINGS, changes, policy_text, values_of

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "trading" / "config" / "policies").glob("*.yaml"))


def test_every_setting_has_its_words() -> None:
    wanted = {field.name for field in fields(AccountPolicy)} - {"tolerances"}
    wanted |= {f"tolerances.{field.name}" for field in fields(Tolerances)}
    assert {each.path for each in SETTINGS} == wanted and len(SETTINGS) == len(wanted)
    assert all(each.words for each in SETTINGS)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_policy_reads_back_from_its_text(path: Path) -> None:
    policy = load_policy(path.read_text(encoding="utf-8"))
    assert load_policy(policy_text(policy)) == policy
    assert load_policy(policy_text(policy)).sha256 == policy.sha256


amounts = st.decimals(0, 1000, places=4, allow_nan=False)


@given(
    name=st.text(min_size=1, max_size=30),
    cash=st.dictionaries(st.sampled_from(["USD", "EUR", "NO", "yes", "1"]), amounts),
    materiality=amounts,
    factors=st.sampled_from([(), tuple(Decimal(n) / 4 for n in range(1, 6))]),
    flag=st.booleans(),
)
def test_any_policy_reads_back_from_its_text(
    name: str, cash: dict[str, Decimal], materiality: Decimal, factors: tuple[Decimal, ...], flag: bool
) -> None:
    policy = AccountPolicy(
        name=name,
        tolerances=Tolerances(cash=cash),
        materiality=materiality,
        risk_by_confidence=factors,
        ask_about_late_fills=flag,
    )
    assert load_policy(policy_text(policy)) == policy


def test_what_changes_is_told_with_both_values() -> None:
    before = load_policy("policy: {name: fx}")
    after = replace(
        before, k_confirmations=3, flatten_on_conflict=True, tolerances=Tolerances(cash={"USD": Decimal("0.50")})
    )
    assert [(each.setting.path, each.before, each.after) for each in changes(before, after)] == [
        ("k_confirmations", "2 runs", "3 runs"),
        ("tolerances.cash", "none", "USD 0.5"),
        ("flatten_on_conflict", "no", "yes"),
    ]
    assert changes(before, before) == ()
    assert values_of(after)["race_window_seconds"] == "60 s"


def test_older_policies_have_the_new_settings_at_their_defaults() -> None:
    policy = load_policy("policy: {name: fx}")
    assert (policy.mass_difference_at, policy.alert_cap) == (100, 10)


@pytest.mark.parametrize("setting", ["mass_difference_at", "alert_cap"])
def test_a_limit_of_nothing_is_refused_by_name(setting: str) -> None:
    with pytest.raises(ValueError, match=rf"policy\.{setting}: must be greater than or equal to 1"):
        load_policy(f"policy: {{name: fx, {setting}: 0}}")
