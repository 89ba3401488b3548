"""Both sides of a statement's comparison, read at one moment; and which statements of an account stand.

What always holds: call it inside a transaction that sees one moment, or holds the account's lock; nothing is written;
of our books only what came from the broker's events is compared (adjustments, estimates and adopted positions are in
no statement).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import Q
from django.db.models.functions import TruncDate

from reconciliation.domain.facts import Fact
from reconciliation.domain.snapshots import InstrumentRule, cash_of, sides_of
from reconciliation.models import DiscrepancyEvent, Run, Statement, StatementLine
from reconciliation.selectors.books import instrument_rules, unposted_parts
from reconciliation.statements.compare import Booked, Told
from reconciliation.statements.continuity import Part
from reconciliation.statements.document import Covers
from trading.clock import day_bounds, trading_day
from trading.domain.broker import Side
from trading.domain.money import ZERO
from trading.domain.settlement import payment
from trading.models import Account, BrokerEvent, CashEvent, Entry, Fill, LedgerAccount
from trading.selectors import books
from trading.selectors.inbox import reversed_cash, unposted
from trading.services.trades import standing
from trading.services.versions import base_id

LEDGERS = frozenset({"kite-ledger"})
"""Formats that tell settled cash in sums of many trades: their lines have no counterpart in our books."""


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared. `closing` is the statement's balance and ours at that moment; None where it names none.

    `note` says why a value that the statement names is not compared.
    """

    told: Told
    booked: Booked
    steps: Mapping[str, InstrumentRule]
    closing: tuple[Decimal, Decimal] | None = None
    note: str = ""


def sides(statement: Statement) -> Sides:
    """The statement's lines and our books of what it covers."""
    account = statement.account
    steps = instrument_rules(account)
    lines = list(statement.lines.order_by("number"))
    exact = all(line.amount is not None for line in lines if line.side)
    with_product = any(line.product for line in lines)
    told = _told(statement, lines, steps, exact)
    note = _not_valued(statement)
    return Sides(
        told=told,
        booked=_booked(statement, lines, exact=exact, with_product=with_product),
        steps=steps,
        closing=_closing(statement) if not note else None,
        note=note,
    )


def series(row: Statement) -> str:
    """Which statements it must follow: those of its kind; settled cash is a series of its own."""
    return "SETTLED" if row.format in LEDGERS else str(row.kind)


def period(row: Statement) -> str:
    """What names the end of a statement, and of those that correct it: its series and its last day."""
    return f"{series(row)}:{row.last_day}"


def standing_statements(like: Statement) -> list[Statement]:
    """The statements of the same series that no corrected one has replaced, without their texts."""
    rows = Statement.objects.filter(account=like.account, kind=like.kind, replaced_by=None).defer("body")
    return [row for row in rows.order_by("covers_from", "id") if series(row) == series(like)]


def parts(statements: Iterable[Statement]) -> list[Part]:
    """Statements as `continuity` asks for them."""
    return [
        Part(
            statement=row.pk,
            covers_from=row.covers_from,
            covers_until=row.covers_until,
            first_day=row.first_day,
            last_day=row.last_day,
            opening=row.opening,
            closing=row.closing,
            known_at=row.at,
        )
        for row in statements
    ]


def busy_days(account: Account, first: date, last: date) -> set[date]:
    """The days between two, both inclusive, of which our books hold something of the broker's."""
    span = {"at__gte": day_bounds(account, first)[0], "at__lt": day_bounds(account, last)[1]}
    day = TruncDate("at", tzinfo=ZoneInfo(account.time_zone))
    fills = Fill.objects.filter(account=account, broker_event__isnull=False, **span).annotate(day=day)
    cash = CashEvent.objects.filter(account=account, broker_event__isnull=False, **span).annotate(day=day)
    return {found for rows in (fills, cash) for found in rows.order_by().values_list("day", flat=True).distinct()}


def held_between(like: Statement) -> Callable[[datetime, datetime], bool]:
    """Whether our books hold something of what such a statement tells, strictly between two moments."""

    def held(begin: datetime, end: datetime) -> bool:
        of_broker = {"account": like.account, "broker_event__isnull": False, "at__gt": begin, "at__lt": end}
        cash = like.kind == Statement.Kind.CASH and CashEvent.objects.filter(**of_broker).exists()
        return cash or (like.kind in (Statement.Kind.CASH, Statement.Kind.TRADES) and _filled(of_broker))

    return held


def _filled(of_broker: Mapping[str, object]) -> bool:
    return Fill.objects.filter(**of_broker).exists()


def replaced_by(statement: Statement) -> set[int]:
    """The statement and all that it has replaced."""
    found = {statement.pk}
    row = statement
    while row.replaces is not None:
        row = row.replaces
        found.add(row.pk)
    return found


def books_mark(statement: Statement) -> int:
    """How far the books of a statement have come: it need not be compared again before this changes.

    They are what was booked of its days and those before, and all that people decide: that may be about its days.
    """
    entries = Entry.objects.filter(account=statement.account)
    end = day_bounds(statement.account, statement.last_day)[1]
    found = entries.filter(Q(at__lt=end) | Q(kind__in=Entry.NEEDS_APPROVAL))
    return found.order_by("-id").values_list("id", flat=True).first() or 0


def read_mark(statement: Statement) -> tuple[int, ...]:
    """How far everything that its comparison reads has come: the books, what waits to be booked, the statements."""
    events = BrokerEvent.objects.filter(
        account=statement.account, at__lt=day_bounds(statement.account, statement.last_day)[1]
    )
    statements = Statement.objects.filter(account=statement.account)
    newest = (rows.order_by("-id").values_list("id", flat=True).first() or 0 for rows in (events, statements))
    return books_mark(statement), *newest


def _told(
    statement: Statement, lines: Collection[StatementLine], steps: Mapping[str, InstrumentRule], exact: bool
) -> Told:
    by_name = {**{rule.broker_symbol: rule for rule in steps.values()}, **steps}
    facts: list[Fact] = []
    positions: dict[str, Decimal] = {}
    unmapped: dict[str, int] = {}
    words: dict[int, str] = {}
    for line in lines:
        rule = by_name.get(line.instrument)
        if line.side and rule is None:
            unmapped[line.instrument] = unmapped.get(line.instrument, 0) + 1
        elif statement.kind == Statement.Kind.POSITIONS and rule is not None:
            units = (line.quantity or ZERO) * Side(line.side).sign
            positions[rule.symbol] = positions.get(rule.symbol, ZERO) + units
        elif statement.kind != Statement.Kind.NAV and statement.format not in LEDGERS:
            facts.append(_fact_of(line, rule, exact))
            words[line.number] = str(line.raw.get("activity_type") or line.raw.get("type") or "")
    return Told(
        statement=statement.pk,
        covers=Covers(statement.kind),
        name=f"The {statement.kind.lower()} statement {statement.file_name} "
        f"({statement.first_day} to {statement.last_day})",
        facts=tuple(facts),
        words=words,
        positions={symbol: units for symbol, units in positions.items() if units != 0},
        unmapped=unmapped,
        period=period(statement),
    )


def _fact_of(line: StatementLine, rule: InstrumentRule | None, exact: bool) -> Fact:
    amount = line.amount or ZERO
    if line.side and not exact:
        amount = _paid(line.side, line.quantity or ZERO, line.price or ZERO, rule)
    return Fact(
        ref=line.number,
        external_id=line.external_id,
        client_id="",
        broker_order_id=line.order_id,
        instrument=rule.symbol if rule is not None and line.side else "",
        side=line.side,
        product=line.product if line.side else "",
        quantity=line.quantity or ZERO,
        price=line.price or ZERO,
        currency=line.currency,
        amount=amount,
        at=line.at,
        day=line.day,
    )


def _paid(side: str, quantity: Decimal, price: Decimal, rule: InstrumentRule | None) -> Decimal:
    """What an execution itself moves of cash: nothing for a margin instrument."""
    if rule is None or not rule.pays_cash:
        return ZERO
    return payment(Side(side), quantity, price, multiplier=rule.multiplier)


def _booked(statement: Statement, lines: Collection[StatementLine], *, exact: bool, with_product: bool) -> Booked:
    account = statement.account
    if statement.kind == Statement.Kind.POSITIONS:
        return Booked(facts=(), events={}, positions=_held(account, statement.covers_until))
    if statement.kind == Statement.Kind.NAV or statement.format in LEDGERS:
        return Booked(facts=(), events={})
    span = {
        "at__gte": day_bounds(account, statement.first_day)[0],
        "at__lt": day_bounds(account, statement.last_day)[1],
    }
    facts: list[Fact] = []
    events: dict[int, str] = {}
    fills = Fill.objects.filter(account=account, broker_event__isnull=False, **span)
    rules = instrument_rules(account)
    for fill in standing(fills).select_related("order", "instrument", "broker_event").order_by("id"):
        facts.append(_fact_of_fill(account, fill, rules, exact=exact, with_product=with_product))
        assert fill.broker_event is not None  # asked for
        events[fill.pk] = fill.broker_event.external_id
    if statement.kind == Statement.Kind.CASH:
        moved = CashEvent.objects.filter(account=account, broker_event__isnull=False, **span)
        for cash in moved.exclude(pk__in=reversed_cash(account)).select_related("broker_event").order_by("id"):
            facts.append(_fact_of_cash(account, cash))
            assert cash.broker_event is not None  # asked for
            events[-cash.pk] = cash.broker_event.external_id
    outside = {fact.ref for fact in facts if not statement.covers_from <= fact.at <= statement.covers_until}
    return Booked(facts=tuple(facts), events=events, outside=frozenset(outside), waiting=frozenset(_waiting(account)))


def _fact_of_fill(
    account: Account,
    fill: Fill,
    rules: Mapping[str, InstrumentRule],
    *,
    exact: bool,
    with_product: bool,
) -> Fact:
    rule = rules.get(fill.instrument.symbol)
    amount = _paid(fill.side, fill.quantity, fill.price, rule)
    if exact:
        amount += fill.financing + fill.commission
        amount += ZERO if rule is not None and rule.pays_cash else fill.realised
    return Fact(
        ref=fill.pk,
        external_id=base_id(fill.external_id),
        client_id=fill.order.client_order_id if fill.order is not None else "",
        broker_order_id=fill.order.broker_order_id if fill.order is not None else "",
        instrument=fill.instrument.symbol,
        side=fill.side,
        product=fill.reason if with_product and account.broker == Account.Broker.KITE else "",
        quantity=fill.quantity,
        price=fill.price,
        currency=account.currency,
        amount=amount,
        at=fill.at,
        day=trading_day(account, fill.at),
    )


def _fact_of_cash(account: Account, cash: CashEvent) -> Fact:
    return Fact(
        ref=-cash.pk,
        external_id=base_id(cash.external_id),
        client_id="",
        broker_order_id="",
        instrument="",
        side="",
        product="",
        quantity=ZERO,
        price=ZERO,
        currency=cash.currency,
        amount=cash.amount,
        at=cash.at,
        day=trading_day(account, cash.at),
    )


def _waiting(account: Account) -> set[str]:
    """The broker's ids of what its history told us and is not in our books."""
    found: set[str] = set()
    for row in unposted(account):
        parts_of = unposted_parts(account, row)
        found |= {fill.external_id for fill in parts_of.fills} | {cash.external_id for cash in parts_of.cash}
    return found


def _held(account: Account, moment: datetime) -> dict[str, Decimal]:
    """What our books held of each instrument at a moment."""
    kinds = LedgerAccount.objects.filter(account=account, kind=LedgerAccount.Kind.POSITION)
    names = kinds.values_list("commodity_id", flat=True)
    held = {name: books.balance_at(account, "POSITION", name, moment) for name in names}
    return {name: units for name, units in held.items() if units != 0}


def _not_valued(statement: Statement) -> str:
    """Why an account's value at the end of a statement is not compared: only without positions is it its cash."""
    if statement.kind != Statement.Kind.NAV or statement.closing is None:
        return ""
    account, until = statement.account, statement.covers_until
    kinds = LedgerAccount.objects.filter(account=account, kind=LedgerAccount.Kind.CASH)
    others = kinds.exclude(commodity_id=account.currency).values_list("commodity_id", flat=True)
    cash = {name for name in others if books.balance_at(account, "CASH", name, until) != 0}
    held = sorted({*_held(account, until), *cash})
    if not held:
        return ""
    return (
        f"Its value was not compared: our books held {', '.join(held)} at its end, which the broker counts at its own "
        "prices. Import a statement of cash and one of positions instead."
    )


def _closing(statement: Statement) -> tuple[Decimal, Decimal] | None:
    """The balance that the statement ends with, and ours at that moment with what has been decided about it since."""
    if statement.kind not in (Statement.Kind.CASH, Statement.Kind.NAV) or statement.closing is None:
        return None
    account, currency, until = statement.account, statement.currency, statement.covers_until
    settled = statement.format in LEDGERS
    ours = books.balance_at(account, "CASH", currency, until) if settled else books.cash_at(account, currency, until)
    later = _decided_since(account, currency, until)
    return statement.closing, ours + later + _unbooked_cash(account, currency, until, settled=settled)


def _decided_since(account: Account, currency: str, until: datetime) -> Decimal:
    """What people have booked since about differences that were there at a moment."""
    decided = CashEvent.objects.filter(broker_event=None, account=account, currency=currency, at__gt=until)
    rows = decided.exclude(pk__in=reversed_cash(account)).select_related("application")
    return sum((row.amount for row in rows if _was_there(row, until)), ZERO)


def _was_there(decided: CashEvent, moment: datetime) -> bool:
    """Whether the difference behind a decision was there at a moment: no complete look since then went without it."""
    assert decided.application is not None  # the database says so
    begun = DiscrepancyEvent.objects.filter(
        Q(from_state="") | Q(kind="REOPENED"),
        discrepancy__events__proposal=decided.application.proposal_id,
        at__lte=decided.at,
    )
    first = begun.order_by("-at").values_list("at", flat=True).first()
    if first is None or first <= moment:
        return True
    looks = Run.objects.filter(account=decided.account_id, status=Run.Status.COMPLETE, at__gte=moment, at__lt=first)
    return not looks.exclude(trigger=Run.Trigger.STATEMENT).exists()


def _unbooked_cash(account: Account, currency: str, until: datetime, *, settled: bool) -> Decimal:
    """What the broker's history says had moved by a moment and our books do not hold: the cases of live runs say so."""
    rules = {rule.broker_symbol: rule for rule in instrument_rules(account).values()}
    total = ZERO
    for row in unposted(account):
        if row.at > until:
            continue
        event = unposted_parts(account, row)
        if currency == account.currency and not settled:
            total += sum((cash_of(fill, rules.get(fill.instrument)) for fill in event.fills), ZERO)
        moved = (side for cash in event.cash for side in sides_of(cash))
        total += sum((amount for code, amount in moved if code == currency), ZERO)
    return total
