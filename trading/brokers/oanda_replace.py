"""Replacing an order at OANDA: another one in its place, the same in all but what it may still fill, and its price.

What always holds: one GET and at most one PUT, and a typed outcome whatever happens. OANDA ends the old order and makes
a new one under the same client ids in one step, so there is never none and never two; the new one has an id of its own,
which the history tells as well (`OrderNews.replaces`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trading.brokers.budget import Lane
from trading.brokers.errors import BadData, ForeignAnswer
from trading.brokers.fields import Row, child, number, optional_text, text
from trading.brokers.oanda_client import OandaClient
from trading.brokers.oanda_lookup import Looking, order_by_specifier, specifier
from trading.brokers.oanda_parse import client_id, identifier
from trading.brokers.outcomes import uncertain, untrusted, without_answer
from trading.brokers.transport import read_json
from trading.domain.broker import (
    INVALID_REQUEST,
    NEEDS_LOGIN,
    NOT_SENT,
    Accepted,
    BrokerNeedsLogin,
    BrokerOrder,
    BrokerOrderStatus,
    BrokerUnreachable,
    Refused,
    SubmitOutcome,
)
from trading.domain.money import plain

# Orders that stand alone: their quantity and price are their own. A leg on a trade has the trade's quantity.
_ALONE = ("LIMIT", "STOP", "MARKET_IF_TOUCHED")
_KEPT = (
    "type", "instrument", "timeInForce", "gtdTime", "positionFill", "triggerCondition", "clientExtensions",
    "tradeClientExtensions", "stopLossOnFill", "takeProfitOnFill",
)  # fmt: skip


def replace(
    client: OandaClient, *, broker_order_id: str, known_client_id: str, quantity: Decimal | None, price: Decimal
) -> SubmitOutcome:
    """See the port. Never raises."""
    from oandapyV20.endpoints.orders import OrderReplace

    name = broker_order_id or (specifier(known_client_id) if known_client_id else "")
    if not name or not all(given.is_finite() and given > 0 for given in (quantity, price) if given is not None):
        message = "The change was not sent: it names no order, or no quantity and price above zero."
        return Refused(INVALID_REQUEST, message, ())
    lane: Lane = "general" if quantity is None else "reduce"
    looking = Looking(client, lane)
    try:
        known = order_by_specifier(looking, name)
    except BrokerNeedsLogin as error:
        return Refused(NEEDS_LOGIN, str(error), looking.evidence())
    except (BadData, BrokerUnreachable) as error:
        return Refused(NOT_SENT, f"The change was not sent: the order cannot be read ({error}).", looking.evidence())
    if known is None or known.status not in (BrokerOrderStatus.WORKING, BrokerOrderStatus.PARTIAL):
        return Refused(
            "ORDER_DOESNT_EXIST", "OANDA has no such resting order; nothing was changed.", looking.evidence()
        )
    if known.type not in _ALONE or known.side is None:
        message = f"The change was not sent: a {known.type} order has no quantity of its own."
        return Refused(INVALID_REQUEST, message, looking.evidence())
    if quantity is None:
        quantity = known.quantity
    if quantity is None:
        message = "The change was not sent: the order as OANDA shows it has no quantity."
        return Refused(INVALID_REQUEST, message, looking.evidence())
    units = quantity * known.side.sign
    body = {key: known.raw[key] for key in _KEPT if known.raw.get(key) is not None}
    body |= {"units": plain(units), "price": plain(price)}
    exchange = client.ask(OrderReplace(client.account_id, known.broker_order_id, data={"order": body}), lane=lane)
    looking.exchanges.append(exchange)
    early = without_answer(exchange, looking.evidence(), what="change", broker="OANDA")
    if early is not None:
        return early
    try:
        answer = read_json(exchange)
        if exchange.status in (200, 201):
            return _replaced(looking, known, units, price, answer)
        if exchange.status in (401, 403):
            return Refused(NEEDS_LOGIN, text(answer, "errorMessage")[:200], looking.evidence())
        if exchange.status in (400, 404):
            code = _reason(answer)
            return Refused(code, optional_text(answer, "errorMessage")[:500] or code, looking.evidence())
    except BadData as error:
        return untrusted(exchange, error, looking.evidence())
    return uncertain(exchange, looking.evidence(), what="change")


def _replaced(looking: Looking, known: BrokerOrder, units: Decimal, price: Decimal, answer: Row) -> Accepted:
    created = child(answer, "orderCreateTransaction")
    if text(created, "replacesOrderID") != known.broker_order_id or client_id(created) != known.client_id:
        raise ForeignAnswer("it is about another order")
    if number(created, "units") != units or number(created, "price") != price:
        raise ForeignAnswer("it is about another quantity or price")
    order_id, status = identifier(created, "id"), BrokerOrderStatus.WORKING
    reason = optional_text(created, "reason")
    if answer.get("orderFillTransaction") is not None:
        filled = abs(number(child(answer, "orderFillTransaction"), "units"))
        status = BrokerOrderStatus.FILLED if filled >= abs(units) else BrokerOrderStatus.PARTIAL
    if answer.get("replacingOrderCancelTransaction") is not None:
        ended: Any = child(answer, "replacingOrderCancelTransaction")
        status, reason = BrokerOrderStatus.CANCELLED, optional_text(ended, "reason")
    return Accepted(order_id, status, reason, looking.evidence())


def _reason(answer: Row) -> str:
    """OANDA's word for why; only an answer that carries the transaction of the refusal is one. Raises `BadData`."""
    for key in ("orderRejectTransaction", "orderCancelRejectTransaction"):
        if answer.get(key) is not None:
            return text(child(answer, key), "rejectReason")
    raise BadData("it carries no transaction of a refusal")
