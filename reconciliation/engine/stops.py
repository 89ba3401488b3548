"""The part of an approved resolution about stops that only the broker can do: a leg resized, or taken back.

What always holds: the rows are the work list, so whoever carried the resolution out, and whatever died then, each is
asked for once and its exchange kept as a message of the order; nothing is believed of the answer: the next complete
run says whether the case is over, and opens it again if not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django.db import transaction

from reconciliation.domain.kinds import Action
from reconciliation.domain.lifecycle import State
from reconciliation.models import Discrepancy
from reconciliation.services.resolutions import KIND_PREFIX
from reconciliation.services.stop_payloads import CANCEL, RESIZE
from trading.brokers.registry import BadConnection, MissingCredentials
from trading.domain.broker import Accepted, BrokerUnreachable, OrderPort
from trading.domain.money import parse_decimal
from trading.domain.orders import TERMINAL, OrderState
from trading.engine.canceller import cancel_order
from trading.engine.connections import connected
from trading.engine.inflow import catch_up, holder
from trading.engine.messages import keep
from trading.models import Account, Application, BrokerMessage, Order, Trade
from trading.services import groups, leases, orders

log = logging.getLogger(__name__)

KIND = KIND_PREFIX + Action.RESIZE_STOP
# What each is kept as, once it was asked for.
PURPOSE = {RESIZE: "replace", CANCEL: "cancel"}
# Longer than one question and the reading after it take: it is renewed between them.
LEASE_SECONDS = 60


def ask_for(account: Account) -> int:
    """Ask the broker for what applied resolutions of the account still want of resting stops; returns how many.

    One process at a time: whoever comes while another asks leaves it to that one, and to the next sweep.
    """
    if not _wanted(account):
        return 0
    key = f"stops:{account.pk}"
    token = leases.acquire(key=key, holder=holder(), seconds=LEASE_SECONDS)
    if token is None:
        return 0
    try:
        with connected(account) as broker:
            asked = 0
            for stop in _wanted(account):  # read again: whoever held the lease before may have asked
                if not leases.renew(key=key, token=token, seconds=LEASE_SECONDS):
                    break
                asked += _ask(stop, broker)
            return asked
    except (BrokerUnreachable, MissingCredentials, BadConnection) as error:
        log.warning("%s: stops that two people decided on could not be asked for: %s", account.name, error)
        return 0
    finally:
        leases.release(key=key, token=token)


def _wanted(account: Account) -> list[Mapping[str, Any]]:
    """What is still to be asked for, by the rows."""
    applied = Discrepancy.objects.filter(account=account, state=State.APPLIED, proposal__kind=KIND)
    applications = Application.objects.filter(proposal__in=applied.values("proposal")).select_related("proposal")
    return [
        stop
        for application in applications.order_by("pk")
        for stop in json.loads(application.proposal.payload).get("stops", ())
        if stop["do"] in PURPOSE and not _was_asked(stop, application)
    ]


def _was_asked(stop: Mapping[str, Any], application: Application) -> bool:
    since = BrokerMessage.objects.filter(recorded_at__gte=application.recorded_at, purpose=PURPOSE[stop["do"]])
    return since.filter(order__client_order_id=stop["client_id"]).exists()


def _ask(stop: Mapping[str, Any], broker: OrderPort) -> bool:
    order = Order.objects.get(client_order_id=stop["client_id"])
    if stop["do"] == RESIZE:
        trade = Trade.objects.filter(account=order.account_id, decision=order.decision_id).first()
        if trade is None or trade.open_quantity != parse_decimal(stop["holds"]):
            return False  # it has filled meanwhile: another size is right now, and the next run says which
        _resize(order, parse_decimal(stop["quantity"]), parse_decimal(stop["price"]), broker)
    elif order.state == OrderState.CANCELLING:
        cancel_order(order_id=order.pk, reason="two people decided so", broker=broker)
    elif order.state in TERMINAL:  # our books call it ended, and the broker has it all the same
        outcome = broker.cancel(broker_order_id=stop["broker_order_id"], client_id=order.client_order_id)
        with transaction.atomic():
            keep(orders.locked(order.pk), "cancel", outcome.evidence)
    else:
        return False
    return True


def _resize(order: Order, left: Decimal, price: Decimal, broker: OrderPort) -> None:
    """Let a stop that rests fill so much more. What is refused leaves it as it is: too small is better than none."""
    outcome = broker.replace(
        broker_order_id=order.broker_order_id, client_id=order.client_order_id, quantity=left, price=price
    )
    with transaction.atomic():
        row = orders.locked(order.pk)
        keep(row, PURPOSE[RESIZE], outcome.evidence)
        if isinstance(outcome, Accepted):
            groups.resized(order_id=row.pk, left=left, price=price)
    with suppress(BrokerUnreachable):  # the sweep reads on
        catch_up(account=order.account, broker=broker)
