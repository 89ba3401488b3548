"""The same execution on both sides, with another fee: told, and never mixed up with a price that was rounded."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given

from reconciliation.domain.facts import Fact
from reconciliation.domain.fees import fee_findings
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Action, Kind, Severity
from reconciliation.domain.matching import match
from tests.reconciliation.domain.ladder import D, fact, orders_cut_twice, some_facts
from tests.reconciliation.domain.sides import RULES


def drifts(broker: Sequence[Fact], books: Sequence[Fact]) -> list[Finding]:
    """What the matches of two sides leave of fees."""
    theirs, ours = ({each.ref: each for each in facts} for facts in (broker, books))
    return fee_findings(match(broker, books, steps=RULES), theirs, ours, RULES, {"statement": 3})


def shares(ref: int, price: str, amount: str, **more: str) -> Fact:
    """Ten shares bought, without an id."""
    return fact(ref, external_id="", instrument="AAPL", quantity=D(10), price=D(price), amount=D(amount), **more)


def test_a_commission_that_differs_is_told_with_both_amounts() -> None:
    finding = drifts([shares(1, "150", "-1501.25")], [shares(7, "150", "-1501")])[0]
    assert (finding.kind, finding.severity, finding.difference) == (Kind.FEE_PNL_DRIFT, Severity.LOW, D("-0.25"))
    assert (finding.actions, finding.evidence["statement"], finding.explains) == ((Action.ACCEPT,), 3, {})
    assert finding.cause.startswith(
        "BUY 10 AAPL at 150 is on both sides, but moved -1501.25 USD at the broker and -1501"
    )


@pytest.mark.parametrize(
    ("price", "amount", "drift"),
    [
        ("150.01", "-1501", None),  # only the price was rounded
        ("150.01", "-1501.1", None),  # the cash follows the price
        ("150.01", "-1501.05", None),
        ("150.01", "-1501.2", "-0.1"),
        ("149.99", "-1500.9", None),
        ("149.99", "-1501.1", "-0.1"),
    ],
)
def test_cash_that_follows_the_price_is_no_drift(price: str, amount: str, drift: str | None) -> None:
    found = drifts([shares(1, price, amount)], [shares(7, "150", "-1501")])
    assert [each.difference for each in found] == ([] if drift is None else [Decimal(drift)])


def test_the_profit_of_a_margin_instrument_is_compared_whatever_the_prices() -> None:
    ours = fact(7, external_id="", amount=D(5))
    assert [each.difference for each in drifts([fact(1, amount=D(4))], [ours])] == [D(-1)]
    near = drifts([fact(1, external_id="", amount=D(4), price=D("1.10001"))], [ours])
    assert [each.difference for each in near] == [D(-1)], "the rule that matched them asks for no amount"


@given(some_facts())
def test_equal_sides_have_no_drift(facts: list[Fact]) -> None:
    assert drifts(facts, facts) == []


@given(orders_cut_twice())
def test_orders_that_are_cut_in_another_way_have_none(sides: tuple[list[Fact], list[Fact]]) -> None:
    assert drifts(*sides) == []
