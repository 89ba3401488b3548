"""Two sides of the same business, with breaks of four kinds and with everything that the later rules are for.

What always holds: fact number N is the same in every run; what each rule finds of any number of them is known
beforehand, so that no faster answer is believed that is another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from reconciliation.domain.facts import Fact
from reconciliation.domain.snapshots import InstrumentRule

STEP = Decimal("0.00001")
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
INSTRUMENTS = ("EURUSD", "GBPUSD", "USDJPY", "EURGBP", "AUDUSD", "USDCHF", "NZDUSD", "USDCAD")
BALANCED = "XAUUSD"
PERIOD = 1000
"""What becomes of fact N depends on N modulo this: of every thousand, three are breaks of each kind."""
MISSING_IN_BOOKS, MISSING_AT_BROKER, OTHER_QUANTITY, OTHER_PRICE = range(3), range(3, 6), range(6, 9), range(9, 12)
BY_CLIENT_ID, BY_TERMS, NEAR, IN_PARTS, CUT_ANEW, BALANCE = (range(20 + n, 21 + n) for n in range(6))


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come out: matches by rule, pairs that differ, and what one side alone has."""

    matched: dict[int, int]
    differing: int
    only_broker: int
    only_books: int


def expected(rows: int) -> Expected:
    """Of so many thousands of facts. Raises ValueError when it is no whole number of thousands."""
    if rows % PERIOD:
        raise ValueError(f"{rows} is no whole number of thousands")
    each = rows // PERIOD
    plain = PERIOD - 4 * 3 - 6
    matched = {1: plain * each, 2: each, 3: each, 4: each, 5: each, 6: each, 7: each}
    return Expected(matched, 6 * each, 3 * each, 3 * each)


def steps() -> dict[str, InstrumentRule]:
    """The instruments' price steps, as matching asks for them."""
    names = (*INSTRUMENTS, BALANCED)
    return {name: InstrumentRule(name, name, quantity_step=Decimal(1), price_step=STEP) for name in names}


def broker(rows: int) -> Iterator[Fact]:
    """The broker's side."""
    for number in range(rows):
        kind = number % PERIOD
        if kind in MISSING_AT_BROKER:
            continue
        fact = _fact(number)
        if kind in CUT_ANEW:
            yield from _cut(fact, "b", (1, 3))
        else:
            yield fact


def books(rows: int) -> Iterator[Fact]:
    """Our side."""
    for number in range(rows):
        kind = number % PERIOD
        if kind in MISSING_IN_BOOKS:
            continue
        fact = _fact(number)
        if kind in OTHER_QUANTITY:
            yield replace(fact, quantity=fact.quantity + 1)
        elif kind in OTHER_PRICE:
            yield replace(fact, price=fact.price + 7 * STEP)
        elif kind in BY_CLIENT_ID:
            yield replace(fact, external_id="")
        elif kind in BY_TERMS:
            yield replace(fact, external_id="", client_id="")
        elif kind in NEAR:
            yield replace(fact, external_id="", client_id="", price=fact.price + STEP)
        elif kind in IN_PARTS or kind in BALANCE:
            yield from _cut(fact, "", (1, 1, 2))
        elif kind in CUT_ANEW:
            yield from _cut(fact, "", (2, 2))
        else:
            yield fact


def _fact(number: int) -> Fact:
    balanced = number % PERIOD in BALANCE
    at = BEGIN + timedelta(seconds=20 * number)
    return Fact(
        ref=4 * number,
        external_id=f"{at:%Y%m%d}-{number:09}",
        client_id="" if balanced else f"desk-{number:012x}",
        broker_order_id="" if balanced else f"order-{number:09}",
        # Every key and day of the balances has one fact only.
        instrument=BALANCED if balanced else INSTRUMENTS[number % len(INSTRUMENTS)],
        side="BUY" if number % 2 else "SELL",
        product="",
        quantity=Decimal(4 * (number + 1)),
        price=Decimal(110_000 + number % 997) * STEP,
        currency="USD",
        amount=Decimal(0),
        at=at,
        day=(BEGIN + timedelta(days=number // PERIOD)).date() if balanced else at.date(),
    )


def _cut(fact: Fact, mark: str, parts: tuple[int, ...]) -> Iterator[Fact]:
    for place, part in enumerate(parts):
        name = f"{fact.external_id}-{mark}{place}" if mark else ""
        yield replace(fact, ref=fact.ref + place, external_id=name, client_id="", quantity=fact.quantity / 4 * part)
