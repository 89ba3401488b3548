"""Executions that both sides have at the same quantity and price, and that moved another amount of cash at each: a
commission, a fee or a realised profit that differs.

What always holds here: what the price explains is no such drift: the cash of a match may differ by anything up to what
its prices differ by (a statement that rounds its prices keeps exact amounts); of a margin instrument, whose cash is its
profit and its charges, the price explains nothing: profits are exact on both sides, and another one is a difference. A
finding explains nothing anew: the match that it is about does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from reconciliation.domain.actions import actions_for
from reconciliation.domain.facts import Fact, Match, Matched
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import InstrumentRule
from trading.domain.money import ZERO, plain


def fee_findings(
    matched: Matched,
    broker: Mapping[int, Fact],
    books: Mapping[int, Fact],
    steps: Mapping[str, InstrumentRule],
    evidence: Mapping[str, Any],
) -> list[Finding]:
    """The drifts of all matches, by the facts' refs. `evidence` says where the broker's side is from."""
    found: list[Finding] = []
    for made in matched.matches:
        theirs, ours = [broker[ref] for ref in made.broker], [books[ref] for ref in made.books]
        drift = _drift(made, theirs, ours, steps.get(ours[0].instrument))
        if drift:
            found.append(_finding(drift, theirs, ours, evidence))
    return found


def _drift(made: Match, theirs: Sequence[Fact], ours: Sequence[Fact], rule: InstrumentRule | None) -> Decimal:
    """The cash that the prices do not explain."""
    apart = _notional(theirs) - _notional(ours)
    if apart == 0 or rule is None or not rule.pays_cash:
        return made.amount
    by_price = apart * rule.multiplier * (-1 if ours[0].side == "BUY" else 1)
    low, high = min(ZERO, by_price), max(ZERO, by_price)
    return made.amount - min(max(made.amount, low), high)


def _notional(facts: Sequence[Fact]) -> Decimal:
    return sum((fact.quantity * fact.price for fact in facts), ZERO)


def _finding(drift: Decimal, theirs: Sequence[Fact], ours: Sequence[Fact], evidence: Mapping[str, Any]) -> Finding:
    first = ours[0]
    amounts = [sum((fact.amount for fact in side), ZERO) for side in (ours, theirs)]
    units = plain(sum((fact.quantity for fact in ours), ZERO))
    actions, suggestion = actions_for(Kind.FEE_PNL_DRIFT)
    return Finding(
        kind=Kind.FEE_PNL_DRIFT,
        key=f"fill:{first.external_id or first.ref}",
        severity=severity_of(Kind.FEE_PNL_DRIFT),
        cause=(
            f"{first.side} {units} {first.instrument} at {plain(first.price)} is on both sides, but moved "
            f"{plain(amounts[1])} {first.currency} at the broker and {plain(amounts[0])} in our books: {plain(drift)} "
            "of commission, fee or realised profit differs."
        ),
        relies_on=Confidence.HISTORY,
        instrument=first.instrument,
        commodity=first.currency,
        books_value=amounts[0],
        broker_value=amounts[1],
        difference=drift,
        evidence={**evidence, "theirs": [fact.ref for fact in theirs], "ours": [fact.ref for fact in ours]},
        actions=actions,
        suggestion=suggestion,
    )
