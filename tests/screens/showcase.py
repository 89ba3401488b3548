"""A desk in full life, for pictures and for the pages that need much to show: a week of trades, four kinds of case.

What always holds: everything is written by the real services, inbox, sender's steps and reconciliation; only the
broker's side is told instead of asked. The same call makes the same desk, but for the day it begins on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy
from reconciliation.services import applying, notes, resolutions
from tests.screens.telling import TellingBroker, bracket, event_of_fill, event_of_leg, exchange, gates_of, signal_of
from trading.clock import replay_clock, store_broker_clock, wall_now
from trading.domain.broker import BrokerEvent as PortEvent
from trading.domain.broker import CashData, EventKind, Side
from trading.domain.orders import OrderState
from trading.engine.accounts import paper_account
from trading.engine.messages import keep
from trading.models import Account, Decision, Instrument, Order, OrderGroup, User
from trading.selectors import books
from trading.services import cursors, heartbeats, inbox, orders
from trading.services.audit import Actor
from trading.services.inbox import INFLOW
from trading.services.setup import ensure_account

DEPOSIT = Decimal("100000")
NAMES = {"EURUSD": "EUR_USD", "GBPUSD": "GBP_USD", "XAUUSD": "XAU_USD"}
# Symbol, side, units, entry, exit (None: still open), days ago, minutes into the last hours of that day.
TRADES = (
    ("EURUSD", "BUY", "42000", "1.08412", "1.08731", 6, 35), ("XAUUSD", "SELL", "24", "2641.20", "2633.85", 6, 95),
    ("GBPUSD", "BUY", "31000", "1.26510", "1.26288", 5, 20), ("EURUSD", "SELL", "40000", "1.08902", "1.08655", 5, 140),
    ("EURUSD", "BUY", "39000", "1.08590", "1.08455", 4, 40), ("XAUUSD", "BUY", "26", "2629.40", "2638.10", 4, 205),
    ("GBPUSD", "SELL", "29000", "1.26840", "1.26515", 3, 15), ("EURUSD", "BUY", "41000", "1.08320", "1.08610", 3, 75),
    ("XAUUSD", "BUY", "22", "2640.15", "2636.20", 2, 60), ("EURUSD", "SELL", "38000", "1.08777", "1.08490", 2, 190),
    ("GBPUSD", "BUY", "30000", "1.26405", "1.26690", 1, 30), ("EURUSD", "BUY", "43000", "1.08511", "1.08402", 1, 110),
    ("XAUUSD", "SELL", "25", "2651.60", "2644.30", 0, 10), ("EURUSD", "BUY", "40000", "1.08655", None, 0, 45),
)  # fmt: skip


@dataclass(frozen=True)
class Showcase:
    """What was made, by name."""

    paper: Account
    oanda: Account
    entry: Order
    mirrored: Order
    open_case: Discrepancy
    proposed_case: Discrepancy
    closed_case: Discrepancy


class _Desk:
    """Puts a week into the books of one paper account and its mirror."""

    def __init__(self, begins: datetime, ends: datetime) -> None:
        self.begins, self.ends = begins, ends
        self.paper = paper_account(name="desk-paper", opened_at=begins)
        self.oanda = ensure_account(
            name="desk-oanda",
            broker=Account.Broker.OANDA,
            environment=Account.Environment.SIMULATOR,
            external_id="101-001-1000001-001",
            currency="USD",
            mirror_of=self.paper,
            opened_at=begins,
        )
        self.numbers = {self.paper.pk: 1, self.oanda.pk: 1}
        for account in (self.paper, self.oanda):
            raw = {"id": "1", "type": "TRANSFER_FUNDS", "amount": f"{DEPOSIT}.0000"}
            deposit = CashData("1", EventKind.TRANSFER, "USD", DEPOSIT)
            self.receive(account, PortEvent("1", 1, begins, EventKind.TRANSFER, raw, cash=(deposit,)))

    def next_number(self, account: Account) -> int:
        self.numbers[account.pk] += 1
        return self.numbers[account.pk]

    @staticmethod
    def receive(account: Account, *events: PortEvent) -> None:
        inbox.receive(account=account, events=list(events))

    def trade(self, row: tuple[Any, ...]) -> tuple[Decision, list[Order]]:
        """A signal, its decision, the bracket on both accounts, the fills, and the exit if it has one."""
        symbol, side, units, entry, leave, days, minutes = row
        at = self.ends - timedelta(days=days, minutes=220 - minutes)
        instrument = Instrument.objects.get(symbol=symbol)
        prices = bracket(symbol, side, Decimal(entry))
        decision = signal_of(self.paper, instrument, side, Decimal(units), prices, at)
        entries = []
        for account in (self.paper, self.oanda):
            with replay_clock(account.pk) as clock:
                clock[account.pk] = at
                entries.append(self._follow(account, decision, instrument, prices, at, leave))
        return decision, entries

    def _follow(
        self, account: Account, decision: Decision, instrument: Instrument, prices: Any, at: datetime, leave: str | None
    ) -> Order:
        side, units = Side(decision.signal.side), decision.position_size
        common: dict[str, Any] = {
            "account": account, "intent": decision, "instrument": instrument, "at": at, "quantity": units,
            "actor": Actor.system("decisions"),
        }  # fmt: skip
        group = OrderGroup.objects.create(account=account, decision=decision)
        entry = orders.plan_order(tag="ENTRY", side=side, type="MARKET", group=group, **common)
        legs = {"side": side.opposite, "reduce_only": True, "rides_on": entry, "group": group, **common}
        orders.plan_order(tag="STOP", type="STOP", price=prices.stop, **legs)
        target = orders.plan_order(tag="TP1", type="LIMIT", price=prices.target, **legs)
        name = str(instrument.symbol) if account.is_paper_book else NAMES[instrument.symbol]
        slip = Decimal(0) if account.is_paper_book else instrument.pip_size / 5 * side.sign
        with transaction.atomic():
            entry = orders.locked(entry.pk)
            entry.attempt = 1
            orders.move(entry, OrderState.SENDING, at=at + timedelta(milliseconds=42), reason="attempt 1")
            message = None
            if not account.is_paper_book:
                message = keep(entry, "submit", [exchange(entry, name, at)])
            orders.move(
                entry, OrderState.WORKING, at=at + timedelta(milliseconds=187), reason="accepted", message=message
            )
        number = self.next_number(account)
        paid = prices.entry + slip
        filled = event_of_fill(number, at + timedelta(milliseconds=301), entry, name, side, units, paid)
        stop = Order.objects.get(rides_on=entry, tag="STOP")
        resting = [
            event_of_leg(self.next_number(account), at + timedelta(milliseconds=302), leg, str(number))
            for leg in (stop, target)
        ]
        self.receive(account, filled, *resting)
        if leave is not None:
            gained = (Decimal(leave) - paid) * units * side.sign
            out = self.next_number(account)
            leg, sibling = (target, stop) if gained > 0 else (stop, target)
            until = at + timedelta(minutes=38)
            self.receive(
                account,
                event_of_fill(
                    out, until, leg, name, side.opposite, units, Decimal(leave), realised=round(gained, 2),
                    financing=Decimal("-0.37"),
                ),
                event_of_leg(self.next_number(account), until, sibling, str(number), gone=True),
            )  # fmt: skip
        return Order.objects.get(pk=entry.pk)

    def reconcile(self, at: datetime, trigger: str = "PERIODIC", **plants: Any) -> None:
        """Compare with a broker that holds the books and, on top, what is planted."""
        with replay_clock(self.oanda.pk) as clock:
            clock[self.oanda.pk] = at
            cursors.put(account=self.oanda, name=INFLOW, value=str(self.numbers[self.oanda.pk]))
            broker: Any = TellingBroker(self.oanda, NAMES, **plants)
            run_reconciliation(account=self.oanda, trigger=trigger, broker=broker)

    def by_hand(self, at: datetime, symbol: str, units: str, price: str) -> None:
        """Somebody trades at the broker's web page."""
        number = self.next_number(self.oanda)
        event = event_of_fill(number, at, None, NAMES[symbol], Side.BUY, Decimal(units), Decimal(price))
        self.receive(self.oanda, event)


def build_showcase(*, now: datetime | None = None, trades: int = len(TRADES)) -> Showcase:
    """Make the desk as it stands at `now`; needs ada and bob."""
    now = now or datetime.now(UTC)
    desk = _Desk(now - timedelta(days=6, hours=5), now)
    ada, bob = User.objects.get(username="ada"), User.objects.get(username="bob")
    rows = TRADES[-trades:]
    for row in rows[:-1]:
        desk.trade(row)
    desk.by_hand(now - timedelta(hours=31), "XAUUSD", "3", "2648.10")
    desk.reconcile(now - timedelta(hours=30))
    desk.reconcile(now - timedelta(hours=29))
    closed = Discrepancy.objects.get(key="XAUUSD")
    _resolve(closed, "book_fills", ada, bob, "Traded by hand, confirmed by the trader")
    desk.reconcile(now - timedelta(hours=28))
    decision, (entry, mirrored) = desk.trade(rows[-1])
    _refused(desk, decision, now - timedelta(hours=2))
    desk.by_hand(now - timedelta(minutes=64), "EURUSD", "5000", "1.08702")
    first = {"positions": {}, "cash": Decimal(0)}
    desk.reconcile(now - timedelta(minutes=61), "POST_TRADE", **first)
    desk.reconcile(now - timedelta(minutes=56), **first)
    more = {"positions": {"GBPUSD": Decimal(12000)}, "price": Decimal("1.26480"), "cash": Decimal("18.75")}
    desk.reconcile(now - timedelta(minutes=21), **more)
    desk.reconcile(now - timedelta(minutes=16), **more)
    proposed = Discrepancy.objects.get(account=desk.oanda, key="GBPUSD")
    resolutions.propose(
        discrepancy_id=proposed.pk,
        action="adopt_position",
        reason="Position taken by phone with the dealing desk, ticket 7731",
        proposer=ada,
        actor=Actor.of(ada, via="admin"),
    )
    _unknown_order(desk, now - timedelta(minutes=3))
    desk.reconcile(now - timedelta(minutes=1), **more)
    for name in ("signals", "orders", "reconciliation", "slow", "streams"):
        heartbeats.beat(name)
    for kind in ("events", "prices"):
        heartbeats.beat(f"stream.{kind}:{desk.oanda.name}", connected=True)
    store_broker_clock(account=desk.oanda, broker_at=wall_now(), speed=Decimal(1))
    open_case = Discrepancy.objects.get(account=desk.oanda, key="EURUSD")
    _work_on(open_case, proposed, ada, bob)
    closed.refresh_from_db()
    return Showcase(desk.paper, desk.oanda, entry, mirrored, open_case, proposed, closed)


def _resolve(case: Discrepancy, action: str, ada: User, bob: User, reason: str) -> None:
    with replay_clock(case.account_id) as clock:
        clock[case.account_id] = case.last_seen_at + timedelta(minutes=6)
        proposal = resolutions.propose(
            discrepancy_id=case.pk, action=action, reason=reason, proposer=ada, actor=Actor.of(ada, via="admin")
        )
        resolutions.approve(
            proposal_id=proposal.pk,
            approver=bob,
            payload_sha256=proposal.payload_sha256,
            subject_version=proposal.subject_version,
            reason="agrees with the statement",
            actor=Actor.of(bob, via="admin"),
        )
        applied = applying.apply(proposal_id=proposal.pk, actor=Actor.of(bob, via="admin"), applied_by=bob)
    assert not applied.refused, applied.refused
    assert books.cash_balances(case.account)


def _work_on(case: Discrepancy, other: Discrepancy, ada: User, bob: User) -> None:
    """What people wrote on a case before anybody decided it."""
    by_ada: dict[str, Any] = {"discrepancy_id": case.pk, "person": ada, "actor": Actor.of(ada, via="admin")}
    by_bob: dict[str, Any] = {"discrepancy_id": case.pk, "person": bob, "actor": Actor.of(bob, via="admin")}
    notes.take(**by_ada)
    notes.label(add=["dealing desk", "ticket 7731"], **by_ada)
    notes.comment(text="Asked the broker's dealing desk who bought these. They call back before noon.", **by_ada)
    notes.relate(other_id=other.pk, reason="both came by phone, under the same ticket", **by_bob)
    notes.comment(text="Seen on their statement, too: ticket 7731.\nSo it is real, and it is ours.", **by_bob)


def _refused(desk: _Desk, like: Decision, at: datetime) -> None:
    """A signal that a gate stopped."""
    signal = like.signal
    prices = bracket(signal.instrument.symbol, "BUY", signal.entry)
    signal_of(desk.paper, signal.instrument, "BUY", Decimal(0), prices, at, gates=gates_of(blocked="daily_stop"))


def _unknown_order(desk: _Desk, at: datetime) -> None:
    """An entry whose answer never came."""
    instrument = Instrument.objects.get(symbol="GBPUSD")
    prices = bracket("GBPUSD", "SELL", Decimal("1.26505"))
    decision = signal_of(desk.paper, instrument, "SELL", Decimal(18000), prices, at)
    order = orders.plan_order(
        account=desk.oanda, intent=decision, tag="ENTRY", instrument=instrument, side="SELL", quantity=Decimal(18000),
        type="MARKET", at=at, actor=Actor.system("decisions"),
    )  # fmt: skip
    with transaction.atomic():
        order = orders.locked(order.pk)
        order.attempt = 1
        orders.move(order, OrderState.SENDING, at=at, reason="attempt 1")
        message = keep(order, "submit", [exchange(order, "GBP_USD", at, error="ReadTimeout: no answer within 10 s")])
        reason = "the broker did not answer after the request was sent"
        orders.move(order, OrderState.UNKNOWN, at=at + timedelta(seconds=10), reason=reason, message=message)
