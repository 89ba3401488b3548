"""The comparison: the broker's snapshot against our books, and nothing else.

`reconcile` is a pure function. Its invariants, each tested:

 1. Determinism: the same inputs, in whatever order their rows come, give the same `Findings`, byte for byte.
 2. Completeness: nothing is called absent, flat or missing unless that part of the answer is COMPLETE. What a PARTIAL
    answer does show counts; what it does not show says nothing. A FAILED part says nothing at all.
 3. One cut: when the newest event in the books is not the broker's newest event, nothing is compared.
 4. Suspicion: an answer without positions, orders and cash, while the books hold some, is not believed.
 5. Linking first: client id, then broker id; only what neither links is called external. Never by symbol and quantity.
 6. One trade, one case: a position difference carries the fills that explain it and their cash; each part of each
    commodity's difference is explained by at most one finding; a fill or movement of cash counts once, however many
    events repeat it; no two findings of one run are the same case.
 7. Proof: for every commodity compared, broker − books − explained = 0 (or within the policy's tolerance).
 8. Equality: equal sides, however large, give no finding.
 9. Bad data is named, and no other conclusion is drawn from it.
10. Tolerances come from the policy and are exact; a difference equal to the tolerance is no difference. Units below
    one step of the instrument are dust, whatever the policy: no case, but named in the notes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from reconciliation.domain.bad_data import Inspection, inspect
from reconciliation.domain.cash import compare_cash
from reconciliation.domain.findings import Finding, Findings, ProofLine
from reconciliation.domain.flags import are_known, compare_flags
from reconciliation.domain.history import compare_history
from reconciliation.domain.kinds import Confidence
from reconciliation.domain.late import compare_late
from reconciliation.domain.links import count_linked
from reconciliation.domain.opening import with_opening
from reconciliation.domain.orders import compare_orders
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.positions import compare_positions
from reconciliation.domain.snapshots import BooksSnapshot, normalised_broker
from trading.domain.broker import BrokerSnapshot, Completeness, Part
from trading.domain.money import ZERO, plain

NOT_THE_SAME_CUT = (
    "Nothing was compared: the broker's snapshot ends with its event {broker}, our books with event {books}. "
    "Both sides must end with the same event."
)
SUSPICIOUSLY_EMPTY = (
    "The broker answered with no positions, no orders and no cash, while our books hold some. "
    "Such an answer is not believed: nothing is concluded from what it does not show."
)

DUST = "The broker's {symbol} less ours is {units}, below the step of {step}: dust, and no case."


def reconcile(broker: BrokerSnapshot, books: BooksSnapshot, policy: ReconciliationPolicy) -> Findings:
    """Every difference between the two sides, sorted, with the proof and what could not be concluded."""
    broker, books = normalised_broker(broker), books.normalised()
    if broker.last_event_id != books.cut_event_id:
        note = NOT_THE_SAME_CUT.format(broker=broker.last_event_id or "none", books=books.cut_event_id or "none")
        return nothing_compared(broker, books, note)
    broker, notes = _believed(broker, books)
    seen = inspect(broker, books)
    found = [
        *seen.findings,
        *compare_positions(broker, books, policy, seen),
        *compare_cash(broker, books, policy, seen),
        *compare_orders(broker, books, policy, seen),
        *compare_history(books, policy, seen),
        *compare_late(books, policy),
        *compare_flags(broker),
    ]
    found = with_opening(found, broker, books, policy, seen)
    findings = tuple(sorted(found, key=lambda finding: (finding.kind, finding.key, finding.substance)))
    proof, dust = _proof(broker, books, policy, seen, findings)
    return Findings(
        findings=findings,
        proof=proof,
        completeness=broker.completeness,
        notes=(*notes, *_part_notes(broker), *dust),
        broker_positions=len(broker.positions),
        books_positions=sum(1 for position in books.positions if position.quantity != 0),
        linked=count_linked(broker, books),
        complete_parts=_complete_parts(broker),
    )


def _complete_parts(broker: BrokerSnapshot) -> frozenset[Confidence]:
    """The history is complete up to the cut that both sides share."""
    parts = (
        (Confidence.CASH, broker.cash_part),
        (Confidence.POSITIONS, broker.positions_part),
        (Confidence.ORDERS, broker.orders_part),
    )
    complete = {name for name, part in parts if part.completeness is Completeness.COMPLETE}
    if are_known(broker):
        complete.add(Confidence.FLAGS)
    if {Confidence.POSITIONS, Confidence.ORDERS} <= complete:
        complete.add(Confidence.PROTECTION)
    return frozenset({*complete, Confidence.HISTORY})


def nothing_compared(broker: BrokerSnapshot, books: BooksSnapshot, note: str) -> Findings:
    """The answer of a comparison that could not be made, and why: it concludes nothing about either side."""
    return Findings(
        findings=(),
        proof=(),
        completeness=Completeness.FAILED if broker.completeness is Completeness.FAILED else Completeness.PARTIAL,
        notes=(note,),
        broker_positions=len(broker.positions),
        books_positions=sum(1 for position in books.positions if position.quantity != 0),
        linked=count_linked(broker, books),
    )


def _believed(broker: BrokerSnapshot, books: BooksSnapshot) -> tuple[BrokerSnapshot, tuple[str, ...]]:
    """The broker's side with a suspiciously empty answer marked as PARTIAL."""
    shows_nothing = not broker.positions and not broker.orders and not any(broker.cash.values())
    books_hold = any(position.quantity != 0 for position in books.positions) and any(books.cash.values())
    if not (shows_nothing and books_hold and broker.completeness is Completeness.COMPLETE):
        return broker, ()
    doubted = Part(Completeness.PARTIAL, SUSPICIOUSLY_EMPTY)
    nothing = Part(Completeness.FAILED, SUSPICIOUSLY_EMPTY)
    return replace(broker, positions_part=doubted, orders_part=doubted, cash_part=nothing), (SUSPICIOUSLY_EMPTY,)


def _part_notes(broker: BrokerSnapshot) -> tuple[str, ...]:
    parts = (("cash", broker.cash_part), ("positions", broker.positions_part), ("orders", broker.orders_part))
    return tuple(
        f"The broker's {name} are {part.completeness}: {part.reason or 'no reason given'}."
        for name, part in parts
        if part.completeness is not Completeness.COMPLETE and part.reason != SUSPICIOUSLY_EMPTY
    )


def _proof(
    broker: BrokerSnapshot,
    books: BooksSnapshot,
    policy: ReconciliationPolicy,
    seen: Inspection,
    findings: Iterable[Finding],
) -> tuple[tuple[ProofLine, ...], tuple[str, ...]]:
    """The proof, and a note on each instrument of which only dust is left over."""
    lines: list[ProofLine] = []
    dust: list[str] = []
    explained: dict[str, Decimal] = {}
    for finding in findings:
        for commodity, amount in finding.explains.items():
            explained[commodity] = explained.get(commodity, ZERO) + amount
    for currency in seen.comparable_currencies(broker, books):
        theirs, ours = broker.cash.get(currency, ZERO), books.cash.get(currency, ZERO)
        known = explained.get(currency, ZERO)
        lines.append(ProofLine(currency, theirs, ours, known, policy.cash_tolerance_of(currency)))
    held = {position.instrument: position.quantity for position in books.positions}
    for symbol in seen.comparable_symbols(broker, books):
        rule, known = seen.rules[symbol], explained.get(symbol, ZERO)
        line = ProofLine(
            symbol, seen.broker_quantity(symbol), held.get(symbol, ZERO), known, policy.quantity_tolerance(rule)
        )
        if not line.holds and rule.is_dust(line.unexplained):
            dust.append(DUST.format(units=plain(line.unexplained), symbol=symbol, step=plain(rule.quantity_step)))
            line = replace(line, tolerance=abs(line.unexplained))
        lines.append(line)
    return tuple(lines), tuple(dust)
