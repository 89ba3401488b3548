"""Which facts of the broker are which facts of our books, by the ladder of `rules`: pure, and the measure for SQL.

The ladder, exactly. Rules are tried in order, each on the facts that are left on both sides. Two facts may only ever
meet when their `key` (instrument, side, product, currency) is equal. A rule's group is all that is left of one key with
equal values in the rule's `keys`; a fact with an empty text there is in no group. "In order" is `order_of_choice`, and
the k-th of one side meets the k-th of the other. Let `step` be the instrument's price step, zero for an instrument
without a rule and for cash, and `notional` the sum of quantity × price.

- 1:1 by id (rule 1). In a group of one id: first pairs with equal quantity, price and amount are matched, k-th with
  k-th among the equal ones; then what is left is paired k-th with k-th, and each such pair is `differing`; what is then
  still left of the id is a copy that only one side has. For all of them the ladder is over: an id that both sides
  know is never explained by other terms. An id that only one side knows goes on.
- 1:1 exact (rules 2, 3; no price steps). In a group k-th with k-th; the others go on.
- 1:1 tolerant (rule 4; executions only). Each side of a group is put in order of (price, `order_of_choice`). From
  the front of both: when the two prices are at most `price_steps` × step apart, they are a match and both are taken
  off; else the one with the lower price is taken off unmatched and goes on. No other way finds more pairs.
- Sums, 1:N and N:M (rules 5, 6; executions only). All that is left of a group against all that is left of it, with at
  least one on each side; 1:N only where one side (either) has exactly one. They are one match when the sums of
  quantity are equal and the notionals at most `price_steps` × step × that sum apart: the average price is within the
  steps. Nothing smaller than a whole group is tried.
- Balance (rule 7). The same with the group (key, day), executions or cash, and the sums of amount must be equal, too.
  One side alone is no balance, even if it sums to zero.

What always holds here: each ref ends in exactly one place; the order of the input is of no consequence; equal sides
match by rule 1 (without ids, by 2 or 3); a change of one key's facts changes nothing of another's; all residues with
what only one side has sum to the broker's total less ours; the cost is that of sorting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from decimal import Decimal

from reconciliation.domain.facts import Fact, Match, Matched
from reconciliation.domain.rules import RULES, Rule, Shape
from reconciliation.domain.snapshots import InstrumentRule
from trading.domain.money import ZERO

_Key = tuple[Hashable, ...]
_Pair = tuple[list[Fact], list[Fact]]


def match(
    broker: Sequence[Fact],
    books: Sequence[Fact],
    *,
    rules: Sequence[Rule] = RULES,
    steps: Mapping[str, InstrumentRule],
) -> Matched:
    """What became of every fact of both sides. `steps` are the instruments by the name that the facts use.

    Raises `ValueError` when two facts of one side have the same ref.
    """
    ladder = _Ladder(broker, books, steps)
    for rule in rules:
        ladder.climb(rule)
    return ladder.result()


class _Ladder:
    """What is left of both sides, in order, and what was taken from them."""

    def __init__(self, broker: Sequence[Fact], books: Sequence[Fact], steps: Mapping[str, InstrumentRule]) -> None:
        self.broker, self.books = _in_order(broker), _in_order(books)
        self.steps = steps
        self.matches: list[Match] = []
        self.differing: list[Match] = []
        self.taken: tuple[set[int], set[int]] = set(), set()
        self.copies: tuple[list[int], list[int]] = [], []

    def climb(self, rule: Rule) -> None:
        """Take what the rule matches."""
        for theirs, ours in _groups(self.broker, self.books, rule):
            if rule.by_id:
                self._one_id(rule, theirs, ours)
            elif rule.shape is not Shape.ONE_TO_ONE:
                self._sums(rule, theirs, ours)
            elif rule.price_steps:
                for one, other in _near(theirs, ours, rule.price_steps * self._step(theirs[0])):
                    self._take(self.matches, rule, [one], [other])
            else:
                for one, other in zip(theirs, ours, strict=False):
                    self._take(self.matches, rule, [one], [other])
        self.broker = [fact for fact in self.broker if fact.ref not in self.taken[0]]
        self.books = [fact for fact in self.books if fact.ref not in self.taken[1]]

    def _one_id(self, rule: Rule, theirs: list[Fact], ours: list[Fact]) -> None:
        for one, other in _grouped(theirs, ours, _terms):
            for left, right in zip(one, other, strict=False):
                self._take(self.matches, rule, [left], [right])
        rest = [fact for fact in theirs if fact.ref not in self.taken[0]]
        other_rest = [fact for fact in ours if fact.ref not in self.taken[1]]
        for left, right in zip(rest, other_rest, strict=False):
            self._take(self.differing, rule, [left], [right])
        for side, copies in enumerate((rest[len(other_rest) :], other_rest[len(rest) :])):
            self.copies[side].extend(fact.ref for fact in copies)
            self.taken[side].update(fact.ref for fact in copies)

    def _sums(self, rule: Rule, theirs: list[Fact], ours: list[Fact]) -> None:
        if rule.shape is Shape.ONE_TO_MANY and len(theirs) != 1 and len(ours) != 1:
            return
        quantity = _sum(fact.quantity for fact in theirs)
        if quantity != _sum(fact.quantity for fact in ours):
            return
        notionals = [_sum(fact.quantity * fact.price for fact in side) for side in (theirs, ours)]
        if abs(notionals[0] - notionals[1]) > rule.price_steps * self._step(theirs[0]) * quantity:
            return
        if rule.amounts and _sum(fact.amount for fact in theirs) != _sum(fact.amount for fact in ours):
            return
        self._take(self.matches, rule, theirs, ours)

    def _take(self, where: list[Match], rule: Rule, theirs: Sequence[Fact], ours: Sequence[Fact]) -> None:
        refs = [tuple(sorted(fact.ref for fact in side)) for side in (theirs, ours)]
        quantity = _sum(fact.quantity for fact in theirs) - _sum(fact.quantity for fact in ours)
        amount = _sum(fact.amount for fact in theirs) - _sum(fact.amount for fact in ours)
        where.append(Match(rule.number, refs[0], refs[1], quantity, amount))
        self.taken[0].update(refs[0])
        self.taken[1].update(refs[1])

    def _step(self, fact: Fact) -> Decimal:
        known = self.steps.get(fact.instrument)
        return known.price_step if known is not None else ZERO

    def result(self) -> Matched:
        """Everything in rising order."""
        left = [[fact.ref for fact in side] for side in (self.broker, self.books)]
        return Matched(
            matches=tuple(sorted(self.matches, key=_place)),
            differing=tuple(sorted(self.differing, key=_place)),
            only_broker=tuple(sorted(left[0] + self.copies[0])),
            only_books=tuple(sorted(left[1] + self.copies[1])),
        )


def _in_order(facts: Sequence[Fact]) -> list[Fact]:
    if len({fact.ref for fact in facts}) != len(facts):
        raise ValueError("two facts of one side have the same ref")
    return sorted(facts, key=lambda fact: fact.order_of_choice)


def _groups(broker: list[Fact], books: list[Fact], rule: Rule) -> Iterator[_Pair]:
    """The rule's groups that have facts of both sides."""

    def group(fact: Fact) -> _Key | None:
        values = tuple(getattr(fact, name) for name in rule.keys)
        if "" in values or not (rule.amounts or fact.instrument):
            return None
        return fact.key, *values

    return _grouped(broker, books, group)


def _grouped(theirs: list[Fact], ours: list[Fact], group: Callable[[Fact], _Key | None]) -> Iterator[_Pair]:
    found: dict[_Key, _Pair] = defaultdict(lambda: ([], []))
    for side, facts in enumerate((theirs, ours)):
        for fact in facts:
            name = group(fact)
            if name is not None:
                found[name][side].append(fact)
    return (pair for pair in found.values() if pair[0] and pair[1])


def _terms(fact: Fact) -> _Key:
    return fact.quantity, fact.price, fact.amount


def _near(theirs: list[Fact], ours: list[Fact], tolerance: Decimal) -> Iterator[tuple[Fact, Fact]]:
    """Pairs of prices within the tolerance: as many as there can be, from the lowest price up."""
    theirs, ours = _by_price(theirs), _by_price(ours)
    at, against = 0, 0
    while at < len(theirs) and against < len(ours):
        one, other = theirs[at], ours[against]
        near = abs(one.price - other.price) <= tolerance
        if near:
            yield one, other
        at += near or one.price < other.price
        against += near or other.price < one.price


def _by_price(facts: list[Fact]) -> list[Fact]:
    return sorted(facts, key=lambda fact: (fact.price, fact.order_of_choice))


def _place(match: Match) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return match.rule, match.broker, match.books


def _sum(numbers: Iterator[Decimal]) -> Decimal:
    return sum(numbers, ZERO)
