"""The ladder in the database says exactly what the pure core says, leaves nothing behind, and needs no order."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain import matching as pure
from reconciliation.domain.facts import Fact
from reconciliation.domain.rules import RULES, Rule, Shape
from reconciliation.selectors import matching
from reconciliation.selectors.rungs import SIDES
from tests.reconciliation.domain.ladder import AT, DAY, any_fact, fact, paid, some_facts, two_lists
from tests.reconciliation.domain.sides import RULES as INSTRUMENTS

pytestmark = pytest.mark.django_db
CENT = Decimal("0.01")


@given(two_lists())
def test_both_engines_say_the_same(sides: tuple[list[Fact], list[Fact]]) -> None:
    assert matching.match(*sides, steps=INSTRUMENTS) == pure.match(*sides, steps=INSTRUMENTS)


@given(some_facts(9), some_facts(9), st.sets(st.sampled_from(RULES)))
def test_they_do_so_for_any_part_of_the_ladder(broker: list[Fact], books: list[Fact], some: set[Rule]) -> None:
    rules = sorted(some, key=lambda rule: rule.number)
    found = matching.match(broker, books, rules=rules, steps=INSTRUMENTS)
    assert found == pure.match(broker, books, rules=rules, steps=INSTRUMENTS)


@given(two_lists())
def test_breaks_are_the_same_without_the_matches(sides: tuple[list[Fact], list[Fact]]) -> None:
    whole = pure.match(*sides, steps=INSTRUMENTS)
    found = matching.breaks(*sides, steps=INSTRUMENTS)
    assert (found.differing, found.only_broker, found.only_books) == (
        whole.differing,
        whole.only_broker,
        whole.only_books,
    )
    assert {rule: number for rule, number in found.matched.items() if number} == {
        rule.number: number for rule in RULES if (number := sum(each.rule == rule.number for each in whole.matches))
    }


def crowd(seed: int, size: int) -> tuple[list[Fact], list[Fact]]:
    """Two sides in which every rule has something to do, with ids that stand twice and prices all over."""
    dice = random.Random(seed)
    sides: tuple[list[Fact], list[Fact]] = ([], [])
    for number in range(size):
        one = fact(
            number,
            external_id=dice.choice(["", f"i{number}", f"i{number}", f"i{dice.randrange(size)}"]),
            client_id=dice.choice(["", f"c{number // 3}"]),
            broker_order_id=dice.choice(["", f"o{number // 4}"]),
            instrument=dice.choice(["EURUSD", "AAPL"]),
            side=dice.choice(["BUY", "SELL"]),
            quantity=Decimal(dice.choice([100, 200])),
            price=Decimal("1.1") + Decimal(dice.randrange(60)) * Decimal("0.000005"),
            amount=-CENT * dice.randrange(3),
            at=AT + timedelta(seconds=dice.randrange(3)),
            day=DAY + timedelta(days=dice.randrange(3)),
        )
        one = paid(number, str(-CENT * dice.randrange(9)), external_id=one.external_id) if number % 17 == 0 else one
        other = replace(one, ref=size + number)
        match dice.randrange(8):
            case 0:
                other = replace(other, external_id="")
            case 1:
                other = replace(other, external_id="", client_id="", price=other.price + Decimal("0.00001"))
            case 2:
                other = replace(other, amount=other.amount - CENT)
            case 3:
                other = replace(other, external_id="", quantity=other.quantity / 2)
                sides[1].append(replace(other, ref=2 * size + number))
        sides[0].extend([one] if dice.randrange(9) else [])
        sides[1].extend([other] if dice.randrange(9) else [])
    for side, parts in enumerate(((1, 5), (3, 3), (2, 4))):  # one order cut twice, and a day without any order's name
        for part, quantity in enumerate(parts):
            whole = {"instrument": "NEW", "quantity": Decimal(quantity), "broker_order_id": "" if side > 1 else "whole"}
            ref = 4 * size + 2 * side + part
            sides[min(side, 1)].append(fact(ref, external_id="", side="BUY" if side < 2 else "SELL", **whole))
    sides[0].append(fact(5 * size, external_id="", instrument="NEW", side="SELL", quantity=Decimal(3)))
    sides[0].append(fact(5 * size + 1, external_id="", instrument="NEW", side="SELL", quantity=Decimal(3)))
    return sides


def test_both_engines_say_the_same_of_thousands_counted_for_the_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MANY", 1)
    broker, books = crowd(6, 3000)
    found = matching.match(broker, books, steps=INSTRUMENTS)
    assert found == pure.match(broker, books, steps=INSTRUMENTS)
    assert {each.rule for each in found.matches} == {rule.number for rule in RULES}
    assert found.differing and found.only_broker and found.only_books


def test_the_order_of_the_rows_changes_nothing_a_hundred_times() -> None:
    broker, books = crowd(7, 60)
    wanted = pure.match(broker, books, steps=INSTRUMENTS)
    dice = random.Random(7)
    for _ in range(100):
        dice.shuffle(broker)
        dice.shuffle(books)
        assert matching.match(broker, books, steps=INSTRUMENTS) == wanted


def test_ids_go_by_their_code_points_and_numbers_are_exact() -> None:
    broker = [fact(ref, external_id="", client_id="k", quantity=Decimal("0.1234567890123456789")) for ref in (1, 2)]
    books = [replace(each, external_id=name) for each, name in zip(broker, ("é", "Z"), strict=True)]
    found = matching.match(broker, books, steps=INSTRUMENTS)
    assert found == pure.match(broker, books, steps=INSTRUMENTS)
    assert [(each.broker, each.books) for each in found.matches] == [((1,), (2,)), ((2,), (1,))]
    books = [replace(each, quantity=Decimal("0.1234567890123456788")) for each in books]
    assert matching.match(broker, books, steps=INSTRUMENTS).matches == ()


def test_ids_may_be_any_text() -> None:
    names = ["\\N", "\\", "a\tb", "a\nb", "a\r", "\\.", "\\t", "'", '"', "é", " "]
    broker = [fact(ref, external_id=name) for ref, name in enumerate(names)]
    books = [fact(100 + ref, external_id=name) for ref, name in enumerate(names)]
    found = matching.match(broker, books, steps=INSTRUMENTS)
    assert found == pure.match(broker, books, steps=INSTRUMENTS)
    assert {(each.books[0] - each.broker[0], each.rule) for each in found.matches} == {(100, 1)}


def test_nothing_is_left_behind_nor_seen_by_the_next_matching() -> None:
    with matching.loaded([fact(1)], [fact(1), fact(2)], steps=INSTRUMENTS) as ladder:
        assert len(ladder.climb(RULES[0])) == 0  # what an id alone matches is only counted
        assert (ladder.plain(RULES[0]), ladder.left()) == (1, ((), (2,)))
    assert rows() == 0
    with pytest.raises(ValueError, match="the same ref"):
        matching.match([fact(1), fact(1)], [], steps=INSTRUMENTS)
    assert rows() == 0
    with transaction.atomic():
        assert matching.match([], [fact(3)], steps=INSTRUMENTS).only_books == (3,)
    assert rows() == 0


def rows() -> int:
    """How many rows the tables of matching have for everybody."""
    with connection.cursor() as cursor:
        tables = [*SIDES, *(f"{table}_left" for table in SIDES)]
        cursor.execute(f"SELECT {' + '.join(f'(SELECT count(*) FROM {table})' for table in tables)}")
        return int(cursor.fetchone()[0])


def test_a_rule_that_no_rung_can_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="matching has no such columns"):
        matching.match([fact(1)], [fact(1)], rules=[Rule(9, "odd", 1, Shape.ONE_TO_ONE, ("at",))], steps=INSTRUMENTS)


@given(st.data())
def test_a_rule_that_is_no_id_may_begin(data: st.DataObject) -> None:
    broker, books = ([data.draw(any_fact(ref)) for ref in range(5)] for _ in range(2))
    rules = [RULES[2], RULES[0], RULES[4]]
    found = matching.match(broker, books, rules=rules, steps=INSTRUMENTS)
    assert found == pure.match(broker, books, rules=rules, steps=INSTRUMENTS)
