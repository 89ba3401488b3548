"""Changes of symbol: what our books hold under one name, the broker holds under another, at the same cost.

What always holds here: no fill explains either side; units are equal and so is what they cost, up to the tolerance by
which brokers round averages; exactly one pair fits, else nothing is concluded; two findings become one, which explains
both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from reconciliation.domain.actions import actions_for
from reconciliation.domain.bad_data import Inspection
from reconciliation.domain.causes import rename_cause
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksPosition
from trading.domain.money import plain


def with_renames(
    findings: Sequence[Finding],
    held: Mapping[str, BooksPosition],
    policy: ReconciliationPolicy,
    seen: Inspection,
) -> list[Finding]:
    """The findings about positions, with each pair that is one instrument under two names put together."""
    gone = [f for f in findings if f.kind is Kind.PHANTOM_POSITION and f.broker_value == 0 and not f.event_ids]
    come = [f for f in findings if f.kind is Kind.EXTERNAL_POSITION and f.books_value == 0 and not f.event_ids]
    pairs = [(old, new) for old in gone for new in come if _same_units(old, new, held, policy, seen)]
    found = list(findings)
    for old, new in pairs:
        if sum(old is other for other, _ in pairs) == sum(new is other for _, other in pairs) == 1:
            found = [finding for finding in found if finding is not old and finding is not new]
            found.append(_renamed(old, new, seen))
    return found


def _same_units(
    old: Finding, new: Finding, held: Mapping[str, BooksPosition], policy: ReconciliationPolicy, seen: Inspection
) -> bool:
    theirs, rules = seen.prices.get(new.instrument), (seen.rules[old.instrument], seen.rules[new.instrument])
    if theirs is None or old.books_value != new.broker_value or rules[0].pays_cash != rules[1].pays_cash:
        return False
    if rules[0].multiplier != rules[1].multiplier:
        return False
    ours = held[old.instrument]
    costs = [cost for cost in (ours.average_price, ours.pooled_price) if cost is not None]
    return any(abs(theirs - cost) <= policy.price_tolerance(rules[1]) for cost in costs)


def _renamed(old: Finding, new: Finding, seen: Inspection) -> Finding:
    actions, suggestion = actions_for(Kind.CORPORATE_ACTION)
    units = old.books_value or Decimal(0)
    return Finding(
        kind=Kind.CORPORATE_ACTION,
        key=old.instrument,
        severity=severity_of(Kind.CORPORATE_ACTION),
        cause=rename_cause(old.instrument, new.instrument, units=units, price=seen.prices[new.instrument]),
        relies_on=Confidence.POSITIONS,
        instrument=old.instrument,
        commodity=old.instrument,
        books_value=units,
        broker_value=Decimal(0),
        difference=-units,
        explains={old.instrument: -units, new.instrument: units},
        evidence={"fills": [], "into": new.instrument, "broker_average_price": plain(seen.prices[new.instrument])},
        actions=actions,
        suggestion=suggestion,
    )
