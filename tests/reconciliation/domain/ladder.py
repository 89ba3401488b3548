"""Facts for the tests of matching: by hand, at random, and a slow matcher that does what the ladder says, literally."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

from hypothesis import strategies as st

from reconciliation.domain.facts import Fact, Match, Matched
from reconciliation.domain.rules import RULES, TERMS, Rule, Shape
from reconciliation.domain.snapshots import InstrumentRule
from tests.reconciliation.domain.sides import RULES as INSTRUMENTS

DAY = date(2026, 3, 2)
AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
D = Decimal


def fact(ref: int = 1, **more: Any) -> Fact:
    """A fill of 1,000 EURUSD bought at 1.1, whose id is its ref unless told otherwise."""
    made = Fact(
        ref=ref,
        external_id=str(ref),
        client_id="",
        broker_order_id="",
        instrument="EURUSD",
        side="BUY",
        product="",
        quantity=D(1000),
        price=D("1.1"),
        currency="USD",
        amount=D(0),
        at=AT,
        day=DAY,
    )
    return replace(made, **more)


def paid(ref: int = 1, amount: str = "-1.5", **more: Any) -> Fact:
    """A movement of cash."""
    return fact(ref, amount=D(amount), instrument="", side="", quantity=D(0), price=D(0), **more)


@st.composite
def any_fact(draw: st.DrawFn, ref: int) -> Fact:
    """A fact out of few values, so that all kinds of likeness are met."""
    common = {
        "external_id": draw(st.sampled_from(["", "a", "b", "c"])),
        "client_id": draw(st.sampled_from(["", "k"])),
        "broker_order_id": draw(st.sampled_from(["", "o", "p"])),
        "at": AT + timedelta(seconds=draw(st.integers(0, 1))),
        "day": DAY + timedelta(days=draw(st.integers(0, 1))),
        "currency": draw(st.sampled_from(["USD", "USD", "EUR"])),
    }
    if draw(st.integers(0, 4)) == 0:
        return paid(ref, str(draw(st.integers(-2, 2))), **common)
    return fact(
        ref,
        instrument=draw(st.sampled_from(["EURUSD", "EURUSD", "AAPL", "NEW"])),
        side=draw(st.sampled_from(["BUY", "BUY", "SELL"])),
        product=draw(st.sampled_from(["", "", "MIS"])),
        quantity=D(draw(st.sampled_from([100, 200, 300]))),
        price=D("1.1") + D(draw(st.integers(0, 3))) * D("0.00001"),
        amount=D(draw(st.sampled_from([0, 0, -1]))),
        **common,
    )


@st.composite
def some_facts(draw: st.DrawFn, most: int = 6) -> list[Fact]:
    """A side."""
    return [draw(any_fact(ref)) for ref in range(1, draw(st.integers(0, most)) + 1)]


@st.composite
def orders_cut_twice(draw: st.DrawFn, apart: int = 1) -> tuple[list[Fact], list[Fact]]:
    """The same orders on both sides, each cut into fills in another way, without ids; prices so many steps apart."""
    sides: tuple[list[Fact], list[Fact]] = ([], [])
    for number, price in enumerate(draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))):
        size = draw(st.integers(2, 6))
        for facts in sides:
            ends = sorted({size, *draw(st.lists(st.integers(1, size), max_size=3))})
            for start, end in zip([0, *ends], ends, strict=False):
                same = {"price": D("1.1") + apart * price * D("0.00001"), "quantity": D(end - start)}
                facts.append(fact(len(facts) + 1, external_id="", broker_order_id=f"o{number}", **same))
    return sides


def two_lists() -> st.SearchStrategy[tuple[list[Fact], list[Fact]]]:
    """Two sides, of whatever kind, either perhaps short of a fact."""
    whole = st.tuples(some_facts(), some_facts()) | orders_cut_twice()
    return whole | whole.map(lambda sides: (sides[0][1:], sides[1])) | whole.map(lambda s: (s[0], s[1][:-1]))


def slow_match(
    broker: Sequence[Fact],
    books: Sequence[Fact],
    *,
    rules: Sequence[Rule] = RULES,
    steps: dict[str, InstrumentRule] = INSTRUMENTS,
) -> Matched:
    """The ladder by looking at everything again and again: the reference for small inputs."""
    theirs, ours = sorted(broker, key=_choice), sorted(books, key=_choice)
    matches: list[Match] = []
    differing: list[Match] = []
    copies: tuple[list[int], list[int]] = ([], [])

    def take(where: list[Match], rule: Rule, one: list[Fact], other: list[Fact]) -> None:
        where.append(
            Match(
                rule.number,
                tuple(sorted(f.ref for f in one)),
                tuple(sorted(f.ref for f in other)),
                sum((f.quantity for f in one), D(0)) - sum((f.quantity for f in other), D(0)),
                sum((f.amount for f in one), D(0)) - sum((f.amount for f in other), D(0)),
            )
        )
        for each in one:
            theirs.remove(each)
        for each in other:
            ours.remove(each)

    def pair_off(where: list[Match], rule: Rule, names: Sequence[str]) -> None:
        while pairs := [(one, other) for one, other in product(theirs, ours) if _alike(one, other, names)]:
            take(where, rule, [pairs[0][0]], [pairs[0][1]])

    for rule in rules:
        if rule.by_id:
            known = {(f.key, f.external_id) for f in theirs if f.external_id}
            known &= {(f.key, f.external_id) for f in ours}
            pair_off(matches, rule, (*rule.keys, *TERMS))
            pair_off(differing, rule, rule.keys)
            for side, facts in enumerate((theirs, ours)):
                for copy in [f for f in facts if (f.key, f.external_id) in known]:
                    copies[side].append(copy.ref)
                    facts.remove(copy)
        elif rule.shape is Shape.ONE_TO_ONE and not rule.price_steps:
            pair_off(matches, rule, rule.keys)
        elif rule.shape is Shape.ONE_TO_ONE:
            while pair := _next_near(theirs, ours, rule, steps):
                take(matches, rule, [pair[0]], [pair[1]])
        else:
            for seed in list(theirs):
                one = [f for f in theirs if _alike(seed, f, rule.keys)] if seed in theirs else []
                other = [f for f in ours if one and _alike(seed, f, rule.keys)]
                if _sums_agree(one, other, rule, steps):
                    take(matches, rule, one, other)
    return Matched(
        tuple(sorted(matches, key=lambda m: (m.rule, m.broker))),
        tuple(sorted(differing, key=lambda m: (m.rule, m.broker))),
        tuple(sorted([f.ref for f in theirs] + copies[0])),
        tuple(sorted([f.ref for f in ours] + copies[1])),
    )


def _choice(each: Fact) -> tuple[Any, ...]:
    return each.day, each.at, each.external_id, each.ref


def _alike(one: Fact, other: Fact, names: Sequence[str]) -> bool:
    same = all(getattr(one, name) == getattr(other, name) != "" for name in names)
    parts = ("instrument", "side", "product", "currency")
    return same and all(getattr(one, part) == getattr(other, part) for part in parts)


def _step(each: Fact, steps: dict[str, InstrumentRule]) -> Decimal:
    return steps[each.instrument].price_step if each.instrument in steps else D(0)


def _next_near(
    theirs: list[Fact], ours: list[Fact], rule: Rule, steps: dict[str, InstrumentRule]
) -> tuple[Fact, Fact] | None:
    """The cheapest fact that has one of the other side near to it, with the cheapest of those."""
    left = [(f.price, _choice(f), side, f) for side, facts in enumerate((theirs, ours)) for f in facts if f.instrument]
    for _, _, side, first in sorted(left, key=lambda each: each[:3]):
        tolerance = rule.price_steps * _step(first, steps)
        near = [
            other
            for other in sorted((ours, theirs)[side], key=lambda f: (f.price, _choice(f)))
            if _alike(first, other, rule.keys) and abs(first.price - other.price) <= tolerance
        ]
        if near:
            return (first, near[0]) if side == 0 else (near[0], first)
    return None


def _sums_agree(one: list[Fact], other: list[Fact], rule: Rule, steps: dict[str, InstrumentRule]) -> bool:
    if not one or not other or (not rule.amounts and not one[0].instrument):
        return False
    if rule.shape is Shape.ONE_TO_MANY and len(one) > 1 and len(other) > 1:
        return False
    quantity = sum((f.quantity for f in one), D(0))
    apart = abs(sum((f.quantity * f.price for f in one), D(0)) - sum((f.quantity * f.price for f in other), D(0)))
    return (
        quantity == sum((f.quantity for f in other), D(0))
        and apart <= rule.price_steps * _step(one[0], steps) * quantity
        and (not rule.amounts or sum((f.amount for f in one), D(0)) == sum((f.amount for f in other), D(0)))
    )
