"""The ladder: which facts of the broker are which of ours, and what comes out of planted breaks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.facts import Fact, Match, Matched
from reconciliation.domain.matching import match
from reconciliation.domain.rules import RULES
from tests.reconciliation.domain.ladder import (
    D,
    any_fact,
    fact,
    orders_cut_twice,
    paid,
    slow_match,
    some_facts,
    two_lists,
)
from tests.reconciliation.domain.sides import RULES as INSTRUMENTS


def matched(broker: Sequence[Fact], books: Sequence[Fact]) -> Matched:
    """By the whole ladder."""
    return match(broker, books, rules=RULES, steps=INSTRUMENTS)


def rungs(found: Matched) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """The matches without their residues."""
    return [(each.rule, each.broker, each.books) for each in found.matches]


STEP = D("0.00001")


# -- what always holds ------------------------------------------------------------------------------------------


@given(two_lists())
def test_every_fact_ends_in_one_place_with_its_own_key_and_nothing_is_lost(
    sides: tuple[list[Fact], list[Fact]],
) -> None:
    found = matched(*sides)
    pairs = [*found.matches, *found.differing]
    refs = (
        [ref for each in pairs for ref in each.broker] + [*found.only_broker],
        [ref for each in pairs for ref in each.books] + [*found.only_books],
    )
    assert [sorted(each) for each in refs] == [sorted(f.ref for f in facts) for facts in sides]
    theirs, ours = ({f.ref: f for f in facts} for facts in sides)
    for each in pairs:
        assert len({theirs[ref].key for ref in each.broker} | {ours[ref].key for ref in each.books}) == 1
    for name in ("quantity", "amount"):
        left = sum((getattr(each, name) for each in pairs), D(0))
        alone = [_sum([theirs[r] for r in found.only_broker], name), _sum([ours[r] for r in found.only_books], name)]
        assert _sum(sides[0], name) - _sum(sides[1], name) == left + alone[0] - alone[1]
    assert all(each.quantity == 0 and (each.amount == 0 or each.rule in {4, 5, 6}) for each in found.matches)


@given(two_lists())
def test_the_slow_reference_says_the_same(sides: tuple[list[Fact], list[Fact]]) -> None:
    assert matched(*sides) == slow_match(*sides)


@given(some_facts(), some_facts(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(broker: list[Fact], books: list[Fact], dice: random.Random) -> None:
    assert matched(_shuffled(broker, dice), _shuffled(books, dice)) == matched(broker, books)


@given(some_facts())
def test_equal_sides_match_wholly_and_by_id_where_there_is_one(facts: list[Fact]) -> None:
    found = matched(facts, facts)
    assert found.only_broker == found.only_books == ()
    assert found.differing == ()
    assert [each for each in found.matches if each.quantity or each.amount] == []
    by_rule = {ref: each.rule for each in found.matches for ref in each.broker}
    assert all((by_rule[f.ref] == 1) == bool(f.external_id) and by_rule[f.ref] <= 3 for f in facts)


@given(orders_cut_twice(apart=100))
def test_an_order_cut_into_fills_in_another_way_is_still_the_same(sides: tuple[list[Fact], list[Fact]]) -> None:
    found = matched(*sides)
    assert (found.only_broker, found.only_books, found.differing) == ((), (), ())


@given(some_facts().filter(bool), some_facts(), st.data())
def test_a_fact_that_is_not_there_changes_nothing_of_another_key(
    broker: list[Fact], books: list[Fact], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(broker))
    others = {f.ref for f in broker if f.key != gone.key}, {f.ref for f in books if f.key != gone.key}
    before, after = matched(broker, books), matched([f for f in broker if f is not gone], books)
    assert _of(before, *others) == _of(after, *others)


@given(st.integers(0, 6).flatmap(lambda n: st.tuples(*(any_fact(ref) for ref in range(1, n + 1)))), st.data())
def test_a_fill_that_one_side_lacks_is_the_only_thing_that_comes_out(
    facts: tuple[Fact, ...], data: st.DataObject
) -> None:
    named = [replace(each, external_id=f"id{each.ref}") for each in facts]
    lacks = set(data.draw(st.lists(st.sampled_from(named), unique=True))) if named else set()
    found = matched(named, [each for each in named if each not in lacks])
    assert found.only_broker == tuple(sorted(each.ref for each in lacks))
    assert (found.only_books, found.differing) == ((), ())
    turned = matched([each for each in named if each not in lacks], named)
    assert (turned.only_books, turned.only_broker, turned.differing) == (found.only_broker, (), ())


def _shuffled(facts: list[Fact], dice: random.Random) -> list[Fact]:
    copy = list(facts)
    dice.shuffle(copy)
    return copy


def _of(found: Matched, theirs: set[int], ours: set[int]) -> list[object]:
    """What came of these facts only."""
    return [
        [each for each in found.matches if set(each.broker) <= theirs and set(each.books) <= ours],
        [each for each in found.differing if set(each.broker) <= theirs and set(each.books) <= ours],
        [ref for ref in found.only_broker if ref in theirs],
        [ref for ref in found.only_books if ref in ours],
    ]


def _sum(facts: Sequence[Fact], name: str) -> Decimal:
    return sum((getattr(each, name) for each in facts), D(0))


# -- rung by rung -----------------------------------------------------------------------------------------------


def test_an_id_with_another_price_is_one_difference() -> None:
    found = matched([fact(1, price=D("1.2"))], [fact(1)])
    assert found == Matched((), (Match(1, (1,), (1,), D(0), D(0)),), (), ())


@pytest.mark.parametrize("change", [{"quantity": D(400)}, {"amount": D(-3)}, {"price": D("1.1") + STEP}])
def test_an_id_that_both_sides_know_is_never_explained_by_other_terms(change: dict[str, Any]) -> None:
    broker = [fact(1, **change), fact(2, **change)]
    found = matched(broker, [fact(1), fact(7, **change)])
    assert [(each.broker, each.books) for each in found.differing] == [((1,), (1,))]
    assert rungs(found) == [(3, (2,), (7,))]


def test_a_line_told_twice_is_left_over_though_another_fill_looks_the_same() -> None:
    broker = [fact(1, external_id="a"), fact(2, external_id="a")]
    found = matched(broker, [fact(1, external_id="a"), fact(2, external_id="b")])
    assert (rungs(found), found.only_broker, found.only_books) == ([(1, (1,), (1,))], (2,), (2,))


def test_of_equal_ids_those_with_equal_terms_belong_together() -> None:
    broker = [fact(1, external_id="a", price=D("1.2")), fact(2, external_id="a")]
    found = matched(broker, [fact(1, external_id="a"), fact(2, external_id="a", price=D("1.3"))])
    assert rungs(found) == [(1, (2,), (1,))]
    assert [(each.broker, each.books) for each in found.differing] == [((1,), (2,))]


def test_ids_of_two_schemes_match_by_client_id_and_then_by_day_and_terms() -> None:
    later = timedelta(days=1)
    broker = [fact(1, client_id="k", day=fact().day + later), fact(2), fact(3)]
    books = [fact(7), fact(8), fact(9, client_id="k")]
    assert rungs(matched(broker, books)) == [(2, (1,), (9,)), (3, (2,), (7,)), (3, (3,), (8,))]


def test_a_price_may_be_a_step_apart_on_the_same_day_and_no_more() -> None:
    for steps, expected in ((1, [(4, (1,), (7,))]), (2, [])):
        assert rungs(matched([fact(1, price=D("1.1") + steps * STEP)], [fact(7)])) == expected
    another_day = fact(7, day=fact().day + timedelta(days=1))
    assert rungs(matched([fact(1, price=D("1.1") + STEP)], [another_day])) == []


def test_a_fill_in_between_does_not_keep_near_prices_apart() -> None:
    ladder = [D("1.1"), D("1.2"), D("1.3")]
    broker = [fact(ref, price=price) for ref, price in enumerate(ladder, 1)]
    books = [fact(7, price=ladder[1] + STEP), fact(8, price=ladder[2] - STEP)]
    found = matched(broker, books)
    assert (rungs(found), found.only_broker) == ([(4, (2,), (7,)), (4, (3,), (8,))], (1,))


def test_a_fee_that_differs_is_told_as_what_is_left_of_the_match() -> None:
    found = matched([fact(1, amount=D("-1.25"))], [fact(7, amount=D(-1))])
    assert found.matches == (Match(4, (1,), (7,), D(0), D("-0.25")),)


@pytest.mark.parametrize("turned", [False, True])
def test_a_split_fill_and_a_merged_one_are_one_against_many_in_both_directions(turned: bool) -> None:
    whole = [fact(1, broker_order_id="o", price=D("1.10004"))]
    parts = [
        fact(7, broker_order_id="o", quantity=D(600), price=D("1.1")),
        fact(8, broker_order_id="o", quantity=D(400), price=D("1.1001")),
    ]
    found = matched(parts, whole) if turned else matched(whole, parts)
    assert rungs(found) == [(5, (7, 8), (1,)) if turned else (5, (1,), (7, 8))]


def test_parts_at_another_average_price_do_not_make_up_the_whole() -> None:
    whole = [fact(1, broker_order_id="o", price=D("1.10006"))]
    parts = [fact(7, broker_order_id="o", quantity=D(600)), fact(8, broker_order_id="o", quantity=D(400))]
    assert rungs(matched(whole, parts)) == []


def test_an_order_cut_otherwise_matches_whole_against_whole() -> None:
    broker = [fact(ref, broker_order_id="o", quantity=D(n)) for ref, n in ((1, 700), (2, 500))]
    books = [fact(ref, broker_order_id="o", quantity=D(n)) for ref, n in ((7, 400), (8, 600), (9, 200))]
    assert rungs(matched(broker, books)) == [(6, (1, 2), (7, 8, 9))]


def test_an_order_that_lacks_a_part_matches_nothing_but_the_parts_that_are_there() -> None:
    broker = [fact(ref, broker_order_id="o", quantity=D(n)) for ref, n in ((1, 700), (2, 500))]
    found = matched(broker, [fact(7, broker_order_id="o", quantity=D(700))])
    assert (rungs(found), found.only_broker) == ([(3, (1,), (7,))], (2,))


def test_the_balance_of_a_day_needs_quantity_price_and_cash() -> None:
    changes: list[dict[str, Any]] = [{"quantity": D(201)}, {"price": D("1.2")}, {"amount": D("-2.000001")}]
    broker = [fact(1, quantity=D(300), amount=D(-3))]
    parts = [fact(7, quantity=D(100), amount=D(-1)), fact(8, quantity=D(200), amount=D(-2))]
    assert rungs(matched(broker, parts)) == [(7, (1,), (7, 8))]
    for change in changes:
        assert rungs(matched(broker, [parts[0], replace(parts[1], **change)])) == []


def test_the_balance_of_a_day_is_of_all_that_is_left_and_of_both_sides() -> None:
    assert rungs(matched([paid(1, "-3")], [paid(7, "-1"), paid(8, "-2")])) == [(7, (1,), (7, 8))]
    assert rungs(matched([paid(1, "-3")], [paid(7, "-1"), paid(8, "-2"), paid(9, "-1")])) == []
    found = matched([paid(1, "5"), paid(2, "-5")], [])
    assert (found.matches, found.only_broker) == ((), (1, 2))
    next_day = paid(8, "-2", day=fact().day + timedelta(days=1))
    assert rungs(matched([paid(1, "-3")], [paid(7, "-1"), next_day])) == []


def test_cash_matches_by_its_amount_and_never_by_an_order() -> None:
    found = matched([paid(1, "-1", broker_order_id="o")], [paid(7, "-2", broker_order_id="o")])
    assert (found.only_broker, found.only_books) == ((1,), (7,))
    assert rungs(matched([paid(1)], [paid(7)])) == [(3, (1,), (7,))]


@pytest.mark.parametrize("other", [{"instrument": "GBPUSD"}, {"side": "SELL"}, {"product": "MIS"}, {"currency": "EUR"}])
def test_facts_that_differ_in_a_part_of_their_key_are_two_whatever_their_id(other: dict[str, Any]) -> None:
    same: dict[str, Any] = {"external_id": "a", "client_id": "k", "broker_order_id": "o"}
    found = matched([fact(1, **same)], [fact(7, **same, **other)])
    assert found == Matched((), (), (1,), (7,))


def test_an_instrument_without_a_rule_has_no_tolerance() -> None:
    assert rungs(matched([fact(1, instrument="NEW", price=D("1.1") + STEP)], [fact(7, instrument="NEW")])) == []


def test_two_facts_with_one_ref_are_refused() -> None:
    with pytest.raises(ValueError, match="same ref"):
        matched([fact(1), fact(1)], [])
