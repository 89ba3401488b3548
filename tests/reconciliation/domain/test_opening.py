"""The first look at an account that has a past: what the history does not explain becomes one opening balance."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.compare import reconcile
from reconciliation.domain.findings import Finding, Findings
from reconciliation.domain.kinds import Action, Kind
from reconciliation.domain.policy import DefaultProposal, ReconciliationPolicy
from tests.reconciliation.domain.sides import (
    FAILED,
    PARTIAL,
    books,
    broker,
    event,
    fill,
    held,
    position,
    working,
)

D = Decimal
POLICY = ReconciliationPolicy()


def looked_at(*positions: Any, cash: str = "100000", policy: ReconciliationPolicy = POLICY, **more: Any) -> Findings:
    """The findings of the first look; `more` is of our books, which hold the cash that the history told of."""
    return reconcile(broker(*positions, cash=cash), books(opening=True, **more), policy)


def the_one(findings: Findings) -> Finding:
    (found,) = findings.findings
    assert found.kind is Kind.OPENING_BALANCE, found
    assert all(line.holds for line in findings.proof), findings.proof
    return found


def adopted(found: Finding) -> list[tuple[str, str, str, bool]]:
    """Symbol, units, price and whether the price is an estimate."""
    return [(p["instrument"], p["quantity"], p["price"], p["estimated"]) for p in found.evidence["positions"]]


def test_positions_and_cash_of_before_the_history_are_one_difference_with_each_at_its_cost() -> None:
    found = the_one(looked_at(position(), position("AAPL", "-5", "100"), cash="100250"))
    assert adopted(found) == [("AAPL", "-5", "100", False), ("EURUSD", "1000", "1.1", False)]
    assert found.evidence["cash"] == {"USD": "250"} and found.evidence["fills"] == []
    assert (found.actions, found.suggestion) == ((Action.ADOPT_POSITION,), None)
    assert found.explains == {"AAPL": -5, "EURUSD": 1000, "USD": 250}
    assert "long 1000 EURUSD" in found.cause and "short 5 AAPL" in found.cause and "250 USD" in found.cause


@pytest.mark.parametrize("wish", [DefaultProposal.ADOPT_BROKER, DefaultProposal.FLATTEN_EXTERNAL])
def test_it_is_suggested_unless_the_policy_asks_to_be_asked(wish: DefaultProposal) -> None:
    policy = replace(POLICY, default_proposal=wish)
    assert the_one(looked_at(position(), policy=policy)).suggestion is Action.ADOPT_POSITION


def test_what_the_history_explains_is_booked_as_history_and_no_opening() -> None:
    findings = looked_at(position(), unposted=(event(fill()),))
    assert [found.kind for found in findings.findings] == [Kind.EXTERNAL_POSITION]
    assert Action.BOOK_FILLS in findings.findings[0].actions


def test_beside_an_unexplained_position_the_history_is_booked_with_it() -> None:
    past = (event(fill("7", "200", "1.3", "GBPUSD")),)
    found = the_one(looked_at(position(), position("GBPUSD", "200", "1.3"), unposted=past))
    assert adopted(found) == [("EURUSD", "1000", "1.1", False)]
    assert [told["id"] for told in found.evidence["fills"]] == ["7"] and found.event_ids == (1,)


def test_units_bought_before_and_after_the_history_begins_cost_what_makes_the_brokers_average() -> None:
    found = the_one(
        looked_at(position(quantity="300", price="1.2"), unposted=(event(fill(quantity="100", price="1.4")),))
    )
    assert adopted(found) == [("EURUSD", "200", "1.1", False)]


def test_units_that_were_partly_sold_since_are_taken_over_at_the_brokers_average_as_an_estimate() -> None:
    found = the_one(
        looked_at(position(quantity="300", price="1.2"), unposted=(event(fill(quantity="-100", price="1.4")),))
    )
    assert adopted(found) == [("EURUSD", "400", "1.2", True)]


def test_what_was_closed_since_is_taken_over_at_the_price_of_its_close() -> None:
    found = the_one(looked_at(unposted=(event(fill(quantity="-100", price="1.4")),)))
    assert adopted(found) == [("EURUSD", "100", "1.4", True)] and found.explains == {}


def test_a_position_without_a_cost_is_taken_over_at_the_market_and_said_to_be_an_estimate() -> None:
    gift = replace(position("AAPL", "5", "0"), market_price=D("123.4"))
    found = the_one(looked_at(gift))
    assert adopted(found) == [("AAPL", "5", "123.4", True)] and "estimate" in found.cause


@pytest.mark.parametrize("market", [None, "0", "-3"])
def test_a_position_without_any_price_stays_bad_data(market: str | None) -> None:
    priceless = replace(position("AAPL", "5", "0"), market_price=D(market) if market is not None else None)
    findings = looked_at(priceless, position())
    assert sorted(found.kind for found in findings.findings) == [Kind.BAD_DATA, Kind.OPENING_BALANCE]


@pytest.mark.parametrize("before", [[], [held("AAPL", "3", "120")]])
def test_units_without_a_cost_that_come_after_the_opening_may_be_taken_over_at_an_estimate(before: list[Any]) -> None:
    gift = replace(position("AAPL", "5", "0"), market_price=D("123.4"))
    (found,) = reconcile(broker(gift), books(*before), POLICY).findings
    assert found.actions == (Action.ADOPT_POSITION, Action.ACCEPT), "nothing is closed whose cost nobody knows"
    assert found.evidence["market_price"] == "123.4" and "broker_average_price" not in found.evidence
    assert "an estimate" in found.cause
    (later,) = reconcile(broker(replace(gift, market_price=D(99))), books(*before), POLICY).findings
    assert later.substance == found.substance, "the market alone changes nothing that there is to decide"
    (known,) = reconcile(broker(position("AAPL", "5", "100")), books(*before), POLICY).findings
    assert "market_price" not in known.evidence and "estimate" not in known.cause


def test_a_cost_that_the_broker_does_not_name_is_no_difference_of_cost_later() -> None:
    gift = replace(position("AAPL", "5", "0"), market_price=D("123.4"))
    assert reconcile(broker(gift), books(held("AAPL", "5", "120")), POLICY).findings == ()


@pytest.mark.parametrize("part", ["positions_part", "cash_part", "orders_part"])
@pytest.mark.parametrize("how", [PARTIAL, FAILED])
def test_an_answer_that_is_not_whole_opens_no_books(part: str, how: Any) -> None:
    shown = broker(position(), cash="100250", **{part: how})
    found = reconcile(shown, books(opening=True), POLICY).findings
    assert Kind.OPENING_BALANCE not in {each.kind for each in found}
    past = [each for each in found if each.kind in (Kind.EXTERNAL_POSITION, Kind.CASH_UNEXPLAINED)]
    assert bool(past) and {(each.actions, each.suggestion) for each in past} == {((), None)}, "a whole answer first"


def test_once_the_books_have_begun_an_answer_that_is_not_whole_leaves_what_it_shows_to_be_decided_on() -> None:
    found = reconcile(broker(position(), orders_part=PARTIAL), books(), POLICY).findings
    assert Action.ADOPT_POSITION in next(each for each in found if each.kind is Kind.EXTERNAL_POSITION).actions


def test_cash_alone_is_no_opening() -> None:
    assert [found.kind for found in looked_at(cash="100250").findings] == [Kind.CASH_UNEXPLAINED]


def test_books_that_were_begun_have_no_opening() -> None:
    found = reconcile(broker(position()), books(), POLICY).findings
    assert [each.kind for each in found] == [Kind.EXTERNAL_POSITION]


def test_other_differences_stay_cases_of_their_own() -> None:
    findings = reconcile(broker(position(), orders=[working(client_id="theirs")]), books(opening=True), POLICY)
    assert {found.kind for found in findings.findings} == {Kind.OPENING_BALANCE, Kind.EXTERNAL_ORDER}


def test_what_may_not_be_held_at_all_is_not_taken_over() -> None:
    rules = {name: replace(rule, cap=D(500)) for name, rule in books().instruments.items()}
    findings = looked_at(position(), position("AAPL", "5", "100"), instruments=rules)
    assert {found.kind: found.key for found in findings.findings}[Kind.OVERSIZE] == "EURUSD"
    opening = next(found for found in findings.findings if found.kind is Kind.OPENING_BALANCE)
    assert [name for name, *_ in adopted(opening)] == ["AAPL"]


def test_the_matter_changes_with_units_cost_and_cash_and_not_with_the_market() -> None:
    gift = replace(position("AAPL", "5", "0"), market_price=D("123.4"))
    first = the_one(looked_at(gift, position())).substance
    assert the_one(looked_at(replace(gift, market_price=D("99")), position())).substance == first
    for other in (
        looked_at(gift, position(price="1.2")),
        looked_at(gift, position(quantity="900")),
        looked_at(gift, position(), cash="100001"),
    ):
        assert the_one(other).substance != first


fills_drawn = st.lists(
    st.tuples(st.sampled_from(["EURUSD", "AAPL"]), st.integers(-50, 50).filter(bool), st.integers(90, 110)), max_size=6
)


@given(
    holds=st.dictionaries(st.sampled_from(["EURUSD", "AAPL", "GBPUSD"]), st.integers(-99, 99).filter(bool)),
    drawn=fills_drawn,
    cash=st.integers(0, 9999),
)
def test_adoption_history_and_cash_together_make_the_brokers_account(
    holds: dict[str, int], drawn: list[tuple[str, int, int]], cash: int
) -> None:
    past = tuple(
        event(fill(str(number), str(units), str(price), symbol), identity=number)
        for number, (symbol, units, price) in enumerate(drawn, 1)
    )
    shown = [position(symbol, str(units), "100") for symbol, units in holds.items()]
    findings = looked_at(*shown, cash=str(cash), unposted=past)
    assert all(line.holds for line in findings.proof)
    opening = [found for found in findings.findings if found.kind is Kind.OPENING_BALANCE]
    if not opening:
        return
    assert not {found.kind for found in findings.findings} & {Kind.EXTERNAL_POSITION, Kind.CASH_UNEXPLAINED}
    after: dict[str, Decimal] = {}
    for told in opening[0].evidence["positions"]:
        assert D(told["price"]) > 0 and D(told["quantity"]) != 0
        after[told["instrument"]] = D(told["quantity"])
    for symbol, units, _ in drawn:
        after[symbol] = after.get(symbol, D(0)) + units
    assert {symbol: units for symbol, units in after.items() if units} == {s: D(units) for s, units in holds.items()}
