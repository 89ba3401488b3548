"""The order sender: claim in a transaction, send on the wire, store in a transaction. The Order row is the outbox.

What always holds: nothing is sent before its intent is committed, nor inside a transaction; only the holder of the
current token sends, and never once its lease is about to end; an outcome that is not a real refusal or an acceptance
is UNKNOWN and is never resent from here; an order that kills its worker again and again is left alone and reported.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from django.db import transaction

from trading.clock import now, wall_now
from trading.domain.broker import (
    NEEDS_LOGIN,
    NOT_SENT,
    Accepted,
    BrokerUnreachable,
    Capabilities,
    OrderPort,
    OrderRequest,
    OrderType,
    ProtectiveLeg,
    Refused,
    Side,
    SubmitOutcome,
    Unknown,
)
from trading.domain.order_limits import not_allowed
from trading.domain.orders import PROTECTIVE_TAGS, TERMINAL, OrderState, Tag, state_from_broker
from trading.failpoints import failpoint
from trading.models import Account, Order, OrderGroup, Trade
from trading.selectors.instruments import broker_symbol
from trading.selectors.policies import policy_of
from trading.services import attempts, cursors, groups, logins, orders, plausibility
from trading.services.inbox import INFLOW
from trading.services.linking import link_legs
from trading.services.restrictions import OPEN, trading_state

from .connections import broker_for
from .inflow import catch_up
from .messages import keep
from .room import make_room

# How long a send may wait for our own rate budget, and again how long its exchange may take.
REQUEST_DEADLINE = timedelta(seconds=3)
LEASE = timedelta(seconds=8)
# An order that was turned away for want of a login is tried again so late, one that could not leave so soon.
LOGIN_WAIT, ASK_AGAIN = timedelta(seconds=30), timedelta(seconds=2)
# Restrictions that pass once a reconciliation is complete, or once orders have been looked up: nobody has to act.
PASSING = ("startup: ", "reconciliation: ORDER_UNCONFIRMED ")
ENDED_AT_ONCE = (OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED)


def send_order(*, order_id: int, broker: OrderPort | None = None) -> Order:
    """Send a PLANNED order once. Safe to call at any time, by anyone, any number of times.

    Raises MissingCredentials when the account's broker cannot be reached at all for want of them; the order stays
    PLANNED then. Never raises for what the broker does: that is stored on the order.
    """
    order = Order.objects.select_related("account__policy", "exit_intent", "decision__signal").get(pk=order_id)
    if order.state != OrderState.PLANNED or order.rides_on_id is not None:
        return order
    failpoint("intent_committed")
    opened = None
    if broker is None:
        opened = broker = broker_for(order.account)
    try:
        if order.reduce_only and not make_room(order, broker):
            return Order.objects.get(pk=order_id)
        failpoint("room_made")
        claimed = _claim(order, broker.capabilities)
        if claimed is None:
            return Order.objects.get(pk=order_id)
        failpoint("claimed")
        request = build_request(claimed)
        if not broker.capabilities.native_bracket:
            request = replace(request, stop_loss=None, take_profit=None)
        failpoint("before_send")
        if not _still_ours(claimed):
            return Order.objects.get(pk=order_id)
        outcome = broker.submit(request)
        failpoint("after_response")
        _store(claimed, outcome, broker.capabilities)
        failpoint("stored")
        if isinstance(outcome, Accepted):
            with suppress(BrokerUnreachable):  # the order is stored as accepted; the watcher fetches its events
                catch_up(account=claimed.account, broker=broker)
        return Order.objects.get(pk=order_id)
    finally:
        if opened is not None:
            opened.close()


@transaction.atomic
def _claim(known: Order, able: Capabilities) -> Order | None:
    """Take the order on, if it may be sent now. `known` is the row as it was read, with the facts around it."""
    order_id = known.pk
    order = orders.locked(order_id)
    order.decision = known.decision  # facts do not change: they need not be read again under the lock
    if order.account.policy_id == known.account.policy_id:
        order.account.policy = known.account.policy
    if order.state != OrderState.PLANNED or order.rides_on_id is not None:
        return None
    moment = now(order.account)
    if order.good_till is not None and moment > order.good_till:
        orders.move(order, OrderState.EXPIRED, at=moment, reason="its time had passed before it could be sent")
        return None
    if order.tag == Tag.ENTRY:
        for hindrance in (
            _limits_say, partial(_restrictions_say, moment=moment), partial(_groups_say, able=able), _paper_says,
        ):  # fmt: skip
            wait, reason = hindrance(order)
            if reason:
                orders.move(order, OrderState.CANCELLED, at=moment, reason=reason)
            if wait or reason:
                return None
        age = moment - order.at
        if order.attempt:  # leases and quarantines pass on the wall, where a simulator's clock may run fast
            age = min(age, wall_now() - order.recorded_at)
        if order.type == OrderType.MARKET and age > policy_of(order.account).entry_age_limit:
            # The room that was reserved for it was measured at its own price and time.
            orders.move(order, OrderState.EXPIRED, at=moment, reason=f"not sent: it is {age} old")
            return None
        if not able.native_bracket:
            groups.let_go_of_riding_legs(order)
    elif order.tag in PROTECTIVE_TAGS and (reason := groups.no_longer_wanted(order)):
        orders.move(order, OrderState.CANCELLED, at=moment, reason=reason)
        return None
    if order.account.broker != Account.Broker.PAPER and not attempts.begin(key=attempt_key(order_id)):
        return None
    order.attempt += 1
    order.lease_token += 1
    order.lease_until = wall_now() + LEASE
    # The last byte can leave at the lease's end, and its exchange can last one deadline more (see `_still_ours`).
    quarantine = timedelta(seconds=int(policy_of(order.account).quarantine_seconds))
    order.quarantine_until = order.lease_until + REQUEST_DEADLINE + quarantine
    if not order.since_event_id:
        order.since_event_id = cursors.get(order.account, INFLOW)
    orders.move(order, OrderState.SENDING, at=moment, reason=f"attempt {order.attempt}")
    return order


def _restrictions_say(order: Order, *, moment: datetime) -> tuple[bool, str]:
    """Whether an entry may be sent now: (wait for that, why it never may)."""
    strategy = order.decision.signal.strategy if order.decision is not None else ""
    state, reasons = trading_state(order.account, strategy, order.instrument, at=moment)
    # What stands only because nobody knew whether this very order had arrived must not keep it from being sent again.
    reasons = [reason for reason in reasons if order.client_order_id not in reason]
    if state == OPEN or not reasons:
        return False, ""
    if all(reason.startswith(PASSING) for reason in reasons):
        return True, ""
    return False, f"not sent: {'; '.join(reasons)}"


def _limits_say(order: Order) -> tuple[bool, str]:
    """Whether the instrument allows this order at all: it is never cut here, and never sent to be refused."""
    instrument = order.instrument
    why = not_allowed(
        quantity=order.quantity,
        price=order.price,
        lot=instrument.lot_size,
        least=instrument.min_units,
        most=instrument.max_units,
        price_step=Decimal(1).scaleb(-instrument.price_decimals),
    )
    return False, f"not sent: {why}" if why else ""


def _groups_say(order: Order, *, able: Capabilities) -> tuple[bool, str]:
    """No new risk beside a trade that is not covered, or whose legs are not yet what they should be: wait for that."""
    if OrderGroup.objects.filter(account=order.account, state=OrderGroup.State.UNSAFE).exists():
        return True, ""
    return not able.native_bracket and not groups.is_settled(order.account, groups.Manner.of(able)), ""


def _paper_says(order: Order) -> tuple[bool, str]:
    """A mirror enters only what its paper account has entered: (wait for it, why it never will)."""
    paper = order.account.mirror_of
    if paper is None or order.decision is None:
        return False, ""
    entry = Order.objects.filter(account=paper, decision=order.decision, tag=Tag.ENTRY).first()
    if entry is None:
        return False, ""
    if Trade.objects.filter(account=paper, decision=order.decision, state=Trade.State.CLOSED).exists():
        return False, "not sent: the paper trade has ended already"
    if entry.filled_quantity == 0 and OrderState(entry.state) in TERMINAL:
        return False, f"not sent: the paper entry ended {entry.state} without a fill"
    return entry.state in (OrderState.PLANNED, OrderState.SENDING, OrderState.UNKNOWN), ""


def attempt_key(order_id: int) -> str:
    """Under which the sends of an order that never ended are counted, over all its attempts."""
    return f"orders.send:{order_id}"


def _still_ours(claimed: Order) -> bool:
    """The fence: a worker that was stopped and woke up after its lease passed must not send.

    The lease must last for another deadline, because a send may wait that long for our own rate budget.
    """
    return Order.objects.filter(
        pk=claimed.pk,
        state=OrderState.SENDING,
        lease_token=claimed.lease_token,
        lease_until__gt=wall_now() + REQUEST_DEADLINE,
    ).exists()


def build_request(order: Order) -> OrderRequest:
    """The port's request for an order row, its riding legs included."""
    legs = {leg.tag: leg for leg in Order.objects.filter(rides_on=order)}
    stop, target = legs.get(Tag.STOP), legs.get(Tag.TP1)
    decision = order.decision or (order.exit_intent.decision if order.exit_intent is not None else None)
    label = f"AXFL::{order.tag}"
    if decision is not None:
        label = f"AXFL::{decision.signal.strategy}::{order.instrument.symbol}::{order.tag}"
    return OrderRequest(
        client_id=order.client_order_id,
        instrument=broker_symbol(order.account, order.instrument),
        side=Side(order.side),
        quantity=order.quantity.normalize(),
        type=OrderType(order.type),
        price=order.price,
        stop_loss=_riding(stop),
        take_profit=_riding(target),
        reduce_only=order.reduce_only,
        good_till=order.good_till if order.type != OrderType.MARKET else None,
        label=label,
    )


def _riding(leg: Order | None) -> ProtectiveLeg | None:
    return None if leg is None or leg.price is None else ProtectiveLeg(leg.client_order_id, leg.price)


@transaction.atomic
def _store(claimed: Order, outcome: SubmitOutcome, able: Capabilities) -> None:
    order = orders.locked(claimed.pk)
    message = keep(order, "submit", outcome.evidence)
    failpoint("before_store")
    attempts.end(key=attempt_key(order.pk))
    if order.lease_token != claimed.lease_token:
        return  # somebody else has taken it on; what we saw is kept as evidence
    if isinstance(outcome, Accepted) and outcome.broker_order_id and not order.broker_order_id:
        order.broker_order_id = outcome.broker_order_id
        order.save(update_fields=["broker_order_id", "updated_at"])
    if isinstance(outcome, Accepted):
        link_legs(order.account, outcome.legs)
    if order.state != OrderState.SENDING:
        return  # the broker's events were faster than its answer
    moment = now(order.account)
    if isinstance(outcome, Accepted):
        told = state_from_broker(outcome.status)
        to = told if told in ENDED_AT_ONCE else OrderState.WORKING  # a fill moves it when its event is booked
        orders.move(order, to, at=moment, reason=outcome.reason or "accepted", message=message)
    elif isinstance(outcome, Refused) and (
        outcome.code == NEEDS_LOGIN or (outcome.code == NOT_SENT and not able.resends_when_absent)
    ):
        # It surely did not arrive, so the same id may leave later; where no look-up could ever show that, now is the
        # only time to say so.
        order.next_check_at = wall_now() + (LOGIN_WAIT if outcome.code == NEEDS_LOGIN else ASK_AGAIN)
        orders.move(order, OrderState.PLANNED, at=moment, reason=f"{outcome.code}: {outcome.message}", message=message)
        if outcome.code == NEEDS_LOGIN:
            logins.needs_login(order.account, outcome.message)
    elif isinstance(outcome, Refused) and outcome.code != NOT_SENT:
        reason = f"{outcome.code}: {outcome.message}"
        orders.move(order, OrderState.REJECTED, at=moment, reason=reason, message=message)
    else:
        reason = outcome.message if isinstance(outcome, Refused) else outcome.reason
        order.next_check_at = wall_now()
        orders.move(order, OrderState.UNKNOWN, at=moment, reason=reason, message=message)
        if isinstance(outcome, Unknown) and outcome.foreign:
            plausibility.tell_foreign(order, reason)
