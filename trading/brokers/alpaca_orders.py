"""Placing and cancelling orders at Alpaca: one POST or DELETE each, and a typed outcome whatever happens.

What always holds:
- a submit makes exactly one POST; nothing here sends an order again. Alpaca keeps a client id for ever, so a later copy
  under the same id is turned away, and that answer is read as what it is: the order lives;
- `Refused` is a short list: our own refusal to send, no connection at all, credentials turned away, "too many requests"
  in Alpaca's own words (it has then not looked at the order), and a 4xx with Alpaca's own code of the same kind. All
  else that is not a readable acceptance is `Unknown`;
- an acceptance must echo our client id, symbol, side, type and quantity, or it is somebody else's answer: `Unknown`;
- numbers leave as text, exactly as they are: nothing is rounded here, Alpaca refuses what it cannot take;
- an order that may only reduce says so twice: the position is read first, and an order that would open or turn it is
  not sent; and its `position_intent` lets Alpaca refuse one that arrives after the position has gone;
- Alpaca cannot end an order at a given moment (`Capabilities.good_till`): we cancel it then.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from trading.brokers.alpaca_client import AlpacaClient, error_code, is_login_refusal
from trading.brokers.alpaca_lookup import Looking, row_by_client_id, row_by_id
from trading.brokers.alpaca_parse import leg_news, number, optional_number, order, position, side_of, status_of
from trading.brokers.budget import Lane
from trading.brokers.errors import BadData, ForeignAnswer
from trading.brokers.fields import Row, identity, optional_text, text
from trading.brokers.outcomes import uncertain, untrusted, without_answer
from trading.brokers.transport import read_document
from trading.brokers.wire import Exchange
from trading.domain.broker import (
    INVALID_REQUEST,
    NEEDS_LOGIN,
    NOT_SENT,
    Accepted,
    BrokerNeedsLogin,
    BrokerOrderStatus,
    BrokerUnreachable,
    OrderRequest,
    OrderType,
    Refused,
    SubmitOutcome,
    Unknown,
)
from trading.domain.money import BadNumber, plain

_TEXT_LIMIT = 128
_TYPES = {OrderType.MARKET: "market", OrderType.LIMIT: "limit", OrderType.STOP: "stop"}
_PRICE_FIELD = {OrderType.LIMIT: "limit_price", OrderType.STOP: "stop_price"}
# The wording differs between revisions of the API; the code is shared with other refusals.
_ID_IN_USE = re.compile(r"client.?order.?id.*unique", re.IGNORECASE)
_REFUSALS = (400, 403, 404, 422)
NO_POSITION = "NO_POSITION_TO_REDUCE"
CANCEL_REQUESTED = "CANCEL_REQUESTED"


def submit(client: AlpacaClient, request: OrderRequest) -> SubmitOutcome:
    """Place one order. Never raises."""
    try:
        body = order_body(request)
    except ValueError as error:
        return Refused(INVALID_REQUEST, f"The order was not sent: {error}", ())
    lane: Lane = "reduce" if request.reduce_only else "general"
    looking = Looking(client, lane)
    try:
        client.check_account(lane=lane)
        if request.reduce_only:
            refused = _would_not_reduce(looking, request)
            if refused is not None:
                return refused
    except BrokerNeedsLogin as error:
        return Refused(NEEDS_LOGIN, str(error), looking.evidence())
    except (BadData, BrokerUnreachable) as error:
        message = f"The order was not sent, because the account could not be looked at first: {error}"
        return Refused(NOT_SENT, message, looking.evidence())
    exchange = client.ask("POST", "/orders", body, lane=lane)
    looking.exchanges.append(exchange)
    early = without_answer(exchange, looking.evidence(), what="order", broker="Alpaca")
    if early is not None:
        return early
    try:
        answer = read_document(exchange)
        if exchange.status in (200, 201):
            return _accepted(looking, request, answer)
        return _refused(looking, request, answer, exchange)
    except BadData as error:
        return untrusted(exchange, error, looking.evidence())


def cancel(client: AlpacaClient, *, broker_order_id: str, known_client_id: str) -> SubmitOutcome:
    """Ask for the cancel of one order, by Alpaca's id or by ours when that is not known. Never raises.

    Alpaca's yes is only "asked for", so the order is read again: Accepted carries the status found then, WORKING or
    PARTIAL while the cancel is under way, or its end, which may be FILLED. PARTIAL is also what an order is that ended
    after a part of it had filled: the history tells its end, after its executions. Refused for an order that Alpaca
    does not know.
    """
    if not broker_order_id and not known_client_id:
        return Refused(INVALID_REQUEST, "The cancel was not sent: it names no order.", ())
    looking = Looking(client, "reduce")
    try:
        if not broker_order_id:
            row = row_by_client_id(looking, known_client_id)
            if row is None:
                return _no_such_order(looking)
            broker_order_id = identity(row, "id")
    except BrokerNeedsLogin as error:
        return Refused(NEEDS_LOGIN, str(error), looking.evidence())
    except (BadData, BrokerUnreachable) as error:
        message = f"The cancel was not sent, because the order's id could not be looked up: {error}"
        return Refused(NOT_SENT, message, looking.evidence())
    exchange = client.ask("DELETE", f"/orders/{quote(broker_order_id, safe='')}", lane="reduce")
    looking.exchanges.append(exchange)
    early = without_answer(exchange, looking.evidence(), what="cancel", broker="Alpaca")
    if early is not None:
        return early
    if exchange.status == 204:
        return _as_found(looking, broker_order_id, asked=True)
    try:
        answer = read_document(exchange)
        if is_login_refusal(exchange.status, answer):
            return _needs_login(looking, answer)
    except BadData as error:
        return untrusted(exchange, error, looking.evidence())
    if exchange.status == 404 and error_code(answer) is not None:
        return _no_such_order(looking)
    if exchange.status == 422 and error_code(answer) is not None:
        return _as_found(looking, broker_order_id, asked=False)
    return uncertain(exchange, looking.evidence(), what="cancel")


def order_body(request: OrderRequest) -> dict[str, Any]:
    """The order as Alpaca wants it. Raises ValueError for one that must not leave.

    A market order without legs is for the day; all others rest until they are cancelled, since their legs guard a
    position for as long as it is held. One with an end of its own and no legs never outlives its day.
    """
    if not 0 < len(request.client_id) <= _TEXT_LIMIT:
        raise ValueError(f"its client id must have 1 to {_TEXT_LIMIT} characters")
    if not (request.quantity.is_finite() and request.quantity > 0):
        raise ValueError(f"its quantity must be above zero, not {request.quantity}")
    if request.quantity != request.quantity.to_integral_value():
        raise ValueError(f"only whole shares are sent, not {request.quantity}")
    if request.type not in _TYPES:
        raise ValueError(f"Alpaca has no {request.type} orders")
    legs = request.stop_loss is not None or request.take_profit is not None
    order: dict[str, Any] = {
        "symbol": request.instrument,
        "qty": plain(request.quantity),
        "side": request.side.value.lower(),
        "type": _TYPES[request.type],
        "client_order_id": request.client_id,
    }
    if request.reduce_only:
        order["position_intent"] = f"{order['side']}_to_close"
    if request.type is OrderType.MARKET:
        if request.price is not None or request.good_till is not None:
            raise ValueError("a market order has neither a price nor an end")
    else:
        order[_PRICE_FIELD[request.type]] = _price(request.price)
        if request.good_till is not None and request.good_till.utcoffset() is None:
            raise ValueError("its end has no time zone")
    for_the_day = not legs and (request.type is OrderType.MARKET or request.good_till is not None)
    order["time_in_force"] = "day" if for_the_day else "gtc"
    if legs:
        if request.reduce_only:
            raise ValueError("an order that only reduces has no legs")
        both = request.stop_loss is not None and request.take_profit is not None
        order["order_class"] = "bracket" if both else "oto"
    if request.stop_loss is not None:
        order["stop_loss"] = {"stop_price": _price(request.stop_loss.price)}
    if request.take_profit is not None:
        order["take_profit"] = {"limit_price": _price(request.take_profit.price)}
    return order


def _price(price: Any) -> str:
    if price is None or not (price.is_finite() and price > 0):
        raise BadNumber(f"each of its prices must be above zero, not {price}")
    return plain(price)


def _would_not_reduce(looking: Looking, request: OrderRequest) -> Refused | None:
    """The refusal of an order that would open or turn a position instead of reducing it; None when it reduces."""
    row = looking.ask(f"/positions/{quote(request.instrument, safe='')}", "the look-up of one position", {})
    held = position(row) if row is not None else []
    if held and held[0].instrument != request.instrument:
        raise BadData(f"asked for the position in {request.instrument}, got {held[0].instrument!r:.40}")
    if held and held[0].side is request.side.opposite and held[0].quantity >= request.quantity:
        return None
    there = f"{held[0].side} {held[0].quantity:f}" if held else "nothing"
    message = (
        f"The order was not sent: it may only reduce, but of {request.instrument} the account holds {there}, and "
        f"{request.side} {request.quantity:f} would open a position. Compare with the broker what is really held."
    )
    return Refused(NO_POSITION, message, looking.evidence())


def _accepted(looking: Looking, request: OrderRequest, answer: Any) -> Accepted:
    if not isinstance(answer, dict):
        raise BadData("it is JSON, but not an object")
    _must_be_the_same(request, answer)
    return Accepted(identity(answer, "id"), status_of(answer), _reason(answer), looking.evidence(), leg_news(answer))


def _refused(looking: Looking, request: OrderRequest, answer: Any, exchange: Exchange) -> SubmitOutcome:
    status, code = exchange.status, error_code(answer)
    if is_login_refusal(status, answer):
        return _needs_login(looking, answer)
    # Alpaca has used the code of a bad request under 422 for a client id that is taken.
    kinds = (status, 400) if status == 422 else (status,)
    if code is None or code // 100_000 not in kinds:
        return uncertain(exchange, looking.evidence(), what="order")
    message = optional_text(answer, "message")[:500]
    if status == 422 and _ID_IN_USE.search(message):
        return _already_there(looking, request)
    if status == 429:
        said = f"Alpaca has not looked at the order, because it gets too many requests: {message}"
        return Refused(NOT_SENT, said, looking.evidence())
    if status in _REFUSALS:
        return Refused(str(code), message or f"status {status}", looking.evidence())
    return uncertain(exchange, looking.evidence(), what="order")


def _already_there(looking: Looking, request: OrderRequest) -> SubmitOutcome:
    """Alpaca has an order with our id: that is this one's acceptance, if it is the same in all."""
    try:
        row = row_by_client_id(looking, request.client_id)
        if row is None:
            raise BadData("it cannot be found")
        _must_be_the_same(request, row)
        known = order(row)
        return Accepted(
            known.broker_order_id, known.status, "CLIENT_ORDER_ID_IN_USE", looking.evidence(), leg_news(row)
        )
    except (BadData, BrokerUnreachable) as error:
        why = f"Alpaca knows the client id already, but its order is not certain: {error}"
        return Unknown(why, looking.evidence(), foreign=isinstance(error, ForeignAnswer))


def _must_be_the_same(request: OrderRequest, row: Row) -> None:
    """The order must be the one that we asked for; anything else is another order's answer on our connection."""
    if text(row, "client_order_id") != request.client_id:
        raise ForeignAnswer(f"it names the client id {row.get('client_order_id')!r:.60}, not ours")
    if text(row, "symbol") != request.instrument or side_of(row) is not request.side:
        raise ForeignAnswer("it is about another share or the other side")
    if text(row, "type") != _TYPES[request.type] or number(row, "qty") != request.quantity:
        raise ForeignAnswer(f"it is about a {row.get('type')!r:.20} order of {row.get('qty')!r:.40}, not ours")
    if request.type in _PRICE_FIELD and optional_number(row, _PRICE_FIELD[request.type]) != request.price:
        raise ForeignAnswer("it is about another price")


def _as_found(looking: Looking, order_id: str, *, asked: bool) -> SubmitOutcome:
    """What a cancel came to, as the order itself shows it."""
    try:
        row = row_by_id(looking, order_id)
        if row is None:
            raise BadData("it is not found")
        known = order(row)
    except (BadData, BrokerUnreachable) as error:
        if asked:
            return Accepted(order_id, BrokerOrderStatus.WORKING, CANCEL_REQUESTED, looking.evidence())
        return Unknown(f"Alpaca would not cancel the order, and it could not be read: {error}", looking.evidence())
    status = known.status if known.status is not BrokerOrderStatus.OTHER else BrokerOrderStatus.WORKING
    if known.raw_status == "replaced":
        # Another order has taken its place and lives; the history, read next, names it.
        return Accepted(order_id, BrokerOrderStatus.WORKING, "REPLACED", looking.evidence())
    if status in (BrokerOrderStatus.CANCELLED, BrokerOrderStatus.EXPIRED) and known.filled > 0:
        # It has ended, but not before its executions are known: who believed its end now would count too few of them.
        reason = f"ENDED_AFTER_PART ({known.raw_status:.40}, {known.filled:f} filled)"
        return Accepted(order_id, BrokerOrderStatus.PARTIAL, reason, looking.evidence())
    if status in (BrokerOrderStatus.WORKING, BrokerOrderStatus.PARTIAL):
        reason = CANCEL_REQUESTED if asked else f"NOT_CANCELABLE_NOW ({known.raw_status:.40})"
    else:
        reason = known.raw_status if asked else f"HAD_ENDED ({known.raw_status:.40})"
    return Accepted(order_id, status, reason, looking.evidence())


def _no_such_order(looking: Looking) -> Refused:
    return Refused("ORDER_DOESNT_EXIST", "Alpaca knows no such order; nothing was cancelled.", looking.evidence())


def _needs_login(looking: Looking, answer: Any) -> Refused:
    said = optional_text(answer, "message")[:200] if isinstance(answer, dict) else ""
    return Refused(
        NEEDS_LOGIN,
        f"Alpaca does not accept the key for account {looking.client.account_id} ({said}). Nothing was done; a person "
        "must put a valid ALPACA_API_KEY and ALPACA_SECRET_KEY in place.",
        looking.evidence(),
    )


def _reason(row: Row) -> str:
    return text(row, "status")
