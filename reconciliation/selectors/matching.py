"""The ladder of matching rules over millions of facts: in the database, with the answers of `domain.matching`.

What always holds: facts are only ever visible to their own matching, because they are never committed: a savepoint
takes them back when it ends, however it ends; nothing else is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from reconciliation.domain import matching as pure
from reconciliation.domain.facts import Fact, Match, Matched
from reconciliation.domain.rules import RULES, Rule
from reconciliation.domain.snapshots import InstrumentRule
from trading.domain.money import ZERO

from . import rungs

LARGE = 5_000
"""From how many facts of a side on the database matches: memory takes 20 µs for each of them, which makes the tenth of
a second that twenty statements take; sending one takes 4."""
SLICE = 1_000
"""How many facts are sent together."""
MANY = 10_000
"""From how many facts on it pays to count them for the planner."""
_SETTINGS = {
    # Millions take their time, and one matching waits until another has counted its rows.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # Every join is by equality, and how many rows there are is known only roughly.
    "enable_nestloop": "off",
    "enable_mergejoin": "off",
}
_COPY = (
    "COPY {table} (ref, external_id, client_id, broker_order_id, key, price_step, quantity, price, amount, at, day) "
)
_COPY += "FROM STDIN"
_ESCAPED = {ord(sign): name for sign, name in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))}

_Row = tuple[list[int], list[int], Decimal, Decimal, bool]


@dataclass(frozen=True, slots=True)
class Breaks:
    """What did not match, refs in rising order, and how many matches each rule made, by its number."""

    matched: Mapping[int, int]
    differing: tuple[Match, ...]
    only_broker: tuple[int, ...]
    only_books: tuple[int, ...]


def match_by_size(broker: Sequence[Fact], books: Sequence[Fact], *, steps: Mapping[str, InstrumentRule]) -> Matched:
    """The whole ladder: by the pure core, of large sides by the database. Raises as `match`."""
    large = max(len(broker), len(books)) >= LARGE
    return match(broker, books, steps=steps) if large else pure.match(broker, books, steps=steps)


def match(
    broker: Iterable[Fact],
    books: Iterable[Fact],
    *,
    rules: Sequence[Rule] = RULES,
    steps: Mapping[str, InstrumentRule],
) -> Matched:
    """What became of every fact of both sides, exactly as `domain.matching.match` says it.

    Raises ValueError when two facts of one side have the same ref, or a rule compares what no rung does.
    """
    with loaded(broker, books, steps=steps) as ladder:
        matches: list[Match] = []
        for rule in rules:
            matches += (_match(rule, row) for row in ladder.climb(rule) if row[4])
            matches += (Match(rule.number, (one,), (other,), ZERO, ZERO) for one, other in ladder.plain_pairs(rule))
        only_broker, only_books = ladder.left()
        return Matched(_in_order(matches), _in_order(ladder.differing), only_broker, only_books)


def breaks(
    broker: Iterable[Fact],
    books: Iterable[Fact],
    *,
    rules: Sequence[Rule] = RULES,
    steps: Mapping[str, InstrumentRule],
) -> Breaks:
    """The same without the matches, which are counted only: for sides of which nearly all match. Raises as `match`."""
    with loaded(broker, books, steps=steps) as ladder:
        return ladder.breaks(rules)


@contextmanager
def loaded(broker: Iterable[Fact], books: Iterable[Fact], *, steps: Mapping[str, InstrumentRule]) -> Iterator[Ladder]:
    """Both sides in the database until the block ends. Raises ValueError when a side has a ref twice."""
    with transaction.atomic():
        try:
            with connection.cursor() as cursor:
                for name, value in _SETTINGS.items():
                    cursor.execute(f"SET LOCAL {name} = {value}")
                keys: dict[tuple[str, ...], int] = {}
                rows = [
                    _copy(cursor, table, facts, keys, steps)
                    for table, facts in zip(rungs.SIDES, (broker, books), strict=True)
                ]
                if max(rows) >= MANY:
                    cursor.execute(f"ANALYZE {', '.join(rungs.SIDES)}")
                yield Ladder(cursor, (rows[0], rows[1]))
        finally:
            transaction.set_rollback(True)


@dataclass(slots=True)
class Ladder:
    """Both sides, and what the rungs climbed so far have left of them."""

    cursor: CursorWrapper
    rows: tuple[int, int]
    differing: list[Match] = field(default_factory=list)
    copies: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    _first: Rule | None = None
    _plain: int = 0
    _twice: bool = False

    def climb(self, rule: Rule) -> list[_Row]:
        """Take what the rule matches: refs of the broker, of the books, both residues, and True, for each match.

        Pairs that an id alone matched are counted by `plain`, and listed by `plain_pairs`, not here.
        """
        if self._first is None:
            self._begin(rule)
            self._first = rule
        self.cursor.execute(rungs.statement(rule))
        rows: list[_Row] = self.cursor.fetchall()
        for row in rows:
            if not row[4] and row[0] and row[1]:
                self.differing.append(_match(rule, row))
            elif not row[4]:
                self.copies[0].extend(row[0])
                self.copies[1].extend(row[1])
        return [row for row in rows if row[4]]

    def _begin(self, rule: Rule) -> None:
        """Put what is worth climbing with aside: all, or what an id does not match at once."""
        if rungs.strips(rule):
            found = self._strip()
            self._twice = found[:2] != self.rows  # more rows in the join than facts: an id stands twice
            if self._twice:
                found = self._strip()
            places = found[2:]
            for table, lie in zip(rungs.SIDES, places, strict=True):
                where = "WHERE ctid = ANY(%s::text::tid[])"
                self.cursor.execute(f"INSERT INTO {table}_left SELECT * FROM {table} {where}", [lie or "{}"])
        else:
            for table in rungs.SIDES:
                self.cursor.execute(f"INSERT INTO {table}_left SELECT * FROM {table}")
        self.cursor.execute("SELECT count(*) FROM matching_broker_left")
        left = self.cursor.fetchone()[0]
        self._plain = self.rows[0] - left
        if max(self.rows) >= MANY:
            self.cursor.execute(f"ANALYZE {', '.join(f'{table}_left' for table in rungs.SIDES)}")

    def _strip(self) -> tuple[int, int, str | None, str | None]:
        self.cursor.execute(rungs.over(rungs.STRIP, copies=self._twice))
        row: tuple[int, int, str | None, str | None] = self.cursor.fetchone()
        return row

    def plain(self, rule: Rule) -> int:
        """How many pairs the rule's id matched alone, one on each side with equal terms."""
        return self._plain if rule == self._first else 0

    def plain_pairs(self, rule: Rule) -> list[tuple[int, int]]:
        """Their refs."""
        if not self.plain(rule):
            return []
        self.cursor.execute(rungs.over(rungs.PLAIN_PAIRS, copies=self._twice))
        pairs: list[tuple[int, int]] = self.cursor.fetchall()
        return pairs

    def left(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The refs of each side that nothing has matched."""
        found = []
        for table, copies in zip(rungs.SIDES, self.copies, strict=True):
            self.cursor.execute(f"SELECT ref FROM {table if self._first is None else f'{table}_left'}")
            found.append(tuple(sorted([ref for (ref,) in self.cursor.fetchall()] + copies)))
        return found[0], found[1]

    def breaks(self, rules: Sequence[Rule]) -> Breaks:
        """Climb them all; what is left."""
        matched: Counter[int] = Counter()
        for rule in rules:
            matched[rule.number] += len(self.climb(rule))
            matched[rule.number] += self.plain(rule)
        return Breaks(dict(matched), _in_order(self.differing), *self.left())


def _copy(
    cursor: CursorWrapper,
    table: str,
    facts: Iterable[Fact],
    keys: dict[tuple[str, ...], int],
    steps: Mapping[str, InstrumentRule],
) -> int:
    """Load a side; how many facts it has. `keys` gets a number for every key that is new."""
    refs: set[int] = set()
    rows = 0
    left = iter(facts)
    with cursor.copy(_COPY.format(table=table)) as copy:
        while some := list(islice(left, SLICE)):
            copy.write("".join(_line(fact, keys.setdefault(fact.key, len(keys)), steps) for fact in some))
            refs.update(fact.ref for fact in some)
            rows += len(some)
    if len(refs) != rows:
        raise ValueError("two facts of one side have the same ref")
    return rows


def _line(fact: Fact, key: int, steps: Mapping[str, InstrumentRule]) -> str:
    """A fact as COPY reads it: written by hand, because there are millions."""
    known = steps.get(fact.instrument)
    step = (known.price_step if known is not None else ZERO) if fact.instrument else "\\N"
    texts = "\t".join(_text(each) for each in (fact.external_id, fact.client_id, fact.broker_order_id))
    terms = f"{key}\t{step}\t{fact.quantity}\t{fact.price}\t{fact.amount}"
    return f"{fact.ref}\t{texts}\t{terms}\t{fact.at.isoformat()}\t{fact.day.isoformat()}\n"


def _text(text: str) -> str:
    """Nothing for "": the side does not know it."""
    return text.translate(_ESCAPED) if text else "\\N"


def _match(rule: Rule, row: _Row) -> Match:
    return Match(rule.number, tuple(sorted(row[0])), tuple(sorted(row[1])), row[2], row[3])


def _in_order(matches: list[Match]) -> tuple[Match, ...]:
    return tuple(sorted(matches, key=lambda each: (each.rule, each.broker, each.books)))
