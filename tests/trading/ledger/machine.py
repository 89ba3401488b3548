"""Random books: any sequence of operations, legal and refused, against a plain model of what must come out.

What always holds here: a sequence works in one transaction that is rolled back, on accounts that stand ready, so that
thousands of them fit into one database; each refused operation is compared by a digest of everything that it could
have changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import DatabaseError, connection, transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.trading.ledger.digest import digest
from tests.trading.ledger.model import AGAINST, ZERO, Due, Model, Moved
from tests.trading.ledger.proving import report
from tests.trading.ledger.refusals import REFUSALS, Victim
from tests.trading.ledger.world import apply, approved, people
from tests.trading.services import making, shares
from trading.clock import trading_day
from trading.domain.broker import Side
from trading.domain.settlement import usual_value_date
from trading.models import (
    Account,
    BrokerEvent,
    CashEvent,
    Commodity,
    Entry,
    Fill,
    Instrument,
    LedgerAccount,
    Lot,
    Order,
)
from trading.selectors import books
from trading.selectors.balances import balances, full_balances
from trading.services import booking, ledger, lots, moves, snapshots
from trading.services.errors import RuleBroken
from trading.services.ledger import Draft
from trading.services.settlement import settle_due
from trading.services.setup import ensure_instruments
from trading.services.splits import book_split

D = Decimal
CASH_KINDS = ("TRANSFER", "FINANCING", "DIVIDEND", "FEE", "TAX")
CURRENCIES = ("USD", "EUR", "JPY")
MARGIN, SHARES = ("EURUSD", "XAUUSD"), ("AAPL", "SPY")
# What a refused operation could have changed; the append-only tables are all in the chain's head.
MUTABLE = [
    "trading_chainhead", "trading_commodity", "trading_balancesnapshot", "trading_position", "trading_trade",
    "trading_equitypoint", "trading_daystate", "trading_account", "trading_order", "trading_ordergroup",
    "trading_user", "trading_person",
]  # fmt: skip
REFUSED = (RuleBroken, DatabaseError, ValueError, ArithmeticError)
amounts = st.integers(-9_999_999, 9_999_999).filter(bool)
sides = st.sampled_from([Side.BUY, Side.SELL])


def prepare() -> None:
    """The accounts, people and ledger accounts that every sequence finds; committed once in a database."""
    ensure_instruments()
    people()
    Commodity.objects.get_or_create(code="JPY", defaults={"kind": "CURRENCY", "scale": 0})
    for account in (making.make_account("margin"), shares.make_share_account("shares")):
        for code in CURRENCIES:
            ledger.currency(code)
            for kind in LedgerAccount.Kind.values:
                ledger.ledger_account(account, kind, code)
        for symbol in MARGIN + SHARES:
            ledger.contract(making.instrument(symbol))
            for kind in ("POSITION", "MARKET"):
                ledger.ledger_account(account, kind, symbol)
            making.make_entry(account, account.pk * 10 + len(symbol) + ord(symbol[0]), symbol=symbol)


@dataclass
class Tally:
    """How much was tried in a process: sequences of `steps` operations or more; shorter ones do not count."""

    steps: int = 50
    sequences: int = 0
    operations: int = 0
    refused: int = 0


tally = Tally()


@dataclass
class Posted:
    """An entry that stands: its draft, what it moved in the model, and whether it may be taken back."""

    entry: Entry
    draft: Draft
    moved: Moved
    reversed: bool = False


class BooksMachine(RuleBasedStateMachine):
    """The operations. After each one the ledger equals the model."""

    def __init__(self) -> None:
        super().__init__()
        self._whole = transaction.atomic()
        self._whole.__enter__()
        self.margin, self.shares = (Account.objects.get(name=name) for name in ("margin", "shares"))
        self.instruments: dict[str, Instrument] = {each.symbol: each for each in Instrument.objects.all()}
        self.orders = {(order.account_id, order.instrument.symbol): order for order in Order.objects.all()}
        self.model, self.number, self.splits, self.posted = Model(), 0, 0, list[Posted]()
        self.operations = -1  # the first comparison is before the first operation

    @initialize()
    def deposit(self) -> None:
        """Both accounts begin with money, and the victim of the refused operations with it."""
        for account in (self.margin, self.shares):
            self._cash(account, "TRANSFER", "USD", D(100_000))
        self.victim = Victim.of(self.margin, self.shares, self.posted[0].entry.cash_event)  # type: ignore[arg-type]

    def teardown(self) -> None:
        """The chain, the lots and the snapshots at the end; then nothing of it stays."""
        try:
            if self.posted:
                self._look_at_the_end()
                tally.sequences += self.operations >= tally.steps
                tally.operations += self.operations
        finally:
            transaction.set_rollback(True)
            self._whole.__exit__(None, None, None)

    # what happens

    @rule(kind=st.sampled_from(CASH_KINDS), currency=st.sampled_from(CURRENCIES), amount=amounts, on=st.booleans())
    def cash(self, kind: str, currency: str, amount: int, on: bool) -> None:
        """A movement of cash of any kind, in any currency, in whole yen and tiny parts of dollars."""
        self._cash(self.margin if on else self.shares, kind, currency, self._scaled(amount, currency))

    @rule(given=amounts.map(abs), received=amounts.map(abs))
    def conversion(self, given: int, received: int) -> None:
        """Dollars into yen."""
        self._cash(self.margin, "CONVERSION", "USD", -self._scaled(given, "USD"), ("JPY", D(received)))

    @rule(symbol=st.sampled_from(MARGIN), side=sides, units=st.integers(1, 500), price=st.integers(90_000, 130_000),
          money=st.tuples(*[st.integers(-50_000, 50_000)] * 3), late=st.integers(0, 20))  # fmt: skip
    def margin_fill(
        self, symbol: str, side: Side, units: int, price: int, money: tuple[int, int, int], late: int
    ) -> None:
        """Any execution of a margin instrument: long, short, partial, flip, whatever the lots are, and told late."""
        size, at, parts = D(units).scaleb(-1), D(price).scaleb(-5), [D(part).scaleb(-5) for part in money]
        self._fill(self.margin, symbol, side, size, at, *parts, late=max(late - 10, 0))

    @rule(symbol=st.sampled_from(SHARES), side=sides, units=st.integers(1, 300), price=st.integers(900, 1300),
          commission=st.integers(0, 99), days=st.integers(0, 4))  # fmt: skip
    def share_fill(self, symbol: str, side: Side, units: int, price: int, commission: int, days: int) -> None:
        """Any execution of shares, which pay on a later day."""
        fee = -D(commission).scaleb(-2)
        self._fill(self.shares, symbol, side, D(units), D(price).scaleb(-1), ZERO, ZERO, fee, days=days)

    @rule(days=st.integers(0, 6))
    def settle(self, days: int) -> None:
        """The clock goes on, and what is due is paid."""
        moment = making.START + timedelta(days=days, seconds=self.number)
        shares.put_clock(self.shares, moment)
        assert settle_due(self.shares) == self.model.settle("shares", trading_day(self.shares, moment))
        assert settle_due(self.shares) == 0

    @precondition(lambda self: self.splits < 3 and self._held_shares())
    @rule(choice=st.integers(0, 1), ratio=st.sampled_from([2, 4, 10]))
    def split(self, choice: int, ratio: int) -> None:
        """An approved split of shares that are held, long or short."""
        held = self._held_shares()
        symbol = held[choice % len(held)]
        before, moved = self.model.split("shares", symbol, D(ratio))
        self.splits += 1
        with transaction.atomic():
            book_split(
                account=self.shares, instrument=self.instruments[symbol], before=before, after=before * ratio,
                application=apply(approved(self.shares)), actor=making.TEST,
            )  # fmt: skip
        self.model.book(moved)

    @rule(amount=amounts)
    def adjustment(self, amount: int) -> None:
        """An approved adjustment of cash."""
        value = self._scaled(amount, "USD")
        with transaction.atomic():
            application = apply(
                approved(self.margin, {"entry": "ADJUSTMENT", "currency": "USD", "amount": f"{value:f}"})
            )
            booking.adjust_cash(
                account=self.margin,
                currency="USD",
                amount=value,
                application=application,
                reason="x",
                actor=making.TEST,
            )
        self.model.book(self.model.cash("margin", "ADJUSTMENT", "USD", value))

    @precondition(lambda self: self._reversible())
    @rule(choice=st.integers(0, 999), again=st.booleans())
    def reversal(self, choice: int, again: bool) -> None:
        """Taking an entry back, once; then neither it nor its reversal can be taken back again."""
        found = self._reversible()
        chosen = found[choice % len(found)]
        taken = self._reverse(chosen.entry, chosen.draft.fill)
        chosen.reversed = True
        self.model.take_back(chosen.moved)
        if chosen.draft.fill is not None:
            self.model.forget("margin", chosen.draft.fill.instrument.symbol, chosen.draft.fill.pk)
        if again:
            self._refused(lambda: self._reverse(chosen.entry, None), "a second reversal")
            self._refused(lambda: self._reverse(taken, None), "a reversal of a reversal")

    @rule(choice=st.integers(0, 999), changed=st.sampled_from(["", "memo", "amount", "at", "kind"]))
    def again(self, choice: int, changed: str) -> None:
        """The same entry again is the one that stands; with another payload it is refused."""
        chosen = self.posted[choice % len(self.posted)]
        kept, before = chosen.draft, self._digest()
        if not changed:
            assert ledger.post(kept) == chosen.entry
            assert self._digest() == before
            return
        other = replace(kept, transfers=[dict(leg) for leg in kept.transfers])
        if changed == "amount":
            other.transfers[0]["amount"] = "12345.5"
        else:
            kind = "FEE" if kept.kind == "TAX" else "TAX"
            values: dict[str, Any] = {"memo": "other", "at": kept.at + timedelta(seconds=1), "kind": kind}
            setattr(other, changed, values[changed])
        self._refused(lambda: ledger.post(other), "the same key with another payload")

    @rule(name=st.sampled_from(sorted(REFUSALS)))
    def attack(self, name: str) -> None:
        """One thing that must be refused."""
        self._refused(lambda: REFUSALS[name](self.victim), name)

    @precondition(lambda self: any(each.draft.fill is not None for each in self.posted))
    @rule(more=st.integers(1, 10**9))
    def over_close(self, more: int) -> None:
        """More than a lot holds, and a lot of the other account."""
        fill = next(each.draft.fill for each in self.posted if each.draft.fill is not None)
        for account in (self.margin, self.shares):
            lot = Lot.objects.filter(account=account).order_by("-id").first()
            if lot is None:
                continue
            row = {"lot_id": str(lot.pk), "quantity": f"{lot.quantity + D(more).scaleb(-12):f}", "unit_price": "1",
                   "profit_quote": "0"}  # fmt: skip
            draft = Draft(fill.account, "over-close", "FILL", fill.at, fill=fill, lot_closes=[row])
            draft.move(commodity="USD", amount=D(1), into="CASH", out_of="REALISED")
            self._refused(lambda draft=draft: ledger.post(draft), "closing more than a lot holds")  # type: ignore[misc]

    @rule()
    def snapshot(self) -> None:
        """Balances may be remembered at any time."""
        snapshots.take_snapshots()

    # what always holds

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        """Every balance, and zero over each account and commodity."""
        self.operations += 1
        names = {self.margin.pk: "margin", self.shares.pk: "shares"}
        rows = full_balances()
        found = {(names[row.account_id], row.kind, row.commodity): row.amount for row in rows if row.amount}
        assert found == self.model.held()
        sums: dict[tuple[int, str], Decimal] = {}
        for row in rows:
            key = row.account_id, row.commodity
            sums[key] = sums.get(key, ZERO) + row.amount
        assert not any(sums.values())

    def _look_at_the_end(self) -> None:
        assert balances() == full_balances(), "a snapshot and what came after it is the whole"
        for account in (self.margin, self.shares):
            for symbol in MARGIN if account == self.margin else SHARES:
                rows = books.open_lots(account, self.instruments[symbol])
                standing = [[lot.quantity * lot.side, lot.unit_cost] for lot in rows]
                assert standing == self.model.lots[account.name, symbol], symbol
        raw: Any = connection.connection
        with raw.cursor() as cursor:
            told = report(cursor)
        assert told["ok"], told["findings"]

    # how it is done

    def _held_shares(self) -> list[str]:
        return [symbol for symbol in SHARES if sum(units for units, _ in self.model.lots["shares", symbol])]

    def _reversible(self) -> list[Posted]:
        """Entries of the margin account that stand; the first is the victim of the refused operations."""
        return [each for each in self.posted[1:] if not each.reversed and each.draft.account == self.margin]

    def _at(self) -> datetime:
        self.number += 1
        return making.moment(self.number)

    def _event(self, account: Account, at: datetime, kind: str, late: int = 0) -> BrokerEvent:
        """The broker's word; a late one belongs before as many others."""
        place = 10 * self.number - (10 * late + 5 if late else 0)
        return BrokerEvent.objects.create(
            at=at, account=account, external_id=f"e{self.number}", sequence=place, kind=kind, body={}, body_sha256=""
        )

    @staticmethod
    def _scaled(amount: int, currency: str) -> Decimal:
        return D(amount) if currency == "JPY" else D(amount).scaleb(-7)

    def _cash(
        self, account: Account, kind: str, currency: str, amount: Decimal, counter: tuple[str, Decimal] | None = None
    ) -> None:
        at, other = (
            self._at(),
            {} if counter is None else {"counter_currency": counter[0], "counter_amount": counter[1]},
        )
        row = CashEvent.objects.create(
            at=at,
            account=account,
            broker_event=self._event(account, at, kind),
            external_id=f"c{self.number}",
            kind=kind,
            currency=currency,
            amount=amount,
            **other,
        )
        draft = Draft(account, f"cash:{account.pk}:{row.external_id}", kind, at, cash_event=row)
        moved = self.model.cash(account.name, kind, currency, amount)
        if counter is not None:
            moved |= self.model.cash(account.name, kind, *counter)
        self._post(draft, moves.of_cash(currency, amount, AGAINST[kind], **other), moved)

    def _fill(
        self, account: Account, symbol: str, side: Side, units: Decimal, price: Decimal, realised: Decimal,
        financing: Decimal, commission: Decimal, *, days: int = 0, late: int = 0,
    ) -> None:  # fmt: skip
        at, instrument, signed = self._at(), self.instruments[symbol], units * side.sign
        event = self._event(account, at, "ORDER_FILLED", late)
        matched = lots.match(account, instrument, side, units, price, sequence=event.sequence)
        profit = self.model.execute(account.name, symbol, signed, price)
        due: date | None = None
        if not instrument.is_margin:
            due = usual_value_date(at.date()) + timedelta(days=days)
            assert matched.profit == profit
        row = Fill.objects.create(
            at=at, account=account, external_id=f"f{self.number}", instrument=instrument, side=side, quantity=units,
            price=price, realised=realised if instrument.is_margin else profit, financing=financing,
            commission=commission, settles_on=due, order=self.orders[account.pk, symbol], broker_event=event,
        )  # fmt: skip
        draft = Draft(account, f"fill:{account.pk}:{row.external_id}", "FILL", at, fill=row, value_date=due)
        draft.lots, draft.lot_closes = list(matched.lots), list(matched.closes)
        if instrument.is_margin:
            moved = self.model.margin_fill(account.name, symbol, signed, realised, financing, commission)
            self.model.executed(account.name, symbol, row.pk, event.sequence, signed, price)
        else:
            moved = self.model.share_fill(account.name, symbol, signed, price, profit, commission)
            assert due is not None
            self.model.due.append(Due(row.pk, due, commission - signed * price))
        self._post(draft, moves.of_fill(row), moved)

    def _post(self, draft: Draft, moved: list[moves.Move], modelled: Moved) -> None:
        for each in moved:
            draft.move(commodity=each.commodity, amount=each.amount, into=each.into, out_of=each.out_of)
        self.posted.append(Posted(ledger.post(draft), draft, modelled))
        self.model.book(modelled)

    @transaction.atomic
    def _reverse(self, entry: Entry, fill: Fill | None) -> Entry:
        application = apply(approved(entry.account, {"entry": "REVERSAL", "reverses": entry.pk}))
        draft = ledger.reversal(entry, application=application, at=making.moment(self.number), memo="taken back")
        if fill is not None:
            undone = lots.match_without(entry.account, fill.instrument, fill)
            draft.lots, draft.lot_closes = list(undone.lots), list(undone.closes)
        return ledger.post(draft)

    def _refused(self, operation: Any, what: str) -> None:
        before = self._digest()
        try:
            operation()
        except REFUSED:
            tally.refused += 1
        else:
            raise AssertionError(f"was not refused: {what}")
        assert self._digest() == before, f"refused, and yet something changed: {what}"

    @staticmethod
    def _digest() -> dict[str, tuple[int, str]]:
        with connection.cursor() as cursor:
            return digest(cursor, MUTABLE)
