"""Our books as one frozen value, cut at the same event of the broker's history as the broker's own snapshot.

What always holds here: quantities of positions are signed (above zero is long) and in units; instruments are in our
own names, the broker's names are translated through `instruments`; nothing here was read after the cut; equal books
give equal text whatever order the database returned them in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from trading.domain.broker import BrokerSnapshot, CashData, FillData
from trading.domain.canonical import canonical_json
from trading.domain.money import ONE, ZERO
from trading.domain.orders import OrderState, Tag
from trading.domain.settlement import payment


@dataclass(frozen=True, slots=True)
class InstrumentRule:
    """What a comparison must know of an instrument. `broker_symbol` is the broker's name for it.

    `pays_cash` is True for a cash instrument: a fill of it moves its whole payment. `cap` is the most that may be held
    of it at all, None where nothing says so.
    """

    symbol: str
    broker_symbol: str
    quantity_step: Decimal
    price_step: Decimal
    multiplier: Decimal = ONE
    pays_cash: bool = False
    cap: Decimal | None = None

    def is_dust(self, quantity: Decimal) -> bool:
        """Whether so many units are less than anybody could trade."""
        return abs(quantity) < self.quantity_step


def cash_of(fill: FillData, rule: InstrumentRule | None) -> Decimal:
    """What a fill moved of the account's trade-date cash.

    Of an instrument without a name of ours its value date says whether it moved the payment.
    """
    moved = fill.realised + fill.financing + fill.commission
    if rule.pays_cash if rule is not None else fill.settles_on is not None:
        moved += payment(fill.side, fill.quantity, fill.price, multiplier=rule.multiplier if rule is not None else ONE)
    return moved


def sides_of(cash: CashData) -> list[tuple[str, Decimal]]:
    """What a movement of cash moves of each currency: a conversion has two sides."""
    sides = [(cash.currency, cash.amount)]
    if cash.counter_amount is not None:
        sides.append((cash.counter_currency, cash.counter_amount))
    return sides


@dataclass(frozen=True, slots=True)
class BooksPosition:
    """What our lots add up to. `quantity` signed; `external_quantity` is the part that no strategy holds.

    `pooled_price` is the cost by averaging, where the broker may count so (cash instruments), else None.
    """

    instrument: str
    quantity: Decimal
    average_price: Decimal | None
    external_quantity: Decimal = ZERO
    pooled_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class BooksOrder:
    """An order of ours. `rides_on_entry` is True for a leg that the broker places when the entry fills.

    `decision_id` is that of its decision, or of the trade that it leaves; `news_at` when something was last heard of
    it (account's clock); `given_up` that two people called it ended because nobody could find it.
    """

    order_id: int
    client_id: str
    broker_order_id: str
    instrument: str
    side: str
    tag: Tag
    state: OrderState
    quantity: Decimal
    filled: Decimal
    price: Decimal | None
    rides_on_entry: bool = False
    decision_id: int | None = None
    news_at: datetime | None = None
    good_till: datetime | None = None
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class LateOrder:
    """An order of ours that filled although it had ended. `filled` is all that it has filled; times of the account.

    `ended` is the state that it had ended in, at `ended_at`; `ended_by_broker` that the broker itself said so.
    """

    order_id: int
    client_id: str
    instrument: str
    side: str
    tag: Tag
    quantity: Decimal
    filled: Decimal
    ended: OrderState
    ended_at: datetime
    ended_by_broker: bool
    filled_at: datetime


@dataclass(frozen=True, slots=True)
class UnmappedTrade:
    """A decision whose trade is open, and whose order on this account has no link to one of the broker's."""

    decision_id: int
    order_id: int
    client_id: str
    instrument: str
    state: OrderState
    since: datetime


@dataclass(frozen=True, slots=True)
class BooksHolding:
    """What a strategy holds from one decision, and the stop that must cover it (None: none was planned)."""

    decision_id: int
    instrument: str
    side: str
    quantity: Decimal
    stop_client_ids: tuple[str, ...]
    stop_planned: bool


@dataclass(frozen=True, slots=True)
class OverClosed:
    """A decision whose exits filled for more than its entry. `side` is the entry's.

    `beyond` is what the account still holds of that the other way, and no strategy wants.
    """

    decision_id: int
    instrument: str
    side: str
    opened: Decimal
    closed: Decimal
    beyond: Decimal


@dataclass(frozen=True, slots=True)
class UnpostedEvent:
    """An event of the broker's history that is stored and not in the books.

    `event_id` is our row of it, 0 while it was only read and not stored. `ours` names the client ids of `fills` that
    belong to orders of ours.
    """

    event_id: int
    external_id: str
    sequence: int
    at: datetime
    fills: tuple[FillData, ...] = ()
    cash: tuple[CashData, ...] = ()
    ours: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ChangedBody:
    """An event that the broker showed again with another body. Both bodies by their SHA-256.

    `undone` are fills of it that our books hold and the broker does not say any more, `instead` what it says in their
    place; the same of cash. All are empty where nothing is booked otherwise than the broker says now.
    """

    external_id: str
    first_sha256: str
    later_sha256: str
    event_id: int = 0
    undone: tuple[FillData, ...] = ()
    instead: tuple[FillData, ...] = ()
    cash_undone: tuple[CashData, ...] = ()
    cash_instead: tuple[CashData, ...] = ()

    def units(self, broker_symbol: str) -> Decimal:
        """What it changes of the position of an instrument."""
        return sum((sign * f.side.sign * f.quantity for sign, f in self.fills() if f.instrument == broker_symbol), ZERO)

    def fills(self) -> list[tuple[int, FillData]]:
        """What is to be booked (+1) and to be taken back (−1)."""
        return [*((-1, fill) for fill in self.undone), *((1, fill) for fill in self.instead)]

    def cash(self, currency: str, by_broker_symbol: Mapping[str, InstrumentRule]) -> dict[str, Decimal]:
        """What it changes of trade-date cash, per currency; fills move the account's own `currency`."""
        moved = {currency: ZERO}
        for sign, fill in self.fills():
            moved[currency] += sign * cash_of(fill, by_broker_symbol.get(fill.instrument))
        for sign, each in (*((-1, c) for c in self.cash_undone), *((1, c) for c in self.cash_instead)):
            for code, amount in sides_of(each):
                moved[code] = moved.get(code, ZERO) + sign * amount
        return {code: amount for code, amount in moved.items() if amount != 0}

    @property
    def is_booked_otherwise(self) -> bool:
        """Whether our books hold something else than the broker says now."""
        return bool(self.undone or self.cash_undone)


@dataclass(frozen=True, slots=True)
class CorporateEvent:
    """Something that the broker's history says happened to shares without a trade; `instrument` in its own name."""

    external_id: str
    at: datetime
    word: str
    instrument: str
    units: Decimal | None


@dataclass(frozen=True, slots=True)
class BooksSnapshot:
    """Our books of one account at one cut. `cut_event_id` is the newest event of the broker's that they include.

    `cash` is trade-date cash, as brokers show it: what is not settled yet counts as paid. `hedging` accounts may hold
    both sides of an instrument at once; both are compared as their net. `opening` says that these books have not begun.
    """

    account_id: str
    currency: str
    at: datetime
    cut_event_id: str
    cash: Mapping[str, Decimal]
    positions: tuple[BooksPosition, ...]
    orders: tuple[BooksOrder, ...] = ()
    holdings: tuple[BooksHolding, ...] = ()
    over_closed: tuple[OverClosed, ...] = ()
    unposted: tuple[UnpostedEvent, ...] = ()
    changed: tuple[ChangedBody, ...] = ()
    instruments: Mapping[str, InstrumentRule] = field(default_factory=dict)
    hedging: bool = False
    late: tuple[LateOrder, ...] = ()
    unmapped: tuple[UnmappedTrade, ...] = ()
    opening: bool = False
    corporate: tuple[CorporateEvent, ...] = ()

    def normalised(self) -> BooksSnapshot:
        """The same books in one fixed order, each fill and movement of cash once (in the earliest event)."""
        unposted = sorted(self.unposted, key=lambda e: (e.sequence, e.external_id, e.event_id))
        return replace(
            self,
            positions=tuple(sorted(self.positions, key=lambda p: p.instrument)),
            orders=tuple(sorted(self.orders, key=lambda o: o.client_id)),
            holdings=tuple(sorted(self.holdings, key=lambda h: h.decision_id)),
            over_closed=tuple(sorted(self.over_closed, key=lambda o: o.decision_id)),
            unposted=_each_once(unposted),
            changed=tuple(sorted(self.changed, key=lambda c: (c.external_id, c.later_sha256))),
            late=tuple(sorted(self.late, key=lambda o: o.client_id)),
            unmapped=tuple(sorted(self.unmapped, key=lambda t: t.client_id)),
            corporate=tuple(sorted(self.corporate, key=lambda c: (c.at, c.external_id))),
        )

    def text(self) -> str:
        """Canonical JSON of the books."""
        books = self.normalised()
        return canonical_json(
            {
                "account_id": books.account_id,
                "currency": books.currency,
                "at": books.at,
                "cut_event_id": books.cut_event_id,
                "cash": dict(books.cash),
                "positions": books.positions,
                "orders": books.orders,
                "holdings": books.holdings,
                "over_closed": books.over_closed,
                "unposted": [
                    {
                        "event_id": event.event_id,
                        "external_id": event.external_id,
                        "sequence": event.sequence,
                        "at": event.at,
                        "fills": event.fills,
                        "cash": event.cash,
                        "ours": sorted(event.ours),
                    }
                    for event in books.unposted
                ],
                "changed": books.changed,
                "late": books.late,
                "unmapped": books.unmapped,
                "hedging": books.hedging,
                "opening": books.opening,
                "corporate": books.corporate,
                "instruments": dict(books.instruments),
            }
        )


def _each_once(events: Sequence[UnpostedEvent]) -> tuple[UnpostedEvent, ...]:
    fills: set[str] = set()
    cash: set[str] = set()
    kept: list[UnpostedEvent] = []
    for event in events:
        new_fills = {fill.external_id: fill for fill in event.fills if fill.external_id not in fills}
        new_cash = {moved.external_id: moved for moved in event.cash if moved.external_id not in cash}
        fills.update(new_fills)
        cash.update(new_cash)
        if new_fills or new_cash:
            kept.append(replace(event, fills=tuple(new_fills.values()), cash=tuple(new_cash.values())))
    return tuple(kept)


def normalised_broker(snapshot: BrokerSnapshot) -> BrokerSnapshot:
    """The same broker snapshot in one fixed order, without the raw bodies (they are kept as messages)."""
    return replace(
        snapshot,
        flags=tuple(sorted(set(snapshot.flags))),
        positions=tuple(
            sorted(
                snapshot.positions,
                key=lambda p: (p.instrument, p.product, p.side, p.quantity, p.average_price),
            )
        ),
        orders=tuple(
            sorted(
                (replace(order, raw={}) for order in snapshot.orders),
                key=lambda o: (o.broker_order_id, o.client_id, repr(o)),  # contradicting rows have one order, too
            )
        ),
        raw={},
    )


def broker_text(snapshot: BrokerSnapshot) -> str:
    """Canonical JSON of a broker snapshot, without raw bodies and unrealised profit (nothing is compared to them)."""
    plain = normalised_broker(snapshot)
    return canonical_json(
        {
            "account_id": plain.account_id,
            "currency": plain.currency,
            "at": plain.at,
            "last_event_id": plain.last_event_id,
            "cash": plain.cash,
            "cash_part": plain.cash_part,
            "positions": [replace(position, unrealised=None, market_price=None) for position in plain.positions],
            "positions_part": plain.positions_part,
            "orders": plain.orders,
            "orders_part": plain.orders_part,
            "flags": plain.flags,
        }
    )
