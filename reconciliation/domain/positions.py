"""Positions: quantity, side and cost of each instrument, with the fills that explain the difference.

What always holds here: fills of our own orders that are not yet booked, and fills that the broker took back or
corrected, are findings of their own and taken out of the difference first; what is left is one case per instrument,
whatever its shape, and it carries the fills of other people's orders and the cash they moved; less than one step of
the instrument is dust and no case; an instrument held long and short is compared both ways, and never mended by its
net.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from reconciliation.domain.actions import actions_for, actions_for_position
from reconciliation.domain.bad_data import Inspection
from reconciliation.domain.both_ways import hidden_by_the_net, shape_both_ways
from reconciliation.domain.causes import (
    both_ways_cause,
    corporate_cause,
    cost_cause,
    estimated_cause,
    oversize_cause,
    own_fill_cause,
    position_cause,
    split_cause,
)
from reconciliation.domain.findings import Finding, told
from reconciliation.domain.kinds import Action, Confidence, Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.renames import with_renames
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksPosition, BooksSnapshot, InstrumentRule, UnpostedEvent, cash_of
from trading.domain.broker import BrokerSnapshot, FillData
from trading.domain.money import ZERO, plain
from trading.domain.splits import split_ratio


@dataclass(slots=True)
class _Unposted:
    """Fills of one instrument that are not in the books, each with its event."""

    ours: list[tuple[UnpostedEvent, FillData]] = field(default_factory=list)
    external: list[tuple[UnpostedEvent, FillData]] = field(default_factory=list)

    def by_order(self) -> Mapping[tuple[str, str], list[FillData]]:
        """Our fills by the order that they are of."""
        orders: dict[tuple[str, str], list[FillData]] = defaultdict(list)
        for _, fill in self.ours:
            orders[_order(fill)].append(fill)
        return orders


def _order(fill: FillData) -> tuple[str, str]:
    return fill.client_id, fill.broker_order_id


def signed(fill: FillData) -> Decimal:
    """What a fill moved of the position."""
    return fill.side.sign * fill.quantity


def compare_positions(
    broker: BrokerSnapshot, books: BooksSnapshot, policy: ReconciliationPolicy, seen: Inspection
) -> list[Finding]:
    """The findings about positions, fills not booked, and cost."""
    held = {position.instrument: position for position in books.positions}
    unposted = _unposted(books, seen)
    comparable = set(seen.comparable_symbols(broker, books))
    found: list[Finding] = []
    for symbol in sorted(comparable | set(unposted)):
        fills = unposted.get(symbol, _Unposted())
        rule = seen.rules[symbol]
        orders = fills.by_order()
        found.extend(_own_fill(rule, event, fill, orders[_order(fill)], books.currency) for event, fill in fills.ours)
        known = seen.broker_quantity(symbol) if symbol in comparable else None
        position = held.get(symbol, BooksPosition(symbol, ZERO, None))
        corrected = sum((change.units(rule.broker_symbol) for change in books.changed), ZERO)
        finding = _position_case(symbol, position, known, fills, corrected, books, policy, seen)
        if finding is not None:
            found.append(finding)
        elif known is not None and not fills.ours and not _is_corrected(rule, books):
            found.extend(_cost(symbol, position, known, policy, seen))
    return with_renames(found, held, policy, seen)


def _is_corrected(rule: InstrumentRule, books: BooksSnapshot) -> bool:
    """Whether the broker took back or corrected a fill of the instrument that our books still hold as it was."""
    return any(fill.instrument == rule.broker_symbol for change in books.changed for _, fill in change.fills())


def _unposted(books: BooksSnapshot, seen: Inspection) -> Mapping[str, _Unposted]:
    result: dict[str, _Unposted] = defaultdict(_Unposted)
    for event in books.unposted:
        for fill in event.fills:
            rule = seen.by_broker_symbol.get(fill.instrument)
            if rule is None:
                continue
            side = result[rule.symbol].ours if fill.external_id in event.ours else result[rule.symbol].external
            side.append((event, fill))
    return result


def _own_fill(
    rule: InstrumentRule, event: UnpostedEvent, fill: FillData, of_order: Sequence[FillData], currency: str
) -> Finding:
    symbol = rule.symbol
    actions, suggestion = actions_for(Kind.MISSING_FILL, stored=event.event_id != 0)
    return Finding(
        kind=Kind.MISSING_FILL,
        key=f"fill:{fill.external_id}",
        severity=severity_of(Kind.MISSING_FILL),
        cause=own_fill_cause(fill, stored=event.event_id != 0, of_order=of_order),
        relies_on=Confidence.HISTORY,
        instrument=symbol,
        commodity=symbol,
        books_value=ZERO,
        broker_value=signed(fill),
        difference=signed(fill),
        explains=_explains(rule, signed(fill), currency, [fill]),
        event_ids=(event.event_id,),
        evidence={"fills": [told(fill)], "order_is_ours": True},
        actions=actions,
        suggestion=suggestion,
    )


def _position_case(
    symbol: str,
    position: BooksPosition,
    known: Decimal | None,
    fills: _Unposted,
    corrected: Decimal,
    books: BooksSnapshot,
    policy: ReconciliationPolicy,
    seen: Inspection,
) -> Finding | None:
    rule = seen.rules[symbol]
    tolerance = policy.quantity_tolerance(rule)
    pending = bool(fills.ours) or _is_corrected(rule, books)
    after_ours = position.quantity + corrected + sum((signed(fill) for _, fill in fills.ours), ZERO)
    external = [fill for _, fill in fills.external]
    external_net = sum((signed(fill) for fill in external), ZERO)
    difference = external_net if known is None else known - after_ours
    hidden = None if known is None or pending or external else hidden_by_the_net(position, books, seen, tolerance)
    if (abs(difference) <= tolerance or rule.is_dust(difference)) and not external and hidden is None:
        return None
    if known is not None and not external and not pending and hidden is None:
        split = _split(symbol, position, known, policy, seen)
        if split is not None:
            return split
    kind = _shape(rule, after_ours, known, difference, tolerance) if hidden is None else shape_both_ways(*hidden)
    unexplained = difference - external_net
    stored = all(event.event_id != 0 for event, _ in fills.external)
    actions, suggestion = actions_for_position(
        kind,
        books=after_ours,
        broker=known,
        has_fills=bool(external),
        unexplained=unexplained,
        priced=symbol in seen.prices,
        estimable=symbol in seen.markets,
        stored=stored and not pending,
        net_is_all=min(seen.both_ways.get(symbol, (ZERO, ZERO))) == 0 and hidden is None,
        policy=policy,
    )
    cause = position_cause(kind, symbol, books=after_ours, broker=known, fills=external, unexplained=unexplained)
    if kind is Kind.OVERSIZE and rule.cap is not None:
        cause += oversize_cause(rule.cap)
    evidence: dict[str, object] = {"fills": [told(fill) for fill in external], "unexplained": plain(unexplained)}
    corporate = [event for event in books.corporate if event.instrument == rule.broker_symbol and unexplained]
    if corporate:
        cause += corporate_cause(corporate)
        evidence["corporate"] = [event.external_id for event in corporate]
    if symbol in seen.prices:
        evidence["broker_average_price"] = plain(seen.prices[symbol])
    elif symbol in seen.markets:
        evidence["market_price"] = plain(seen.markets[symbol])
        cause += estimated_cause(symbol) if Action.ADOPT_POSITION in actions else ""
    if position.average_price is not None:
        evidence["books_average_price"] = plain(position.average_price)
    return Finding(
        kind=kind,
        key=symbol,
        severity=severity_of(kind, books=after_ours, broker=known),
        cause=cause if hidden is None else both_ways_cause(symbol, broker=hidden[0], books=hidden[1]),
        relies_on=Confidence.HISTORY if known is None else Confidence.POSITIONS,
        instrument=symbol,
        commodity=symbol,
        books_value=position.quantity,
        broker_value=known,
        difference=difference,
        explains=_explains(rule, difference, books.currency, external),
        event_ids=tuple(sorted({event.event_id for event, _ in fills.external})),
        evidence=evidence,
        actions=actions,
        suggestion=suggestion,
        matter=" ".join(plain(units) for way in hidden for units in way) if hidden is not None else "",
    )


def _shape(rule: InstrumentRule, ours: Decimal, known: Decimal | None, difference: Decimal, tolerance: Decimal) -> Kind:
    if known is None or abs(difference) <= tolerance:
        return Kind.MISSING_FILL
    if rule.cap is not None and abs(known) > max(rule.cap, abs(ours)):
        return Kind.OVERSIZE
    if ours == 0:
        return Kind.EXTERNAL_POSITION
    if known == 0:
        return Kind.PHANTOM_POSITION
    return Kind.SIDE_MISMATCH if known * ours < 0 else Kind.QUANTITY_MISMATCH


def _split(
    symbol: str, position: BooksPosition, known: Decimal, policy: ReconciliationPolicy, seen: Inspection
) -> Finding | None:
    """The difference as a split: no fill explains it, and units and cost changed by one ratio."""
    theirs = seen.prices.get(symbol)
    for ours in (position.average_price, position.pooled_price):
        if theirs is None or ours is None:
            continue
        tolerance = policy.price_tolerance(seen.rules[symbol])
        ratio = split_ratio(
            before=position.quantity, after=known, price_before=ours, price_after=theirs, tolerance=tolerance
        )
        if ratio is None:
            continue
        actions, suggestion = actions_for(Kind.CORPORATE_ACTION)
        return Finding(
            kind=Kind.CORPORATE_ACTION,
            key=symbol,
            severity=severity_of(Kind.CORPORATE_ACTION),
            cause=split_cause(symbol, ratio, books=position.quantity, broker=known, cost=ours, price=theirs),
            relies_on=Confidence.POSITIONS,
            instrument=symbol,
            commodity=symbol,
            books_value=position.quantity,
            broker_value=known,
            difference=known - position.quantity,
            explains={symbol: known - position.quantity},
            evidence={
                "fills": [],
                "ratio": f"{ratio.numerator}:{ratio.denominator}",
                "broker_average_price": plain(theirs),
                "books_average_price": plain(ours),
            },
            actions=actions,
            suggestion=suggestion,
        )
    return None


def _cost(
    symbol: str, position: BooksPosition, known: Decimal, policy: ReconciliationPolicy, seen: Inspection
) -> list[Finding]:
    theirs, ours = seen.prices.get(symbol), position.average_price
    if theirs is None or ours is None or known == 0:
        return []
    tolerance = policy.price_tolerance(seen.rules[symbol])
    if any(abs(theirs - cost) <= tolerance for cost in (ours, position.pooled_price) if cost is not None):
        return []
    actions, suggestion = actions_for(Kind.COST_BASIS)
    return [
        Finding(
            kind=Kind.COST_BASIS,
            key=symbol,
            severity=severity_of(Kind.COST_BASIS),
            cause=cost_cause(symbol, books=ours, broker=theirs),
            relies_on=Confidence.POSITIONS,
            instrument=symbol,
            books_value=ours,
            broker_value=theirs,
            difference=theirs - ours,
            actions=actions,
            suggestion=suggestion,
        )
    ]


def _explains(rule: InstrumentRule, quantity: Decimal, currency: str, fills: Sequence[FillData]) -> dict[str, Decimal]:
    cash = sum((cash_of(fill, rule) for fill in fills), ZERO)
    parts = {rule.symbol: quantity, currency: cash}
    return {commodity: amount for commodity, amount in parts.items() if amount != 0}
