"""The desk of `make soak-orders`: paper accounts that decide, and the mirrors that follow each of them.

What always holds: every decision is made and followed by the product's own verbs, through all gates; a paper book that
was lost with a database error is rebuilt from the facts, as after a restart; each mirror has a simulator of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.places import Place
    from tests.faults.world import World
    from trading.brokers.paper import PaperBroker
    from trading.models import Account, Decision, Order

# What a session allows at once: here nothing is refused for being one too many.
LIMITS = "max_open_positions: 2, max_open_per_symbol: 1"
NO_LIMITS = "max_open_positions: 1000, max_open_per_symbol: 1000"
BAR_SECONDS = 300


class Rejected(Exception):
    """A gate said no. The text is its reason."""


class Pair:
    """One paper account and its mirrors, all at one broker and on one instrument."""

    def __init__(self, place: Place, worlds: Sequence[World]) -> None:
        from trading.clock import store_broker_clock
        from trading.domain.session import load_session
        from trading.engine.accounts import paper_account
        from trading.services.setup import ensure_account, ensure_session

        self.place, self.worlds = place, worlds
        profile = place.profile.replace(LIMITS, NO_LIMITS)
        assert profile != place.profile
        self.session = load_session(profile)
        self._version = ensure_session(self.session)
        began = worlds[0].broker_now()
        self.paper: Account = paper_account(
            name=f"{place.name}-paper", scope="soak", opened_at=began, currency=place.currency
        )
        store_broker_clock(account=self.paper, broker_at=began, speed=Decimal(1))
        for world in worlds:
            world.account = ensure_account(
                name=world.account.name,
                broker=world.account.broker,
                environment=world.account.environment,
                external_id=world.account.external_id,
                scope=world.account.scope,
                currency=world.account.currency,
                mirror_of=self.paper,
            )
        self._book: PaperBroker | None = None

    @property
    def mirrors(self) -> list[Account]:
        """The accounts at the broker."""
        return [world.account for world in self.worlds]

    def decide(self, number: int) -> list[Order]:
        """The decision of that number: the paper account enters; the mirrors' entries, planned and not sent.

        Asked again it finds the same ones. Raises Rejected, and BrokerUnreachable when it has to be asked again.
        """
        from trading.domain.broker import BrokerUnreachable
        from trading.models import Decision, Order

        book = self._paper_book()
        decision = self._decision(number)
        if decision.verdict != Decision.Verdict.APPROVED:
            raise Rejected(decision.reason)
        own = Order.objects.get(account=self.paper, decision=decision, tag="ENTRY")
        self._to_book(book, own)
        own.refresh_from_db()
        if own.state != "FILLED":
            raise BrokerUnreachable(f"{self.paper.name}: {own} could not be given to the paper book")
        return list(Order.objects.filter(account__in=self.mirrors, decision=decision, tag="ENTRY", state="PLANNED"))

    def has_unsent(self) -> bool:
        """Whether an entry of the mirrors is still to be sent."""
        from trading.models import Order

        return Order.objects.filter(account__in=self.mirrors, tag="ENTRY", state="PLANNED").exists()

    def jump(self, up: bool) -> None:
        """The market goes over everybody's target, or stop, and back; what the mirrors still hold they leave."""
        from trading.clock import now
        from trading.domain.bars import Bar
        from trading.engine.connections import broker_for
        from trading.engine.inflow import catch_up
        from trading.engine.mirror import follow

        place = self.place
        far = 3 * place.away * (1 if up else -1)
        for world in self.worlds:
            world.price(place.bid + far, place.ask + far)
            world.price(place.bid, place.ask)
        book = self._paper_book()
        bar = Bar(
            symbol=place.symbol,
            start=now(self.paper),
            interval_seconds=BAR_SECONDS,
            open=self._mid,
            high=max(self._mid, self._mid + far),
            low=min(self._mid, self._mid + far),
            close=self._mid,
            volume=Decimal(0),
        )
        book.on_bar(bar, atr=None, rate=Decimal(1))
        catch_up(account=self.paper, broker=book)
        for mirror in self.mirrors:
            broker = broker_for(mirror)
            try:
                follow(paper=self.paper, mirror=mirror, broker=broker)
            finally:
                broker.close()

    def forget(self) -> None:
        """The process was interrupted: what only it knew is gone."""
        self._book = None

    @property
    def _mid(self) -> Decimal:
        return (self.place.bid + self.place.ask) / 2

    def _paper_book(self) -> PaperBroker:
        """The paper broker, told of the price; a lost one as the facts say it stood."""
        from trading.brokers.paper import Market
        from trading.clock import now
        from trading.engine.accounts import book_of, unbooked
        from trading.engine.inflow import catch_up

        moment = now(self.paper)
        lost = self._book is None
        book = self._book or book_of(self.paper, self.session, (self.place.symbol,), now=moment)
        book.tell(self.place.symbol, Market(at=moment, mid=self._mid, atr=None, rate=Decimal(1)))
        if lost:
            for order in unbooked(self.paper):
                self._to_book(book, order)
            catch_up(account=self.paper, broker=book)
        self._book = book
        return book

    def _to_book(self, book: PaperBroker, order: Order) -> None:
        from trading.engine.inflow import catch_up
        from trading.engine.sender import build_request, send_order

        if order.state == "PLANNED":
            send_order(order_id=order.pk, broker=book)
        elif order.attempt > 0:
            book.submit(build_request(order))
        if book.has_news:
            catch_up(account=self.paper, broker=book)

    def _decision(self, number: int) -> Decision:
        from trading.clock import now
        from trading.domain.broker import OrderType, Side
        from trading.services.decisions import MarketView, decide
        from trading.strategies.base import SignalIntent

        place, moment = self.place, now(self.paper)
        entry, cash = place.ask, Decimal(100_000)
        return decide(
            account=self.paper,
            session=self.session,
            version=self._version,
            intent=SignalIntent(
                strategy="orb",
                symbol=place.symbol,
                side=Side.BUY,
                order_type=OrderType.MARKET,
                entry=entry,
                stop=entry - place.away,
                target=entry + 2 * place.away,
                bar_start=_day_after(datetime.fromisoformat(place.begins), number),
                bar_end=moment.replace(minute=moment.minute - moment.minute % 5, second=0, microsecond=0),
                features={},
                reason="the soak",
            ),
            market=MarketView(
                now=moment,
                last_price=entry,
                price_at=moment,
                in_hole=False,
                indicators_ready=True,
                bar_had_position=False,
                equity=cash,
                weight=place.weight,
                quote_rate=Decimal(1),
                previous_close=entry,
                open_pnl=Decimal(0),
                cash=cash,
            ),
            mirrors=self.mirrors,
        )


def _day_after(began: datetime, number: int) -> datetime:
    """A weekday's bar of its own for each number, at the hour at which the exchange is open, each on a later day.

    A strategy enters once a day each way, and an entry ends with the window of its bar.
    """
    hour = began.replace(minute=0, second=0, microsecond=0)
    return hour + timedelta(weeks=number // 5 + 1, days=number % 5 - began.weekday())


def make_pairs(worlds: Sequence[World]) -> list[Pair]:
    """A pair for each broker among them, in the order of the worlds."""
    names = dict.fromkeys(world.place.name for world in worlds)
    return [Pair(own[0].place, own) for own in ([w for w in worlds if w.place.name == name] for name in names)]


def settle_by_people(world: World) -> int:
    """Two people end what a broker that never proves absence left in doubt; returns how many orders.

    What was found without them is a difference until the next run of reconciliation has seen that.
    """
    from reconciliation.engine.run import run_reconciliation
    from reconciliation.models import Run
    from tests.faults.matrix.people import decide
    from trading.clock import wall_now
    from trading.models import Order, Restriction
    from trading.services.restrictions import RECONCILIATION

    doubts = Order.objects.filter(account=world.account, state="UNKNOWN", rides_on=None)
    done = 0
    for order in doubts.filter(quarantine_until__lt=wall_now()).order_by("id"):
        try:
            decide(world, order)
            done += 1
        except AssertionError:
            continue  # no case is open about it yet: the next round asks again
    if Restriction.objects.filter(account=world.account, source=RECONCILIATION, lifted_at=None).exists():
        run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    return done


__all__ = ["Pair", "Rejected", "make_pairs", "settle_by_people"]
