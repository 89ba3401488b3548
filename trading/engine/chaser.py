"""The chaser: limit entries that have not filled follow the market, tick by tick, as far as was decided.

What always holds: that an order is being moved is committed before its broker is asked, which replaces it in one step:
there is never none and never two. One of which it is not known at which price it rests is cancelled; a fill that comes
first wins: the broker refuses the change, and its history, read next, tells the fill. An entry that can follow no
further waits for its time-out.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from decimal import Decimal

from django.db import transaction

from trading.domain.broker import Accepted, Broker, BrokerUnreachable, Side, Unknown
from trading.domain.chase import next_price
from trading.failpoints import failpoint
from trading.models import Account, Order
from trading.selectors.instruments import broker_symbol
from trading.services import entries, orders

from .canceller import cancel_order
from .connections import connected
from .inflow import catch_up
from .messages import keep

log = logging.getLogger(__name__)


def chase(account: Account, broker: Broker | None = None) -> int:
    """Move the account's limit entries that were left behind; returns how many were.

    Raises MissingCredentials or BrokerUnreachable when the account's broker cannot be asked.
    """
    waiting = [] if account.is_paper_book else entries.left_behind(account)
    if not waiting:
        return 0
    with connected(account, broker) as port:
        names = {order.pk: broker_symbol(account, order.instrument) for order in waiting}
        quotes = {quote.instrument: quote for quote in port.prices(sorted(set(names.values())))}
        moved = 0
        for order in waiting:
            quote = quotes.get(names[order.pk])
            if quote is not None and quote.tradeable:
                market = quote.ask if order.side == Side.BUY else quote.bid
                moved += _follow(order, market, port)
        return moved


def _follow(order: Order, market: Decimal, broker: Broker) -> bool:
    """Ask for the price that the order should rest at now; whether the broker took it."""
    assert order.decision is not None and order.price is not None
    price = next_price(
        Side(order.side),
        decided=order.decision.signal.entry,
        resting=order.price,
        market=market,
        tick=order.instrument.tick_size,
        most_ticks=entries.most_ticks(order),
    )
    if price is None or not entries.claim(order_id=order.pk):
        return False
    outcome = broker.replace(
        broker_order_id=order.broker_order_id, client_id=order.client_order_id, quantity=None, price=price.normalize()
    )
    failpoint("chase_after_response")
    with transaction.atomic():
        row = orders.locked(order.pk)
        keep(row, "replace", outcome.evidence)
        if isinstance(outcome, Accepted):
            entries.repriced(order_id=order.pk, price=price)
    with suppress(BrokerUnreachable):  # the sweep reads on
        catch_up(account=order.account, broker=broker)
    if isinstance(outcome, Unknown):
        log.warning("order %s: it is not known at which price it rests: %s", order.client_order_id, outcome.reason)
        cancel_order(order_id=order.pk, reason="it is not known at which price it rests", broker=broker)
    return isinstance(outcome, Accepted)
