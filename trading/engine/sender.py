"""The order sender: claim in a transaction, send on the wire, store in transactions. The Order row is the outbox.

What always holds: nothing is sent before its intent is committed, nor inside a transaction; only the holder of the
current token sends, and never once its lease is about to end; an outcome that is not a real refusal or an acceptance
is UNKNOWN and is never resent from here; an order that kills its worker again and again is left alone and reported;
until an account was compared after a start, the broker's history is read before an exit leaves.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction
from django.db.models import Q

from trading.clock import now, wall_now
from trading.domain.broker import (
    NOT_SENT,
    Accepted,
    BrokerUnreachable,
    Capabilities,
    OrderPort,
    OrderRequest,
    OrderType,
    ProtectiveLeg,
    Side,
)
from trading.domain.orders import OrderState, Tag
from trading.failpoints import failpoint
from trading.models import Account, Instrument, Order, Restriction
from trading.selectors.instruments import UnmappedInstrument, broker_symbol
from trading.services import attempts, orders

from .answers import Answer, store
from .claiming import claim, still_ours
from .connections import connected
from .inflow import catch_up
from .room import make_room, needs_room

log = logging.getLogger(__name__)

# So many of an account are taken on together: at a slow broker, the last of them still leaves within the lease.
AT_ONCE = 16
STARTUP = "startup"
"""What blocks entries from the start of the desk until a complete reconciliation."""
# So long at most after a start do the exits of before it wait for a history that cannot be read.
LONGEST_HOLD = timedelta(minutes=2)
_FACTS = ("account__policy", "account__mirror_of", "instrument", "exit_intent", "decision__signal")


def send_order(*, order_id: int, broker: OrderPort | None = None) -> Order:
    """Send a PLANNED order once. Safe to call at any time, by anyone, any number of times.

    Raises MissingCredentials when the account's broker cannot be reached at all for want of them; the order stays
    PLANNED then. Never raises for what the broker does: that is stored on the order.
    """
    order = Order.objects.select_related(*_FACTS).get(pk=order_id)
    if order.state != OrderState.PLANNED or order.rides_on_id is not None:
        return order
    failpoint("intent_committed")
    with connected(order.account, broker) as port:
        _send(order.account, [order], port)
    return Order.objects.get(pk=order_id)


def send_planned(*, account_id: int) -> int:
    """Send everything of an account that may leave now, in the order in which it was planned; returns how many did.

    Whoever comes while another sends finds nothing left to do. Raises MissingCredentials as `send_order` does.
    """
    rows = Order.objects.filter(account=account_id, state=OrderState.PLANNED, rides_on=None).select_related(*_FACTS)
    due = rows.filter(Q(next_check_at=None) | Q(next_check_at__lte=wall_now())).order_by("pk")
    planned = list(due[:AT_ONCE])
    if not planned:
        return 0
    failpoint("intent_committed")
    sent = 0
    with connected(planned[0].account) as port:
        while planned:
            sent += sum(_send(part[0].account, part, port) for part in _parts(planned, port.capabilities))
            planned = list(due.filter(pk__gt=planned[-1].pk)[:AT_ONCE])
    return sent


def _parts(planned: Sequence[Order], able: Capabilities) -> list[list[Order]]:
    """What is sent together, exits before entries; exits that must wait for their room go alone, after them."""
    alone = [order for order in planned if needs_room(order, able)]
    together = sorted((order for order in planned if order not in alone), key=lambda order: not order.reduce_only)
    return [*([together] if together else []), *([order] for order in alone)]


def _send(account: Account, planned: Sequence[Order], broker: OrderPort) -> int:
    """Take on what may leave, send one after the other, then store what was answered; returns how many were sent.

    Storing comes after all: an order must not wait for the bookkeeping of the one before it. Whoever dies between the
    two leaves orders that are looked up, as after any lost answer.
    """
    planned = _known(account, planned, broker)
    traded = {order.instrument_id: order.instrument for order in planned}
    symbols = {number: _symbol(account, instrument) for number, instrument in traded.items()}
    ready = [order for order in planned if symbols[order.instrument_id] and make_room(order, broker)]
    failpoint("room_made")
    taken = {order.pk: order for order in claim(account, ready, broker.capabilities)} if ready else {}
    claimed = [taken[order.pk] for order in ready if order.pk in taken]
    if not claimed:
        return 0
    failpoint("claimed")
    requests = _requests(claimed, symbols, rides=broker.capabilities.native_bracket)
    failpoint("before_send")
    answers: list[Answer] = []
    try:
        for order, request in zip(claimed, requests, strict=True):
            if still_ours(order):
                answers.append((order, broker.submit(request)))
                failpoint("after_response")
            else:
                _put_back(order)
    finally:
        if answers:
            store(account, answers, broker.capabilities)
    failpoint("stored")
    if any(isinstance(outcome, Accepted) for _, outcome in answers):
        with suppress(BrokerUnreachable):  # the orders are stored as accepted; the watcher fetches their events
            catch_up(account=account, broker=broker)
    return len(answers)


def _known(account: Account, planned: Sequence[Order], broker: OrderPort) -> list[Order]:
    """Those that may leave for all that the broker tells; others than exits wait for a reconciliation by themselves.

    The books of an account that was not compared since the desk started may have come back from a backup, and the
    broker may have had an exit of theirs long ago: its history says so. While that cannot be read, exits that were
    planned before the start are held, but not for ever, and later ones leave.
    """
    leaving = [order for order in planned if order.tag != Tag.ENTRY]
    if not leaving or account.is_paper_book:
        return list(planned)
    standing = Restriction.objects.filter(account=account, source=STARTUP, lifted_at=None).order_by("-pk").first()
    if standing is None:
        return list(planned)
    try:
        catch_up(account=account, broker=broker)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # whatever the trouble is, it must neither send these exits nor keep the others
        log.warning("%s: the history could not be read before its exits leave: %s", account.name, error, exc_info=True)
        if wall_now() - standing.recorded_at >= LONGEST_HOLD:
            return list(planned)
        held = {order.pk for order in leaving if order.recorded_at < standing.recorded_at}
        return [order for order in planned if order.pk not in held]
    return _still_planned(planned)


def _still_planned(known: Sequence[Order]) -> list[Order]:
    """Of these, those that are still to be sent."""
    rows = Order.objects.filter(pk__in=[order.pk for order in known], state=OrderState.PLANNED)
    still = set(rows.values_list("pk", flat=True))
    return [order for order in known if order.pk in still]


def _symbol(account: Account, instrument: Instrument) -> str:
    """The broker's name of what is traded; "" where there is none: nothing of it can be sent there, and nothing is."""
    try:
        return broker_symbol(account, instrument)
    except UnmappedInstrument as error:
        log.error("%s: orders of it stay PLANNED: %s", account.name, error)
        return ""


def build_request(order: Order) -> OrderRequest:
    """The port's request for an order row, its riding legs included. Raises UnmappedInstrument."""
    return _requests([order], {order.instrument_id: broker_symbol(order.account, order.instrument)}, rides=True)[0]


def _requests(rows: Sequence[Order], symbols: Mapping[int, str], *, rides: bool) -> list[OrderRequest]:
    """The port's requests for order rows, by their instruments' symbols; with the legs that ride on them."""
    riding: dict[int, dict[str, Order]] = {}
    for leg in Order.objects.filter(rides_on__in=rows) if rides else ():
        if leg.rides_on_id is not None:
            riding.setdefault(leg.rides_on_id, {})[leg.tag] = leg
    return [_request(row, symbols[row.instrument_id], riding.get(row.pk, {})) for row in rows]


def _request(order: Order, symbol: str, legs: Mapping[str, Order]) -> OrderRequest:
    decision = order.decision or (order.exit_intent.decision if order.exit_intent is not None else None)
    label = f"AXFL::{order.tag}"
    if decision is not None:
        label = f"AXFL::{decision.signal.strategy}::{order.instrument.symbol}::{order.tag}"
    return OrderRequest(
        client_id=order.client_order_id,
        instrument=symbol,
        side=Side(order.side),
        quantity=order.quantity.normalize(),
        type=OrderType(order.type),
        price=order.price,
        stop_loss=_riding(legs.get(Tag.STOP)),
        take_profit=_riding(legs.get(Tag.TP1)),
        reduce_only=order.reduce_only,
        good_till=order.good_till if order.type != OrderType.MARKET else None,
        label=label,
    )


def _riding(leg: Order | None) -> ProtectiveLeg | None:
    return None if leg is None or leg.price is None else ProtectiveLeg(leg.client_order_id, leg.price)


@transaction.atomic
def _put_back(claimed: Order) -> None:
    """An order whose turn did not come within its lease surely did not leave: it may be taken on again."""
    order = orders.locked(claimed.pk, account_id=claimed.account_id)
    attempts.end(key=attempts.send_key(order.pk))
    if order.state == OrderState.SENDING and order.lease_token == claimed.lease_token:
        orders.move(order, OrderState.PLANNED, at=now(order.account), reason=f"{NOT_SENT}: its lease was about to end")
