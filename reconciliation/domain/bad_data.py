"""The first look at both sides: what is bad, what has no name of ours, and what may be compared at all.

What always holds here: data that contradicts itself is named once, as BAD_DATA, and its instrument, currency or order
is left out of every later comparison; a broker's symbol without a name of ours is named once, as
UNMAPPED_INSTRUMENT, together with the cash that its fills moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from reconciliation.domain.actions import actions_for
from reconciliation.domain.causes import fills_in_words, held
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Confidence, Kind
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksSnapshot, InstrumentRule, cash_of
from trading.domain.broker import BrokerPosition, BrokerSnapshot, Completeness, FillData
from trading.domain.money import ZERO, plain


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the later comparisons start from.

    `quantities` and `prices` are the broker's net positions by our symbol; `rules` the instruments by our symbol;
    `bad_symbols`, `bad_currencies` and `bad_orders` are left out of everything else. `shown_is_whole` says that a
    position shown is the whole position: in an incomplete answer the other side, or another product, may be missing.
    `both_ways` is what the broker holds long and short of each symbol, which a net may hide. `markets` are the market's
    prices of units of which the broker does not say what they cost.
    """

    findings: tuple[Finding, ...]
    rules: Mapping[str, InstrumentRule]
    quantities: Mapping[str, Decimal]
    prices: Mapping[str, Decimal]
    markets: Mapping[str, Decimal]
    bad_symbols: frozenset[str]
    bad_currencies: frozenset[str]
    bad_orders: frozenset[str]
    by_broker_symbol: Mapping[str, InstrumentRule]
    shown_is_whole: bool
    both_ways: Mapping[str, tuple[Decimal, Decimal]]

    def broker_quantity(self, symbol: str) -> Decimal:
        """The broker's signed net quantity; zero when it lists none."""
        return self.quantities.get(symbol, ZERO)

    def comparable_symbols(self, broker: BrokerSnapshot, books: BooksSnapshot) -> list[str]:
        """Symbols of which both sides are known: listed by the broker, or absent from a COMPLETE answer."""
        symbols = set(self.quantities) if self.shown_is_whole else set()
        if broker.positions_part.completeness is Completeness.COMPLETE:
            symbols |= {position.instrument for position in books.positions if position.quantity != 0}
            symbols |= {holding.instrument for holding in books.holdings if books.hedging}
            named = {fill.instrument for fill in _fills(books)} & set(self.by_broker_symbol)
            symbols |= {self.by_broker_symbol[name].symbol for name in named}
        return sorted(symbol for symbol in symbols if symbol not in self.bad_symbols and symbol in self.rules)

    def comparable_currencies(self, broker: BrokerSnapshot, books: BooksSnapshot) -> list[str]:
        """Currencies of which both sides are known."""
        currencies = set(broker.cash) if broker.cash_part.completeness is not Completeness.FAILED else set()
        if broker.cash_part.completeness is Completeness.COMPLETE:
            currencies |= {currency for currency, amount in books.cash.items() if amount != 0}
        return sorted(currencies - self.bad_currencies)


def _fills(books: BooksSnapshot) -> list[FillData]:
    return [fill for event in books.unposted for fill in event.fills]


def inspect(broker: BrokerSnapshot, books: BooksSnapshot) -> Inspection:
    """Look at both sides once. See the module's docstring."""
    by_broker_symbol = {rule.broker_symbol: rule for rule in books.instruments.values()}
    findings: list[Finding] = []
    bad_symbols: set[str] = set()
    quantities: dict[str, Decimal] = {}
    prices: dict[str, Decimal] = {}
    markets: dict[str, Decimal] = {}
    both_ways: dict[str, tuple[Decimal, Decimal]] = {}
    shown = broker.positions if broker.positions_part.completeness is not Completeness.FAILED else ()
    sides = Counter((p.instrument, p.product, p.side if books.hedging else "") for p in shown)
    for position in shown:
        name = by_broker_symbol[position.instrument].symbol if position.instrument in by_broker_symbol else ""
        times = sides[(position.instrument, position.product, position.side if books.hedging else "")]
        fault = _position_fault(position, times)
        if fault:
            bad_symbols.add(name or position.instrument)
            findings.append(_bad(f"position:{position.instrument}", fault, Confidence.POSITIONS, name))
            continue
        if not name:
            continue
        quantities[name] = quantities.get(name, ZERO) + position.side.sign * position.quantity
        if position.average_price > 0:
            prices[name] = position.average_price
        elif position.market_price is not None:
            markets[name] = position.market_price
        long, short = both_ways.get(name, (ZERO, ZERO))
        bought = position.side.sign > 0
        both_ways[name] = (long + position.quantity, short) if bought else (long, short + position.quantity)
    for symbol in {p.instrument for p in shown if Counter(q.instrument for q in shown)[p.instrument] > 1}:
        prices.pop(by_broker_symbol[symbol].symbol if symbol in by_broker_symbol else symbol, None)
    for symbol in bad_symbols:
        quantities.pop(symbol, None)
    bad_currencies: set[str] = set()
    if broker.currency != books.currency:
        fault = f"the broker keeps the account in {broker.currency}, our books in {books.currency}"
        findings.append(_bad("currency", fault, Confidence.CASH, ""))
        bad_currencies |= set(broker.cash) | set(books.cash)
    elif _lacks_our_currency(broker, books):
        fault = f"the broker's cash, which it calls complete, names no {books.currency}, the account's own currency"
        findings.append(_bad(f"cash:{books.currency}", fault, Confidence.CASH, ""))
        bad_currencies.add(books.currency)
    bad_orders = _bad_orders(broker, findings)
    findings.extend(_unmapped(broker, books, by_broker_symbol, bad_symbols))
    unique = {(finding.kind, finding.key): finding for finding in findings}
    return Inspection(
        findings=tuple(unique[key] for key in sorted(unique)),
        rules={rule.symbol: rule for rule in books.instruments.values()},
        quantities=quantities,
        prices=prices,
        markets=markets,
        bad_symbols=frozenset(bad_symbols),
        bad_currencies=frozenset(bad_currencies),
        bad_orders=bad_orders,
        by_broker_symbol=by_broker_symbol,
        shown_is_whole=broker.positions_part.completeness is Completeness.COMPLETE
        or (not books.hedging and not any(position.product for position in shown)),
        both_ways=both_ways,
    )


def _lacks_our_currency(broker: BrokerSnapshot, books: BooksSnapshot) -> bool:
    """Whether a complete answer leaves out a balance that our books have: it is no balance of zero."""
    complete = broker.cash_part.completeness is Completeness.COMPLETE
    return complete and books.currency not in broker.cash and books.cash.get(books.currency, ZERO) != 0


def _position_fault(position: BrokerPosition, times: int) -> str:
    unknown_cost = position.average_price == 0 and position.market_price is not None and position.market_price > 0
    if position.quantity <= 0 or (position.average_price <= 0 and not unknown_cost):
        return (
            f"the broker's position in {position.instrument} has quantity {plain(position.quantity)} at average price "
            f"{plain(position.average_price)}; both must be above zero"
        )
    if times > 1:
        return f"the broker lists the position in {position.instrument} {times} times in one answer"
    return ""


def _bad_orders(broker: BrokerSnapshot, findings: list[Finding]) -> frozenset[str]:
    if broker.orders_part.completeness is Completeness.FAILED:
        return frozenset()
    times = Counter(order.broker_order_id for order in broker.orders)
    bad = {identity for identity, count in times.items() if count > 1 or not identity}
    for identity in sorted(bad):
        fault = f"the broker lists order {identity or '(without an id)'} {times[identity]} times in one answer"
        findings.append(_bad(f"order:{identity}", fault, Confidence.ORDERS, ""))
    return frozenset(bad)


def _bad(key: str, fault: str, part: Confidence, instrument: str) -> Finding:
    actions, suggestion = actions_for(Kind.BAD_DATA)
    return Finding(
        kind=Kind.BAD_DATA,
        key=key,
        severity=severity_of(Kind.BAD_DATA),
        cause=f"The data contradicts itself: {fault}. Nothing else was concluded about it.",
        relies_on=part,
        instrument=instrument,
        actions=actions,
        suggestion=suggestion,
        matter=fault,
    )


def _unmapped(
    broker: BrokerSnapshot,
    books: BooksSnapshot,
    by_broker_symbol: Mapping[str, InstrumentRule],
    bad_symbols: set[str],
) -> list[Finding]:
    positions = broker.positions if broker.positions_part.completeness is not Completeness.FAILED else ()
    orders = broker.orders if broker.orders_part.completeness is not Completeness.FAILED else ()
    names = {p.instrument for p in positions} | {o.instrument for o in orders if o.instrument}
    names |= {fill.instrument for fill in _fills(books)}
    held_there = {position.instrument for position in positions}
    found: list[Finding] = []
    actions, suggestion = actions_for(Kind.UNMAPPED_INSTRUMENT)
    for name in sorted(names - set(by_broker_symbol)):
        fills = [fill for fill in _fills(books) if fill.instrument == name]
        shown = [p for p in positions if p.instrument == name and name not in bad_symbols]
        quantity = sum((p.side.sign * p.quantity for p in shown), ZERO)
        cash = sum((cash_of(fill, None) for fill in fills), ZERO)
        told = f" It holds {held(quantity)} there." if quantity else ""
        told += f" {fills_in_words(fills)} cannot be booked until then." if fills else ""
        found.append(
            Finding(
                kind=Kind.UNMAPPED_INSTRUMENT,
                key=name,
                severity=severity_of(Kind.UNMAPPED_INSTRUMENT),
                cause=f"The broker names an instrument {name} that has no name in our books.{told}",
                relies_on=Confidence.HISTORY
                if fills
                else Confidence.POSITIONS
                if name in held_there
                else Confidence.ORDERS,
                broker_value=quantity,
                explains={books.currency: cash} if cash else {},
                event_ids=tuple(sorted({e.event_id for e in books.unposted for f in e.fills if f.instrument == name})),
                evidence={"fills": [fill.external_id for fill in fills]},
                actions=actions,
                suggestion=suggestion,
                matter=plain(quantity),
            )
        )
    return found
