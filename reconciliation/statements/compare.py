"""What a statement and our books say of the same days: findings, and their proof.

What always holds here: pure; the statement is the broker's side; only what it covers counts as absent, and only of the
sort that it is a whole account of; what the broker's history told us and waits for a decision is told of by the runs
that look at the broker, under their own case, and is no finding here; each fact is in at most one finding, and no two
findings have one name. A line with the broker's id is matched by it alone, and so is what we booked outside of the
statement's time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Protocol

from reconciliation.domain.facts import Fact, Matched
from reconciliation.domain.fees import fee_findings
from reconciliation.domain.findings import Finding, Findings, ProofLine
from reconciliation.domain.kinds import Action, Confidence, Kind, family
from reconciliation.domain.matching import match
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import InstrumentRule
from trading.domain.broker import Completeness
from trading.domain.money import ZERO, plain

from .document import Covers

STATEMENT = "statement"
"""The name in a finding's evidence that says which statement told of it."""
# What a movement of cash is, by the word of the statement's row.
_MOVES: Mapping[str, Kind] = MappingProxyType(
    {
        "TRANSFER_FUNDS": Kind.TRANSFER_NOT_BOOKED,
        "DAILY_FINANCING": Kind.FINANCING_NOT_BOOKED,
        "DIVIDEND_ADJUSTMENT": Kind.DIVIDEND_NOT_BOOKED,
        **dict.fromkeys(("CSD", "CSW", "TRANS", "JNLC", "ACATC"), Kind.TRANSFER_NOT_BOOKED),
        **dict.fromkeys(("CGD", "DIV", "DIVCGL", "DIVCGS", "DIVROC", "DIVTXEX"), Kind.DIVIDEND_NOT_BOOKED),
        **dict.fromkeys(("DIVFT", "DIVNRA", "DIVTW", "INTNRA", "INTTW", "WH"), Kind.TAX_NOT_BOOKED),
        "INT": Kind.FINANCING_NOT_BOOKED,
    }
)


class Matcher(Protocol):
    """Whoever says which facts are the same: `domain.matching`, or the database with the same answers."""

    def __call__(
        self, broker: Sequence[Fact], books: Sequence[Fact], *, steps: Mapping[str, InstrumentRule]
    ) -> Matched:
        """What became of every fact of both sides."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """The statement's side. `words` is what its rows call their movements of cash, by the fact's ref.

    `period` names the statement's series and last day: what it says of a balance or position is a difference of then.
    """

    statement: int
    covers: Covers
    name: str
    facts: tuple[Fact, ...]
    words: Mapping[int, str] = field(default_factory=dict)
    positions: Mapping[str, Decimal] = field(default_factory=dict)
    unmapped: Mapping[str, int] = field(default_factory=dict)
    period: str = ""


@dataclass(frozen=True, slots=True)
class Booked:
    """Our side. `outside` are facts that the statement does not cover; `events` names the broker's event of each.

    `waiting` are the broker's ids of what its history told us and is not booked.
    """

    facts: tuple[Fact, ...]
    events: Mapping[int, str]
    outside: frozenset[int] = frozenset()
    waiting: frozenset[str] = frozenset()
    positions: Mapping[str, Decimal] = field(default_factory=dict)


def compare(told: Told, booked: Booked, steps: Mapping[str, InstrumentRule], *, matcher: Matcher = match) -> Findings:
    """Every difference of executions, movements and positions that the statement shows."""
    waits = [fact for fact in told.facts if fact.external_id and fact.external_id in booked.waiting]
    waiting = {fact.ref for fact in waits}
    theirs = [fact for fact in told.facts if fact.ref not in waiting]
    ours = _covered(theirs, booked)
    matched = _matched(theirs, ours, steps, matcher)
    sides = _Sides(told, booked, {fact.ref: fact for fact in theirs}, {fact.ref: fact for fact in ours})
    fees = fee_findings(matched, sides.theirs, sides.ours, steps, {STATEMENT: told.statement})
    findings = [*sides.findings(matched), *fees, *_positions(told, booked), *_unmapped(told)]
    return Findings(
        findings=_apart(findings),
        proof=tuple(sides.proof(matched, findings)) + tuple(_proof_of_positions(told, booked, findings)),
        completeness=Completeness.COMPLETE,
        notes=_notes(waits, matched),
        broker_positions=len(told.positions),
        books_positions=len(booked.positions),
        linked=len(matched.matches),
    )


def end_of(period: str, commodity: str) -> str:
    """The name of what is left over at the end of a statement: another one's is another difference."""
    return f"{STATEMENT}:{period}:{commodity}"


def _covered(theirs: Sequence[Fact], booked: Booked) -> list[Fact]:
    """What we booked in the statement's time, or outside of it under the id of a line."""
    named = {_identity(fact) for fact in theirs if fact.external_id}
    return [fact for fact in booked.facts if fact.ref not in booked.outside or _identity(fact) in named]


def _matched(
    theirs: Sequence[Fact], ours: Sequence[Fact], steps: Mapping[str, InstrumentRule], matcher: Matcher
) -> Matched:
    """The ladder's answer, of lines whose id our books do not know left alone: other terms never explain an id."""
    known = {_identity(fact) for fact in ours}
    alone = {fact.ref for fact in theirs if fact.external_id and _identity(fact) not in known}
    found = matcher([fact for fact in theirs if fact.ref not in alone], ours, steps=steps)
    return replace(found, only_broker=tuple(sorted({*found.only_broker, *alone})))


def _identity(fact: Fact) -> tuple[tuple[str, str, str, str], str]:
    return fact.key, fact.external_id


def _apart(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """In the order of their names, the second and later ones of a name with a number."""
    seen: Counter[tuple[str, str]] = Counter()
    made = []
    for found in sorted(findings, key=lambda each: (each.kind, each.key)):
        name = (family(found.kind), found.key)
        seen[name] += 1
        made.append(found if seen[name] == 1 else replace(found, key=f"{found.key}#{seen[name]}"))
    return tuple(made)


def signed(fact: Fact) -> Decimal:
    """What a fact moved of its instrument's position."""
    return fact.quantity if fact.side == "BUY" else -fact.quantity


@dataclass(frozen=True, slots=True)
class _Sides:
    told: Told
    booked: Booked
    theirs: Mapping[int, Fact]
    ours: Mapping[int, Fact]

    def findings(self, matched: Matched) -> list[Finding]:
        alone, absent = self._alone(matched)
        twins = self._twins(alone, absent)
        theirs, ours = ({pair[side].ref for pair in twins} for side in (0, 1))
        found = [self._differs(self.theirs[m.broker[0]], self.ours[m.books[0]]) for m in matched.differing]
        found += [self._differs(one, other) for one, other in twins]
        names: Counter[str] = Counter()
        for fact in alone:
            if fact.ref not in theirs:
                found.append(self._missing(fact, _name(fact, names, "missing")))
        for fact in absent:
            if fact.ref not in ours:
                found.append(self._extra(fact, _name(fact, names, "extra")))
        return found

    def proof(self, matched: Matched, findings: Sequence[Finding]) -> list[ProofLine]:
        """Of each commodity: the statement's sum − ours − what the findings and the rules' tolerances explain."""
        beyond = self.booked.outside & set(matched.only_books)
        broker: dict[str, Decimal] = defaultdict(Decimal)
        books: dict[str, Decimal] = defaultdict(Decimal)
        explained: dict[str, Decimal] = defaultdict(Decimal)
        for sums, facts in ((broker, self.theirs.values()), (books, self.ours.values())):
            for fact in facts:
                if sums is broker or fact.ref not in beyond:
                    for commodity, amount in _moved(fact).items():
                        sums[commodity] += amount
        for made in matched.matches:
            explained[self.theirs[made.broker[0]].currency] += made.amount
        for finding in findings:
            for commodity, amount in finding.explains.items():
                explained[commodity] += amount
        return [
            ProofLine(name, broker[name], books[name], explained[name])
            for name in sorted({*broker, *books})
            if name not in self.told.positions
        ]

    def _alone(self, matched: Matched) -> tuple[list[Fact], list[Fact]]:
        alone = [self.theirs[ref] for ref in matched.only_broker]
        absent = [self.ours[ref] for ref in matched.only_books if ref not in self.booked.outside]
        return alone, absent

    def _twins(self, alone: Sequence[Fact], absent: Sequence[Fact]) -> list[tuple[Fact, Fact]]:
        """The same id with another instrument or side: one difference, not two."""
        by_id = {fact.external_id: fact for fact in absent if fact.external_id}
        return [(fact, by_id.pop(fact.external_id)) for fact in alone if fact.external_id in by_id]

    def _differs(self, one: Fact, other: Fact) -> Finding:
        is_fill = bool(one.side)
        event = self.booked.events.get(other.ref) or one.external_id
        return self._finding(
            Kind.FILL_MISMATCH,
            key=f"event:{event}",
            cause=(
                f"{self.told.name} has {_words(one)}; our books have {_words(other)} under the same id "
                f"{one.external_id}."
            ),
            instrument=other.instrument,
            commodity=other.instrument if is_fill else one.currency,
            books=signed(other) if is_fill else other.amount,
            broker=signed(one) if is_fill else one.amount,
            explains=_less(_moved(one), _moved(other)),
            evidence={"line": one.ref, "theirs": _told(one), "ours": _told(other)},
            matter=f"{_words(one)} {_words(other)}",
        )

    def _missing(self, fact: Fact, name: str) -> Finding:
        if fact.side:
            kind, key = Kind.MISSING_FILL, f"fill:{name}"
            cause = (
                f"{self.told.name} has {_words(fact)}, which is neither in our books nor in the history we have read."
            )
        else:
            kind, key = _MOVES.get(self.told.words.get(fact.ref, ""), Kind.FEE_NOT_BOOKED), f"cash:{name}"
            cause = f"{self.told.name} has {_words(fact)} that is neither in our books nor in the history we have read."
        return self._finding(
            kind,
            key=key,
            cause=cause,
            instrument=fact.instrument if fact.side else "",
            commodity=fact.instrument if fact.side else fact.currency,
            books=ZERO,
            broker=signed(fact) if fact.side else fact.amount,
            explains=_moved(fact),
            evidence={"line": fact.ref, "theirs": _told(fact)},
        )

    def _extra(self, fact: Fact, name: str) -> Finding:
        kind, key = (Kind.EXTRA_FILL, f"fill:{name}") if fact.side else (Kind.CASH_UNEXPLAINED, f"cash:{name}")
        return self._finding(
            kind,
            key=key,
            cause=f"Our books have {_words(fact)}, and {self.told.name}, which covers that time, does not.",
            instrument=fact.instrument if fact.side else "",
            commodity=fact.instrument if fact.side else fact.currency,
            books=signed(fact) if fact.side else fact.amount,
            broker=ZERO,
            explains={name: -amount for name, amount in _moved(fact).items()},
            evidence={"ours": _told(fact)},
        )

    def _finding(self, kind: Kind, **of: Any) -> Finding:
        return finding(self.told.statement, kind, **of)


def finding(
    statement: int,
    kind: Kind,
    *,
    key: str,
    cause: str,
    books: Decimal | None = None,
    broker: Decimal | None = None,
    instrument: str = "",
    commodity: str = "",
    explains: Mapping[str, Decimal] | None = None,
    evidence: Mapping[str, Any] | None = None,
    matter: str = "",
) -> Finding:
    """A finding of a statement: people can only accept it as it is; what mends it comes from the broker or its file."""
    return Finding(
        kind=kind,
        key=key,
        severity=severity_of(kind, books=books, broker=broker),
        cause=cause,
        relies_on=Confidence.HISTORY,
        instrument=instrument,
        commodity=commodity,
        books_value=books,
        broker_value=broker,
        difference=broker - books if broker is not None and books is not None else None,
        explains=dict(explains or {}),
        evidence={STATEMENT: statement, **(evidence or {})},
        actions=(Action.ACCEPT,),
        matter=matter,
    )


def _positions(told: Told, booked: Booked) -> list[Finding]:
    if told.covers is not Covers.POSITIONS:
        return []
    found = []
    for symbol in sorted({*told.positions, *booked.positions}):
        theirs, ours = told.positions.get(symbol, ZERO), booked.positions.get(symbol, ZERO)
        if theirs == ours:
            continue
        kind = Kind.SIDE_MISMATCH if theirs * ours < 0 else Kind.QUANTITY_MISMATCH
        if ours == 0 or theirs == 0:
            kind = Kind.EXTERNAL_POSITION if ours == 0 else Kind.PHANTOM_POSITION
        cause = f"{told.name} ends with {plain(theirs)} {symbol}, and our books held {plain(ours)} at that moment."
        found.append(
            finding(
                told.statement,
                kind,
                key=end_of(told.period, symbol),
                cause=cause,
                instrument=symbol,
                commodity=symbol,
                books=ours,
                broker=theirs,
                explains={symbol: theirs - ours},
            )
        )
    return found


def _proof_of_positions(told: Told, booked: Booked, findings: Sequence[Finding]) -> Iterable[ProofLine]:
    if told.covers is Covers.POSITIONS:
        for symbol in sorted({*told.positions, *booked.positions}):
            explained = sum((found.explains.get(symbol, ZERO) for found in findings), ZERO)
            yield ProofLine(symbol, told.positions.get(symbol, ZERO), booked.positions.get(symbol, ZERO), explained)


def _unmapped(told: Told) -> list[Finding]:
    return [
        finding(
            told.statement,
            Kind.UNMAPPED_INSTRUMENT,
            key=name,
            cause=f"{told.name} names an instrument {name} that has no name in our books; its lines were not compared.",
            evidence={"lines": lines},
            matter=str(lines),
        )
        for name, lines in sorted(told.unmapped.items())
    ]


def _notes(waits: Sequence[Fact], matched: Matched) -> tuple[str, ...]:
    notes = []
    if waits:
        ids = ", ".join(sorted(fact.external_id for fact in waits)[:5])
        notes.append(
            f"{len(waits)} of its lines are in the broker's history that we have read and wait for a decision there: "
            f"{ids}{' and others' if len(waits) > 5 else ''}."
        )
    rules = Counter(made.rule for made in matched.matches)
    if rules:
        notes.append("Matched by rule " + ", ".join(f"{rule}: {count}" for rule, count in sorted(rules.items())) + ".")
    return tuple(notes)


def _name(fact: Fact, names: Counter[str], what: str) -> str:
    """The name of a fact for ever: the broker's id, or what it is and its terms, with a number among equal ones."""
    if fact.external_id:
        return fact.external_id
    moved = f"{plain(fact.quantity)}@{plain(fact.price)}:{plain(fact.amount)}"
    words = (what, f"{fact.day}", fact.instrument, fact.side, fact.product, moved, fact.currency)
    terms = ":".join(word for word in words if word)
    names[terms] += 1
    return f"{terms}:{names[terms]}"


def _moved(fact: Fact) -> dict[str, Decimal]:
    moved = {fact.currency: fact.amount, fact.instrument if fact.side else "": signed(fact) if fact.side else ZERO}
    return {commodity: amount for commodity, amount in moved.items() if commodity and amount != 0}


def _less(one: Mapping[str, Decimal], other: Mapping[str, Decimal]) -> dict[str, Decimal]:
    left = {name: one.get(name, ZERO) - other.get(name, ZERO) for name in sorted({*one, *other})}
    return {name: amount for name, amount in left.items() if amount != 0}


def _words(fact: Fact) -> str:
    if not fact.side:
        return f"a movement of {plain(fact.amount)} {fact.currency} on {fact.day}"
    moved = f", which moved {plain(fact.amount)} {fact.currency}" if fact.amount else ""
    return f"{fact.side} {plain(fact.quantity)} {fact.instrument} at {plain(fact.price)} on {fact.day}{moved}"


def _told(fact: Fact) -> dict[str, str]:
    return {
        "id": fact.external_id,
        "order": fact.broker_order_id,
        "client_id": fact.client_id,
        "instrument": fact.instrument,
        "side": fact.side,
        "product": fact.product,
        "quantity": plain(fact.quantity),
        "price": plain(fact.price),
        "amount": plain(fact.amount),
        "at": fact.at.isoformat(),
    }
