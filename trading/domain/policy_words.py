"""A policy for people: each setting with what it does, its value in words, the file that writes it, what a change does.

What always holds here: every setting of `AccountPolicy` has its words; the text of a policy reads back as the same
policy, to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trading.domain.money import plain
from trading.domain.policy import AccountPolicy

COMPARING, TELLING, RESOLVING = "Comparing with the broker", "Telling people", "Resolving differences"
RISK, ENTRIES, SWING = "Risk limits", "Entries", "Swing trading"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its path in a policy's file, under which heading it stands, what it does, and its unit."""

    path: str
    group: str
    words: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that a proposed policy changes, both values in words."""

    setting: Setting
    before: str
    after: str


SETTINGS: tuple[Setting, ...] = (
    Setting("name", COMPARING, "Name of the policy"),
    Setting("k_confirmations", COMPARING, "Complete runs that must see a difference before it opens", "runs"),
    Setting("race_window_seconds", COMPARING, "A difference older than this opens at once", "s"),
    Setting("reconciliation_interval_seconds", COMPARING, "Between two periodic runs", "s"),
    Setting("max_retries", COMPARING, "Tries of a run before it has failed", "tries"),
    Setting("quarantine_seconds", COMPARING, "An absent order may still arrive for this long", "s"),
    Setting("stale_order_minutes", COMPARING, "An order without news for this long is stale", "min"),
    Setting("tolerances.quantity_steps", COMPARING, "Tolerance of quantities", "steps"),
    Setting("tolerances.average_price_steps", COMPARING, "Tolerance of average prices", "steps"),
    Setting("tolerances.cash", COMPARING, "Tolerance of cash, by currency"),
    Setting("tolerances.cash_default", COMPARING, "Tolerance of cash in other currencies"),
    Setting("unmapped_alert_above", TELLING, "More trades without a link to the broker than this are grave", "trades"),
    Setting("mass_difference_at", TELLING, "So many differences in one run pause entries", "differences"),
    Setting("alert_cap", TELLING, "More cases than this in one run are one message", "cases"),
    Setting("materiality", RESOLVING, "A resolution that moves more needs two approvals (0: one is always enough)"),
    Setting("default_proposal", RESOLVING, "What is suggested first for a position that differs"),
    Setting("flatten_on_conflict", RESOLVING, "Suggest to close positions that only the broker has"),
    Setting("apply_exact_own_fills", RESOLVING, "Book exact fills of our own orders without asking"),
    Setting("apply_typed_cash_events", RESOLVING, "Book financing, fees and other typed cash without asking"),
    Setting("ask_about_late_fills", RESOLVING, "Ask people about fills that come after their difference was opened"),
    Setting("reconciliation_backfill_enabled", RESOLVING, "Fills that are missing here may be proposed for booking"),
    Setting("reconciliation_mark_unknown_closed", RESOLVING, "A close at an estimate may be proposed"),
    Setting("max_risk_per_trade_pct", RISK, "Most risk of one trade", "% of equity"),
    Setting("max_portfolio_heat_pct", RISK, "Most risk of all open trades together", "% of equity"),
    Setting("max_symbol_risk_pct", RISK, "Most risk in one symbol", "% of equity"),
    Setting("max_daily_loss_pct", RISK, "A loss of the day from which on nothing is entered", "% of equity"),
    Setting("max_trades_per_day", RISK, "Most trades of a day", "trades"),
    Setting("one_entry_per_symbol_a_day", RISK, "One entry a symbol and day"),
    Setting("risk_by_confidence", RISK, "Factors of the risk for confidences 1 to 5"),
    Setting("price_age_limit_seconds", ENTRIES, "Older prices block entries", "s"),
    Setting("entry_age_limit_seconds", ENTRIES, "A market entry not sent for this long is never sent", "s"),
    Setting("entry_timeout_seconds", ENTRIES, "A resting entry ends after this (0: with its window)", "s"),
    Setting("chase_ticks", ENTRIES, "A limit entry follows the market for so many ticks", "ticks"),
    Setting("add_on_buy_enabled", SWING, "Add to positions"),
    Setting("add_on_buy_confidence_threshold", SWING, "Confidence that adding needs"),
    Setting("max_allocation_per_symbol_pct", SWING, "Most of the account in one symbol, as a fraction"),
    Setting("swing_exit_two_phase_enabled", SWING, "Exits in two phases"),
    Setting("swing_exit_execution_window_start_min", SWING, "Their window begins after the open", "min"),
    Setting("swing_exit_execution_window_end_min", SWING, "Their window ends after the open", "min"),
)


def values_of(policy: AccountPolicy) -> dict[str, str]:
    """Each setting's value in words, by its path, in the order of `SETTINGS`."""
    return {each.path: _words(_value(policy, each.path), each.unit) for each in SETTINGS}


def changes(before: AccountPolicy, after: AccountPolicy) -> tuple[Change, ...]:
    """What stands otherwise in `after`, in the order of `SETTINGS`."""
    old, new = values_of(before), values_of(after)
    return tuple(
        Change(each, old[each.path], new[each.path])
        for each in SETTINGS
        if _value(before, each.path) != _value(after, each.path)
    )


def policy_text(policy: AccountPolicy) -> str:
    """The policy as its file would write it: what `load_policy` reads as the same policy."""
    lines, group, nest = ["policy:"], "", ""
    for each in SETTINGS:
        parent, _, name = each.path.rpartition(".")
        if each.group != group:
            group = each.group
            lines.append(f"  # {group}")
        if parent != nest and parent:
            lines.append(f"  {parent}:")
        nest = parent
        lines.append(f"{'    ' if parent else '  '}{name}: {_yaml(_value(policy, each.path))}")
    return "\n".join(lines) + "\n"


def _value(policy: AccountPolicy, path: str) -> Any:
    value: Any = policy
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _words(value: Any, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(number)}" for name, number in sorted(value.items())) or "none"
    if isinstance(value, tuple):
        return ", ".join(plain(number) for number in value) or "none"
    text = plain(value) if isinstance(value, Decimal) else str(value)
    return f"{text} {unit}" if unit else text


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, str):
        return '"' + "".join(_letter(each) for each in value) + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_yaml(name)}: {_yaml(number)}" for name, number in sorted(value.items())) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_yaml(number) for number in value) + "]"
    return str(value)


def _letter(letter: str) -> str:
    """A letter as YAML takes it between quotation marks: written out where it could not be seen, or would end them."""
    return letter if letter.isprintable() and letter not in '"\\' else f"\\U{ord(letter):08x}"
