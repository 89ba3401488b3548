"""The inbox: the broker's events, stored once, linked, and applied in the broker's order.

What always holds: the same events twice, late or in another grouping leave the same books; an event is linked as
`linking` says, never by symbol and quantity; fills of our orders and typed cash are booked, everything else stays
stored and unposted until people approve it; one bad event never stops the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import DataError, IntegrityError, transaction

from trading.domain.broker import BrokerEvent as PortEvent
from trading.domain.broker import BrokerOrderStatus, CashData, DayOver, EventKind, FillData, OrderNews
from trading.domain.canonical import canonical_json, sha256_hex
from trading.domain.money import ZERO, plain
from trading.domain.orders import TERMINAL, OrderState, is_late, may_move, state_after_fill, state_from_broker
from trading.domain.policy import AccountPolicy
from trading.locks import lock_account
from trading.models import Account, BrokerEvent, Fill, Order, RiskEvent
from trading.selectors.instruments import UnmappedInstrument, instrument_for
from trading.selectors.policies import standing_policy

from . import attempts, booking, cursors, orders, plausibility, restrictions
from .audit import Actor
from .errors import RuleBroken
from .event_facts import BODY_CHANGED, facts_of, fills_in, said_last
from .linking import goes_on, link, was_once
from .versions import fill_versions

INFLOW = "events"
ACTOR = Actor.system("inbox")
# What one event of the broker can do to its own booking, and to nothing else's.
CANNOT_BOOK = (UnmappedInstrument, RuleBroken, ValueError, ArithmeticError, DataError, IntegrityError)
_RESTED = (OrderState.WORKING, OrderState.PARTIAL, OrderState.CANCELLING)
TYPED_CASH = frozenset(booking.CASH_SIDE)


@dataclass(slots=True)
class Received:
    """What a batch came to: rows stored, repeated, with a changed body; fills booked; events held unposted."""

    stored: int = 0
    repeated: int = 0
    posted_fills: int = 0
    changed: list[str] = field(default_factory=list)
    held: list[int] = field(default_factory=list)


@transaction.atomic
def receive(*, account: Account, events: Sequence[PortEvent], cursor: str | None = None) -> Received:
    """Store and apply a batch; `cursor` is moved in the same transaction."""
    lock_account(account.pk)
    result = Received()
    policy = standing_policy(account)
    said = _said(account, [event.external_id for event in events])
    for event in sorted(events, key=lambda e: e.sequence):
        row = _store(account, event, said, result)
        if row is not None:
            _apply(account, event, row, policy, result)
    if cursor is not None:
        cursors.put(account=account, name=INFLOW, value=cursor)
    return result


@dataclass(frozen=True, slots=True)
class _Said:
    """The hash of an event's body as it was stored, and as the broker has said it last."""

    first: str
    last: str


def _said(account: Account, external_ids: Sequence[str]) -> dict[str, _Said]:
    """What is stored of these events, read at once: most brokers tell a whole day again and again."""
    stored = BrokerEvent.objects.filter(account=account, external_id__in=external_ids)
    first = dict(stored.values_list("external_id", "body_sha256"))
    again = said_last(account, list(first)) if first else {}
    return {name: _Said(sha, again[name].sha256 if name in again else sha) for name, sha in first.items()}


def _store(account: Account, event: PortEvent, said: dict[str, _Said], result: Received) -> BrokerEvent | None:
    """The row of an event that is new, None for one that stands; `said` learns of it either way."""
    body_sha256 = sha256_hex(canonical_json(event.raw))
    known = said.get(event.external_id)
    said[event.external_id] = _Said(known.first if known is not None else body_sha256, body_sha256)
    if known is None:
        result.stored += 1
        return BrokerEvent.objects.create(
            account=account,
            external_id=event.external_id,
            sequence=event.sequence,
            at=event.at,
            kind=event.kind,
            body=event.raw,
            body_sha256=body_sha256,
            facts=facts_of(event),
        )
    result.repeated += 1
    if known.first != body_sha256:
        result.changed.append(event.external_id)
    if known.last != body_sha256:
        RiskEvent.objects.create(
            account=account,
            at=event.at,
            kind=BODY_CHANGED,
            reason=f"event {event.external_id} came again with another body; the books stay until two people approve",
            numbers={
                "event": event.external_id, "sha256": body_sha256, "body": event.raw, "facts": facts_of(event),
            },
        )  # fmt: skip
    return None


def _apply(account: Account, event: PortEvent, row: BrokerEvent, policy: AccountPolicy, result: Received) -> None:
    """Each part of the event for itself: one that cannot be booked leaves no trace but its RiskEvent."""
    parts: tuple[OrderNews | FillData | CashData, ...] = (*event.orders, *event.fills, *event.cash)
    for part in parts:
        try:
            with transaction.atomic():
                _apply_part(account, part, row, policy, result)
        except CANNOT_BOOK as error:
            kind = "UNMAPPED_INSTRUMENT" if isinstance(error, UnmappedInstrument) else "EVENT_NOT_BOOKED"
            _hold(account, row, result, kind=kind, reason=str(error))
    if event.day_over is not None:
        _end_the_day(account, event.day_over, row)


def _end_the_day(account: Account, over: DayOver, row: BrokerEvent) -> None:
    """Orders of an earlier day rest no more. What one may have filled unseen shows as a difference of positions."""
    rested = Order.objects.filter(account=account, state__in=_RESTED).exclude(broker_order_id__in=over.listed)
    for order in rested.order_by("pk"):
        sent = orders.sent_at(order)
        if sent is not None and sent < over.before:
            reason = "the broker's day is over, and with it every order that was for the day"
            orders.move(orders.locked(order.pk), OrderState.EXPIRED, at=row.at, reason=reason, broker_event=row)


def _apply_part(
    account: Account, part: OrderNews | FillData | CashData, row: BrokerEvent, policy: AccountPolicy, result: Received
) -> None:
    if isinstance(part, OrderNews):
        _apply_news(account, part, row)
        _apply_waiting(account, part.broker_order_id, row, policy, result)
    elif isinstance(part, FillData):
        order = link(account, client_id=part.client_id, broker_order_id=part.broker_order_id)
        if order is None or not policy.apply_exact_own_fills or _is_late(account, part, row, order, policy):
            result.held.append(row.pk)
            return
        _apply_fill(account, part, row, order)
        result.posted_fills += 1
        _apply_waiting(account, part.broker_order_id, row, policy, result)
    elif part.kind not in TYPED_CASH or not policy.apply_typed_cash_events:
        result.held.append(row.pk)
    else:
        booking.book_cash(account=account, event=row, cash=part, actor=ACTOR)


def _apply_waiting(
    account: Account, broker_order_id: str, row: BrokerEvent, policy: AccountPolicy, result: Received
) -> None:
    """Fills that are ours only by the id that this event gave to an order, and were told before it: now they are."""
    if not broker_order_id:
        return
    named = [{"broker_order_id": broker_order_id}]
    for later in BrokerEvent.objects.filter(
        account=account, sequence__gt=row.sequence, facts__fills__contains=named
    ).order_by("sequence", "id"):
        if said_last(account, [later.external_id]):
            continue  # the broker says something else by now: people decide
        for fill in fills_in(later):
            if fill.broker_order_id != broker_order_id or fill_versions(account, later, fill.external_id):
                continue
            try:
                with transaction.atomic():
                    _apply_part(account, fill, later, policy, result)
            except CANNOT_BOOK as error:
                _hold(account, later, result, kind="EVENT_NOT_BOOKED", reason=str(error))


def _is_late(account: Account, fill: FillData, row: BrokerEvent, order: Order, policy: AccountPolicy) -> bool:
    """Whether people asked to decide on it: it happened before a difference about its instrument was opened.

    What two people ordered is theirs already, and what happens while the difference is open is no news of the past.
    """
    if not policy.ask_about_late_fills or order.application_id is not None:
        return False
    instrument = instrument_for(account, fill.instrument)
    locked_at = restrictions.locked_since(account, instrument, source=restrictions.RECONCILIATION)
    return locked_at is not None and row.at < locked_at


def _hold(account: Account, row: BrokerEvent, result: Received, *, kind: str, reason: str) -> None:
    result.held.append(row.pk)
    RiskEvent.objects.create(
        account=account, at=row.at, kind=kind, reason=reason[:300], numbers={"event": row.external_id}
    )


def _apply_news(account: Account, news: OrderNews, row: BrokerEvent) -> None:
    labelled = plausibility.labelled(account, news)
    if labelled is not None and plausibility.is_a_copy(labelled, news):
        return
    found = link(
        account,
        client_id=news.client_id,
        broker_order_id=news.broker_order_id,
        parent_client_id=news.parent_client_id,
        leg=news.leg,
        replaces=news.replaces,
    )
    if found is None:
        return
    order = orders.locked(found.pk)
    if row.kind == EventKind.ORDER_CREATED and (why := plausibility.is_not_ours(order, news)):
        plausibility.tell_foreign(order, why, broker_order_id=news.broker_order_id)
        return
    if plausibility.is_foreign(order, news.broker_order_id):
        return
    if news.status is BrokerOrderStatus.REJECTED and not news.broker_order_id and order.broker_order_id:
        return  # a later copy under the same id was refused; the order that the broker has is not that copy
    goes_on(order, news, at=row.at)
    if was_once(order, news.broker_order_id):
        return  # our order goes on under another id; what it is now is said of that one
    wanted, source = state_from_broker(news.status), OrderState(order.state)
    if news.status is BrokerOrderStatus.FILLED and source not in TERMINAL:
        # A fill moves the order when it is booked, not when it is announced; but one that its broker made smaller, as
        # a stop beside a target that filled in part, is filled by less than was ordered.
        if news.filled is not None and ZERO < news.filled == order.filled_quantity < order.quantity:
            reason = f"filled; its broker had made it smaller, {plain(news.filled)} of {plain(order.quantity)}"
            orders.move(order, OrderState.FILLED, at=row.at, reason=reason, broker_event=row)
        return
    if wanted is None or news.status in (BrokerOrderStatus.FILLED, BrokerOrderStatus.PARTIAL):
        return
    if row.kind == EventKind.ORDER_CREATED and source is OrderState.CANCELLING:
        return  # that it began says nothing about its cancel, which is asked again
    if wanted is not source and may_move(source, wanted) and not is_late(source, wanted):
        orders.move(order, wanted, at=row.at, reason=news.reason or str(row.kind), broker_event=row)
        _no_longer_sent(order, source)


def _no_longer_sent(order: Order, source: OrderState) -> None:
    """The broker's events say what became of an order whose sender may have died: its sends count no more."""
    if source in (OrderState.SENDING, OrderState.UNKNOWN):
        attempts.end(key=attempts.send_key(order.pk))


def _apply_fill(account: Account, fill: FillData, row: BrokerEvent, found: Order) -> None:
    if Fill.objects.filter(account=account, external_id=fill.external_id).exists():
        return
    order = orders.locked(found.pk)
    why = plausibility.absurd_fill(order, fill)
    if why:
        raise RuleBroken(f"{why}: nothing was booked; compare order {order.client_order_id} with the broker.")
    if fill.side != order.side or instrument_for(account, fill.instrument) != order.instrument:
        raise RuleBroken(
            f"The broker says that our {order.side} order {order.client_order_id} of {order.instrument} did "
            f"{fill.side} {plain(fill.quantity)} {fill.instrument}. Nothing was booked; compare with the broker."
        )
    filled = order.filled_quantity + fill.quantity
    paid = (order.average_price or 0) * order.filled_quantity + fill.price * fill.quantity
    order.average_price = round(paid / filled, 12)
    order.filled_quantity = filled
    if fill.broker_order_id and not order.broker_order_id:
        order.broker_order_id = fill.broker_order_id
    source = OrderState(order.state)
    target = state_after_fill(source, ordered=order.quantity, filled=filled)
    reason = f"{fill.quantity.normalize():f} at {fill.price.normalize():f} ({fill.reason})"
    orders.move(order, target, at=row.at, reason=reason, broker_event=row)
    _no_longer_sent(order, source)
    booking.book_fill(account=account, event=row, fill=fill, order=order, actor=ACTOR)
    if filled > order.quantity:
        plausibility.tell_overfilled(order, fill)
    if is_late(source, target):
        RiskEvent.objects.create(
            account=account,
            at=row.at,
            kind="LATE_FILL",
            reason=f"order {order.client_order_id} filled after it had ended {source} in our books; the fill is booked",
            numbers={"order": order.pk, "fill": fill.external_id, "from": source},
        )
