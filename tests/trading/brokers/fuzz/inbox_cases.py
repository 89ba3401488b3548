"""Bad pages of history into a real database: fetched by an adapter, through inflow and inbox into the books.

What always holds: each case starts from the same books and is rolled back; nothing is booked but numbers that stand in
the stored body of the event that it was booked for; what the broker said unharmed is booked as ever.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from tests.trading.brokers.fuzz.cases import MOST_KEPT
from tests.trading.brokers.fuzz.grammar import as_it_was, mutate
from tests.trading.brokers.fuzz.oracle import Wrong, numbers_in
from tests.trading.brokers.fuzz.serving import Script, Served
from tests.trading.brokers.fuzz.subjects import Opened, Tape, subject
from tests.trading.brokers.fuzz.tapes import Answer
from tests.trading.services.making import START, make_entry
from trading.clock import store_broker_clock
from trading.domain.broker import BrokerUnreachable
from trading.engine.inflow import catch_up
from trading.models import Account, BrokerEvent, CashEvent, Fill, Transfer
from trading.services import cursors
from trading.services.inbox import INFLOW
from trading.services.setup import ensure_account, ensure_policy


@dataclass(slots=True)
class InboxTally:
    """What a run came to."""

    cases: int = 0
    refused: int = 0
    stored: int = 0
    booked: int = 0
    wrongs: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Books:
    """How one broker's taped history becomes an account with orders of ours.

    `orders` gives the taped client ids of orders that are made ours, each with (symbol, side, quantity); `history` is
    the end of the path whose answer is made bad, `rows` finds its rows, `identity` the id of what one row books.
    `prices` are those of the orders' decisions where the usual ones are of another size, `cursor` where it is read on.
    """

    broker: str
    orders: Mapping[str, tuple[str, str, str]]
    history: str
    rows: Callable[[Any], list[dict[str, Any]]]
    margin: bool
    identity: Callable[[dict[str, Any]], str] = lambda row: str(row["id"])
    currency: str = "USD"
    prices: Mapping[str, str] = field(default_factory=dict)
    cursor: str = ""


BOOKS: Sequence[Books] = (
    Books(
        "oanda",
        {"fuzz-entry": ("EURUSD", "BUY", "1000"), "fuzz-sell": ("EURUSD", "SELL", "300")},
        "/sinceid",
        lambda document: document["transactions"],
        True,
    ),
    Books(
        "alpaca",
        {"fuzz-in": ("AAPL", "BUY", "10"), "fuzz-guarded": ("AAPL", "BUY", "10")},
        "/account/activities",
        lambda document: document,
        False,
        prices={"entry": "200", "stop": "150", "target": "250"},
    ),
    Books(
        "kite",
        {"fuzzentry": ("INFY", "BUY", "10"), "fuzzout": ("INFY", "SELL", "3")},
        "/trades",
        lambda document: document["data"],
        False,
        # A trade's id is one of its exchange and day only; a time that is no text makes one that was never booked.
        identity=lambda row: f"{str(row['fill_timestamp'])[:10].replace('-', '')}:{row['exchange']}:{row['trade_id']}",
        currency="INR",
        prices={"entry": "1500", "stop": "1400", "target": "1600"},
        # Read on from an earlier day: at the first reading ever every trade must fit the balances, or nothing is read.
        cursor="20200101/earlier",
    ),
)


class InboxFuzzer:
    """Plays bad pages of one tape into the database that Django is connected to."""

    def __init__(self, tape: Tape, seed: int) -> None:
        self._seed = seed
        self._books = next(each for each in BOOKS if each.broker == tape.subject)
        self._opened: Opened = subject(tape.subject).open(tape.account, None)
        account = ensure_account(
            name=f"fuzz-{tape.subject}",
            broker=tape.subject.upper(),
            environment=Account.Environment.SIMULATOR,
            external_id=tape.account,
            currency=self._books.currency,
            opened_at=START,
            policy=ensure_policy(),
        )
        store_broker_clock(account=account, broker_at=START, speed=Decimal(0))
        if self._books.cursor:
            cursors.put(account=account, name=INFLOW, value=self._books.cursor)
        self._account = account
        names = {}
        for number, (name, (symbol, side, quantity)) in enumerate(self._books.orders.items(), start=1):
            terms: dict[str, Any] = {"symbol": symbol, "side": side, "quantity": quantity, **self._books.prices}
            if side == "SELL" and self._books.prices:
                terms |= {"stop": terms["target"], "target": terms["stop"]}
            order = make_entry(account, number, **terms)
            names[name.encode()] = order.client_order_id.encode()
        whole = next(call for call in tape.calls if call.name == "events_since" and call.arguments["cursor"] == "")
        self._answers = [_renamed(answer, names) for answer in whole.answers]
        self._clean = [as_it_was(answer) for answer in self._answers]
        self._bad = next(n for n, each in enumerate(self._answers) if each.route[1].endswith(self._books.history))
        with transaction.atomic():
            self._read(self._clean)
            self.baseline = self._booked()
            transaction.set_rollback(True)
        if not self.baseline:
            raise Wrong("the taped history books nothing, so that nothing can be shown")

    def run(self, numbers: Sequence[int], tick: Callable[[int], None] = lambda count: None) -> InboxTally:
        """The cases with these numbers."""
        tally = InboxTally()
        for number in numbers:
            with transaction.atomic():
                self._case(number, tally)
                transaction.set_rollback(True)
            tick(1)
        return tally

    def _case(self, number: int, tally: InboxTally) -> None:
        rng = random.Random(f"{self._seed} inbox {self._books.broker} {number}")
        mutated = mutate(rng, self._answers[self._bad])
        served = list(self._clean)
        served[self._bad] = mutated.served
        if rng.random() < 0.2:
            other = rng.randrange(len(served))
            served[other] = mutate(rng, self._answers[other]).served
        tally.cases += 1
        try:
            tally.refused += not self._read(served)
            tally.stored += BrokerEvent.objects.filter(account=self._account).count()
            booked = self._booked()
            tally.booked += len(booked)
            self._judge(served, booked)
            self._read(self._clean)  # asked again, the broker says it as it is
            self._judge_books()
        except Exception as error:  # noqa: BLE001 - a crash of any kind is what is looked for
            tally.wrongs += 1
            if len(tally.wrong) < MOST_KEPT:
                said = f"{type(error).__name__}: {str(error)[:300]}"
                tally.wrong.append(
                    f"seed {self._seed} inbox case {number} {self._books.broker} {mutated.rules}: {said}"
                )

    def _read(self, served: Sequence[Served]) -> bool:
        """Read the history as the product does; False when it was refused."""
        self._opened.playback.script = Script(list(zip(self._answers, served, strict=True)))
        self._opened.fresh()
        try:
            catch_up(account=self._account, broker=self._opened.broker)
        except BrokerUnreachable:
            return False
        return True

    def _booked(self) -> dict[str, tuple[Decimal, ...]]:
        fills = Fill.objects.filter(account=self._account)
        cash = CashEvent.objects.filter(account=self._account)
        found: dict[str, tuple[Decimal, ...]] = {each.external_id: (each.quantity, each.price) for each in fills}
        return found | {each.external_id: (each.amount,) for each in cash}

    def _judge(self, served: Sequence[Served], booked: Mapping[str, tuple[Decimal, ...]]) -> None:
        self._judge_books()
        touched = [n for n, each in enumerate(served) if each is not self._clean[n]]
        if not booked or touched != [self._bad]:
            return
        for identity in self._unharmed(served[self._bad].wire):
            if identity in self.baseline and booked.get(identity) != self.baseline[identity]:
                raise Wrong(f"{identity} was told unharmed and is booked as {booked.get(identity)}")

    def _unharmed(self, wire: bytes) -> list[str]:
        """The ids that are told as ever, as far as the books follow: at OANDA up to the first that is not."""
        try:
            told = self._books.rows(json.loads(wire))
            name = self._books.identity
            as_ever = {name(row): row for row in self._books.rows(json.loads(self._answers[self._bad].body))}
            identities = [name(row) for row in told]
        except (ValueError, KeyError, TypeError):
            return []
        if len(set(map(str, identities))) != len(identities):
            return []
        by_id = dict(zip(identities, told, strict=True))
        found = []
        for identity, row in as_ever.items():
            if by_id.get(identity) == row:
                found.append(identity)
            elif self._books.margin:
                break
        return found

    def _judge_books(self) -> None:
        """No number is in the books that is not in the stored body of its event, as it is there."""
        connection.check_constraints()
        for fill in Fill.objects.filter(account=self._account).select_related("broker_event"):
            self._judge_numbers(fill.broker_event, fill.quantity, fill.price, fill.financing)
        for moved in CashEvent.objects.filter(account=self._account).select_related("broker_event"):
            self._judge_numbers(moved.broker_event, moved.amount)
        for amount in Transfer.objects.values_list("amount", flat=True):
            if not amount.is_finite() or amount <= 0:
                raise Wrong(f"a transfer of {amount}")

    @staticmethod
    def _judge_numbers(event: Any, *numbers: Decimal) -> None:
        said = numbers_in([json.dumps(event.body).encode()])
        for number in numbers:
            if number != 0 and number.copy_abs() not in said:
                raise Wrong(f"{number} is booked, but its event {event.external_id} does not say so")


def _renamed(answer: Answer, names: Mapping[bytes, bytes]) -> Answer:
    body = answer.body
    for taped, ours in names.items():
        body = body.replace(b'"' + taped + b'"', b'"' + ours + b'"')
    return replace(answer, body=body)
