"""What the broker answered to the orders that were sent to it, stored: all of a batch in one transaction.

What always holds: the answer is kept before anything rests on it; only the holder of the current token moves an order;
what is neither an acceptance nor a real refusal leaves it UNKNOWN; an answer that cannot be stored does not keep those
beside it from being stored.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction

from trading.clock import now, wall_now
from trading.domain.broker import (
    EXCHANGE_CLOSED,
    NEEDS_LOGIN,
    NOT_SENT,
    Accepted,
    Capabilities,
    Refused,
    SubmitOutcome,
    Unknown,
)
from trading.domain.orders import PROTECTIVE_TAGS, OrderState, state_from_broker
from trading.domain.windows import until_open
from trading.failpoints import failpoint
from trading.models import Account, BrokerMessage, Order
from trading.services import attempts, logins, orders, plausibility
from trading.services.errors import RuleBroken
from trading.services.linking import link_legs
from trading.services.orders import Move

from .messages import keep_all

log = logging.getLogger(__name__)

# An order that was turned away for want of a login is tried again so late, one that could not leave so soon.
LOGIN_WAIT, ASK_AGAIN = timedelta(seconds=30), timedelta(seconds=2)
ENDED_AT_ONCE = (OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED)
# An order as it was taken on, and what came of sending it.
Answer = tuple[Order, SubmitOutcome]


def store(account: Account, answers: Sequence[Answer], able: Capabilities) -> None:
    """Store what was answered to orders of one account, together; one by one where one of them cannot be stored.

    Such a one stays SENDING and is looked up once its lease has passed, as after a lost answer.
    """
    try:
        _store(account, answers, able)
    except (DatabaseError, RuleBroken):
        if len(answers) < 2:
            raise
        for answer in answers:
            try:
                _store(account, [answer], able)
            except (DatabaseError, RuleBroken):
                log.exception("the answer to order %s cannot be stored; it is looked up", answer[0].client_order_id)


@transaction.atomic
def _store(account: Account, answers: Sequence[Answer], able: Capabilities) -> None:
    rows = {row.pk: row for row in orders.locked_all([sent.pk for sent, _ in answers], account_id=account.pk)}
    messages = keep_all("submit", [(rows[sent.pk], outcome.evidence) for sent, outcome in answers])
    failpoint("before_store")
    attempts.end_all(keys=[attempts.send_key(pk) for pk in rows])
    moment = now(account)
    moves: list[tuple[Move, SubmitOutcome]] = []
    for claimed, outcome in answers:
        order = rows[claimed.pk]
        order.decision = claimed.decision  # a fact: it need not be read again
        if order.lease_token != claimed.lease_token:
            continue  # somebody else has taken it on; what we saw is kept as evidence
        if isinstance(outcome, Accepted):
            order.broker_order_id = order.broker_order_id or outcome.broker_order_id
            link_legs(account, outcome.legs)
        if order.state == OrderState.SENDING:
            moves.append((_move(order, outcome, able, moment, messages.get(order.pk)), outcome))
        else:  # the broker's events were faster than its answer
            order.save(update_fields=["broker_order_id", "updated_at"])
    orders.move_all([move for move, _ in moves], at=moment)
    for move, outcome in moves:
        if isinstance(outcome, Refused) and outcome.code == NEEDS_LOGIN:
            logins.needs_login(account, outcome.message)
        elif isinstance(outcome, Unknown) and outcome.foreign:
            plausibility.tell_foreign(move.order, move.reason)


def _move(
    order: Order, outcome: SubmitOutcome, able: Capabilities, moment: datetime, message: BrokerMessage | None
) -> Move:
    """Where an order goes by what was answered to it."""
    if isinstance(outcome, Accepted):
        told = state_from_broker(outcome.status)
        to = told if told in ENDED_AT_ONCE else OrderState.WORKING  # a fill moves it when its event is booked
        return Move(order, to, outcome.reason or "accepted", message)
    if isinstance(outcome, Refused):
        reason = f"{outcome.code}: {outcome.message}"
        if (
            outcome.code == NEEDS_LOGIN
            or (outcome.code == NOT_SENT and not able.resends_when_absent)
            or (outcome.code == EXCHANGE_CLOSED and order.tag in PROTECTIVE_TAGS)
        ):
            # It surely did not arrive, so the same id may leave later; where no look-up could ever show that, now is
            # the only time to say so.
            wait = {NEEDS_LOGIN: LOGIN_WAIT, EXCHANGE_CLOSED: until_open(order.account.broker, moment)}
            order.next_check_at = wall_now() + wait.get(outcome.code, ASK_AGAIN)
            return Move(order, OrderState.PLANNED, reason, message)
        if outcome.code != NOT_SENT:
            return Move(order, OrderState.REJECTED, reason, message)
    order.next_check_at = wall_now()
    reason = outcome.message if isinstance(outcome, Refused) else outcome.reason
    return Move(order, OrderState.UNKNOWN, reason, message)
