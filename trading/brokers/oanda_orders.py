"""Placing and cancelling orders at OANDA: one POST or PUT each, and a typed outcome whatever happens.

What always holds:
- a submit makes exactly one POST; nothing here sends an order again. OANDA's client order id is free again as soon as
  its order is not pending, so a second POST could fill twice; as a second guard the same id goes to the trade, which
  makes OANDA cancel a repeated order while the first one's trade is open;
- `Refused` is a short list: our own refusal to send, no connection at all, 401/403, and a 400/404 that carries the
  reject transaction of this very order. All else that is not a readable acceptance is `Unknown`;
- an answer must echo our client id, account, instrument and units, or it is somebody else's answer: `Unknown`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trading.brokers.budget import Lane
from trading.brokers.errors import BadData, ForeignAnswer
from trading.brokers.fields import Row, child, number, optional_text, text
from trading.brokers.oanda_client import OandaClient
from trading.brokers.oanda_events import REJECTED, cancel_status
from trading.brokers.oanda_lookup import NO_SUCH_ORDER, Looking, order_by_client_id, order_by_specifier, specifier
from trading.brokers.oanda_parse import client_id, identifier
from trading.brokers.outcomes import uncertain, untrusted, without_answer
from trading.brokers.transport import read_json
from trading.brokers.wire import Exchange
from trading.domain.broker import (
    INVALID_REQUEST,
    NEEDS_LOGIN,
    Accepted,
    BrokerOrder,
    BrokerOrderStatus,
    BrokerUnreachable,
    Found,
    OrderRequest,
    OrderType,
    ProtectiveLeg,
    Refused,
    SubmitOutcome,
    Unknown,
)
from trading.domain.money import BadNumber, plain

TAG = "back-office"
_TEXT_LIMIT = 128
_ID_IN_USE = "CLIENT_ORDER_ID_ALREADY_EXISTS"
_TRADE_ID_IN_USE = "CLIENT_TRADE_ID_ALREADY_EXISTS"

# Refusals of a request so malformed that the reject transaction may lack the extensions, our id among them.
REFUSALS_WITHOUT_ECHO = frozenset(
    {
        "CLIENT_ORDER_ID_INVALID",
        "CLIENT_ORDER_TAG_INVALID",
        "CLIENT_ORDER_COMMENT_INVALID",
        "INSTRUMENT_MISSING",
        "INSTRUMENT_UNKNOWN",
        "INSTRUMENT_NOT_TRADEABLE",
        "UNITS_MISSING",
        "UNITS_INVALID",
        "UNITS_PRECISION_EXCEEDED",
        "PRICE_MISSING",
        "PRICE_INVALID",
        "PRICE_PRECISION_EXCEEDED",
        "TIME_IN_FORCE_INVALID",
        "ACCOUNT_NOT_ACTIVE",
        "ACCOUNT_LOCKED",
        "ACCOUNT_ORDER_CREATION_LOCKED",
    }
)


def submit(client: OandaClient, request: OrderRequest) -> SubmitOutcome:
    """Place one order. Never raises."""
    from oandapyV20.endpoints.orders import OrderCreate

    try:
        body = order_body(request)
    except ValueError as error:
        return Refused(INVALID_REQUEST, f"The order was not sent: {error}", ())
    lane: Lane = "reduce" if request.reduce_only else "general"
    exchange = client.ask(OrderCreate(client.account_id, data=body), lane=lane)
    evidence = client.evidence(exchange)
    early = without_answer(exchange, evidence, what="order", broker="OANDA")
    if early is not None:
        return early
    try:
        answer = read_json(exchange)
        if exchange.status in (200, 201):
            return _accepted(client, request, answer, exchange)
        if exchange.status in (401, 403):
            return _needs_login(client, answer, exchange)
        if exchange.status in (400, 404):
            return _refused(client, request, answer, exchange)
    except BadData as error:
        return untrusted(exchange, error, evidence)
    return uncertain(exchange, evidence, what="order")


def cancel(client: OandaClient, *, broker_order_id: str, known_client_id: str) -> SubmitOutcome:
    """Cancel one order by OANDA's id, or by ours when that is not known. Never raises.

    Accepted(CANCELLED) is also the outcome for an order that was cancelled before; one that had filled, or that OANDA
    does not know, is Refused(ORDER_DOESNT_EXIST) with the reason in its message.
    """
    from oandapyV20.endpoints.orders import OrderCancel

    if not broker_order_id and not known_client_id:
        return Refused(INVALID_REQUEST, "The cancel was not sent: it names no order.", ())
    name = broker_order_id or specifier(known_client_id)
    exchange = client.ask(OrderCancel(client.account_id, name), lane="reduce")
    evidence = client.evidence(exchange)
    early = without_answer(exchange, evidence, what="cancel", broker="OANDA")
    if early is not None:
        return early
    try:
        answer = read_json(exchange)
        if exchange.status in (200, 201):
            return _cancelled(client, answer, broker_order_id, known_client_id, exchange)
        if exchange.status in (401, 403):
            return _needs_login(client, answer, exchange)
        if exchange.status == 404 and _error_code(answer, "orderCancelRejectTransaction") in NO_SUCH_ORDER:
            return _why_not_pending(client, name, exchange)
    except BadData as error:
        return untrusted(exchange, error, evidence)
    return uncertain(exchange, evidence, what="cancel")


def order_body(request: OrderRequest) -> dict[str, Any]:
    """The order as OANDA wants it. Raises ValueError for an order that must not leave: no price, no quantity, no id."""
    if not 0 < len(request.client_id) <= _TEXT_LIMIT:
        raise ValueError(f"its client id must have 1 to {_TEXT_LIMIT} characters")
    if not (request.quantity.is_finite() and request.quantity > 0):
        raise ValueError(f"its quantity must be above zero, not {request.quantity}")
    order: dict[str, Any] = {
        "type": request.type.value,
        "instrument": request.instrument,
        "units": plain(request.quantity * request.side.sign),
        "positionFill": "REDUCE_ONLY" if request.reduce_only else "DEFAULT",
        "clientExtensions": _extensions(request.client_id, request.label),
        "tradeClientExtensions": _extensions(request.client_id, request.label),
    }
    if request.type is OrderType.MARKET:
        if request.price is not None or request.good_till is not None:
            raise ValueError("a market order has neither a price nor an end")
        order["timeInForce"] = "FOK"
    else:
        order["price"] = _price(request.price)
        order["timeInForce"] = "GTC" if request.good_till is None else "GTD"
        if request.good_till is not None:
            if request.good_till.utcoffset() is None:
                raise ValueError("its end has no time zone")
            order["gtdTime"] = request.good_till.isoformat()
    if request.stop_loss is not None:
        order["stopLossOnFill"] = _leg(request.stop_loss, request.label)
    if request.take_profit is not None:
        order["takeProfitOnFill"] = _leg(request.take_profit, request.label)
    return {"order": order}


def _leg(leg: ProtectiveLeg, label: str) -> dict[str, Any]:
    return {
        "price": _price(leg.price),
        "timeInForce": "GTC",
        "clientExtensions": _extensions(leg.client_id, label),
    }


def _extensions(known_client_id: str, label: str) -> dict[str, str]:
    extensions = {"id": known_client_id, "tag": TAG}
    return {**extensions, "comment": label[:_TEXT_LIMIT]} if label else extensions


def _price(price: Decimal | None) -> str:
    if price is None or not (price.is_finite() and price > 0):
        raise BadNumber(f"each of its prices must be above zero, not {price}")
    return plain(price)


def _needs_login(client: OandaClient, answer: Row, exchange: Exchange) -> Refused:
    message = text(answer, "errorMessage")
    return Refused(
        NEEDS_LOGIN,
        f"OANDA does not accept the key for account {client.account_id} ({message[:200]}). Nothing was done; a person "
        "must put a valid OANDA_API_KEY in place.",
        client.evidence(exchange),
    )


def _accepted(client: OandaClient, request: OrderRequest, answer: Row, exchange: Exchange) -> SubmitOutcome:
    created = child(answer, "orderCreateTransaction")
    _must_echo_id(client, request, created)
    _must_echo_terms(request, created)
    order_id = identifier(created, "id")
    status, reason = BrokerOrderStatus.WORKING, optional_text(created, "reason")
    if answer.get("orderFillTransaction") is not None:
        filling = child(answer, "orderFillTransaction")
        _must_be_about(filling, order_id)
        filled = abs(number(filling, "units"))
        status = BrokerOrderStatus.FILLED if filled >= request.quantity else BrokerOrderStatus.PARTIAL
        reason = optional_text(filling, "reason")
    if answer.get("orderCancelTransaction") is not None:
        cancelling = child(answer, "orderCancelTransaction")
        _must_be_about(cancelling, order_id)
        reason = optional_text(cancelling, "reason")
        status = cancel_status(reason)
        if reason == _TRADE_ID_IN_USE:
            return Unknown(
                "OANDA cancelled this copy of the order because an open trade carries its id: an earlier copy filled",
                client.evidence(exchange),
            )
    return Accepted(order_id, status, reason, client.evidence(exchange))


def _refused(client: OandaClient, request: OrderRequest, answer: Row, exchange: Exchange) -> SubmitOutcome:
    reject = child(answer, "orderRejectTransaction")
    if text(reject, "type") not in REJECTED:
        raise BadData(f"its reject transaction is a {text(reject, 'type'):.40}")
    code = optional_text(reject, "rejectReason") or text(answer, "errorCode")
    if client_id(reject) or code not in REFUSALS_WITHOUT_ECHO:
        _must_echo_id(client, request, reject)
    if code == _ID_IN_USE:
        return _already_there(client, request, exchange)
    if code == _TRADE_ID_IN_USE:
        return Unknown("an open trade carries the order's id: an earlier copy of it filled", client.evidence(exchange))
    message = optional_text(answer, "errorMessage") or code
    return Refused(code, message[:500], client.evidence(exchange))


def _already_there(client: OandaClient, request: OrderRequest, exchange: Exchange) -> SubmitOutcome:
    """OANDA says that a pending order has our id: take it as this order's acceptance if it is the same in all."""
    looking = Looking(client, "reduce" if request.reduce_only else "general", [exchange])
    found = order_by_client_id(looking, request.client_id, "")
    if not isinstance(found, Found) or not found.order.broker_order_id:
        return Unknown("OANDA knows the client id already, but the order could not be read", looking.evidence())
    if not _same_order(found.order, request):
        why = "OANDA knows the client id already, for an order with other terms"
        return Unknown(why, looking.evidence(), foreign=True)
    return Accepted(found.order.broker_order_id, found.order.status, _ID_IN_USE, looking.evidence())


def _same_order(order: BrokerOrder, request: OrderRequest) -> bool:
    return (order.instrument, order.side, order.quantity, order.type, order.price) == (
        request.instrument,
        request.side,
        request.quantity,
        request.type.value,
        request.price,
    )


def _must_echo_id(client: OandaClient, request: OrderRequest, row: Row) -> None:
    """The transaction must be about our request; anything else is another order's answer on our connection."""
    if client_id(row) != request.client_id:
        raise ForeignAnswer(f"it names the client id {client_id(row)!r:.60}, not ours")
    if optional_text(row, "accountID") not in ("", client.account_id):
        raise ForeignAnswer(f"it names the account {row.get('accountID')!r:.60}, not ours")


def _must_echo_terms(request: OrderRequest, row: Row) -> None:
    if text(row, "type") != f"{request.type.value}_ORDER" or text(row, "instrument") != request.instrument:
        raise ForeignAnswer("it is about another type of order or another instrument")
    if number(row, "units") != request.quantity * request.side.sign:
        raise ForeignAnswer(f"it is about {row.get('units')!r:.40} units, not ours")


def _must_be_about(row: Row, order_id: str) -> None:
    if identifier(row, "orderID") != order_id:
        raise BadData(f"its second transaction is about order {row.get('orderID')!r:.40}, not {order_id}")


def _error_code(answer: Row, transaction_key: str) -> str:
    if answer.get(transaction_key) is not None:
        return optional_text(child(answer, transaction_key), "rejectReason") or optional_text(answer, "errorCode")
    return optional_text(answer, "errorCode")


def _cancelled(
    client: OandaClient, answer: Row, broker_order_id: str, known_client_id: str, exchange: Exchange
) -> Accepted:
    cancelling = child(answer, "orderCancelTransaction")
    order_id = identifier(cancelling, "orderID")
    if broker_order_id and order_id != broker_order_id:
        raise BadData(f"it cancels order {order_id}, not {broker_order_id}")
    if known_client_id and optional_text(cancelling, "clientOrderID") not in ("", known_client_id):
        raise BadData("it names another client id than the order's")
    reason = optional_text(cancelling, "reason")
    return Accepted(order_id, cancel_status(reason), reason, client.evidence(exchange))


def _why_not_pending(client: OandaClient, name: str, exchange: Exchange) -> SubmitOutcome:
    """OANDA has no such pending order: see whether it filled or was cancelled before."""
    looking = Looking(client, "reduce", [exchange])
    try:
        order = order_by_specifier(looking, name)
    except (BadData, BrokerUnreachable) as error:
        return Unknown(f"no such order is pending, and what became of it is not known: {error}", looking.evidence())
    if order is None:
        return Refused("ORDER_DOESNT_EXIST", "OANDA knows no such order; nothing was cancelled.", looking.evidence())
    if order.raw.get("replacedByOrderID"):
        why = f"order {order.broker_order_id} goes on under another id, which its history tells: that one lives"
        return Unknown(why, looking.evidence())
    if order.status is BrokerOrderStatus.CANCELLED:
        return Accepted(order.broker_order_id, order.status, "ALREADY_CANCELLED", looking.evidence())
    if order.status is BrokerOrderStatus.FILLED:
        message = f"Order {order.broker_order_id} had FILLED before it could be cancelled."
        return Refused("ORDER_DOESNT_EXIST", message, looking.evidence())
    return Unknown(f"OANDA would not cancel the order, yet shows it as {order.raw_status:.40}", looking.evidence())
