"""Placing, changing and cancelling orders at Kite: one request each, and a typed outcome whatever happens.

What always holds:
- a submit makes exactly one POST; nothing here sends an order again. Kite has no key that would recognise a copy: the
  label is only a label, so after an unknown outcome today's orders are searched for it, and a person decides the rest;
- `Refused` is a short list: our own refusal to send, no connection at all, a token turned away, "too many requests" in
  Kite's own envelope (it has then not looked at the order), and a 400 in that envelope with one of `_REFUSALS`. All
  else that is not a readable acceptance with status 200 is `Unknown`, also a 500 with the body of a success;
- an acceptance says an id and nothing more: that the exchange has the order only its events tell. It echoes nothing of
  ours, so today's orders are asked whether that id is our order: an answer that they contradict is somebody else's;
- numbers leave as text, exactly as they are: nothing is rounded here, Kite refuses what is off its tick or lot;
- an order that may only reduce is sent only where the account holds as much of the same product;
- orders are for the day (`Capabilities.good_till`: an earlier end is ours to make by a cancel).
"""

from __future__ import annotations

import re
from decimal import Decimal

from trading.brokers.budget import Lane
from trading.brokers.errors import BadData, ForeignAnswer
from trading.brokers.fields import Row, child, identity, optional_text, rows, text
from trading.brokers.kite_client import KiteClient, refusal
from trading.brokers.kite_lookup import Looking
from trading.brokers.kite_parse import (
    CARRIED,
    DELIVERY,
    EQUITY,
    TRIGGERED_TYPES,
    filled_of,
    has_ended,
    order,
    side_of,
    symbol,
    tag_of,
)
from trading.brokers.kite_parse import positions as held_positions
from trading.brokers.outcomes import uncertain, untrusted, without_answer
from trading.brokers.transport import read_json
from trading.brokers.wire import Exchange
from trading.domain.broker import (
    EXCHANGE_CLOSED,
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
    Side,
    SubmitOutcome,
    Unknown,
)
from trading.domain.money import BadNumber, plain

_LABEL = re.compile(r"[A-Za-z0-9]{1,20}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPES = {OrderType.MARKET: "MARKET", OrderType.LIMIT: "LIMIT", OrderType.STOP: "SL-M"}
# The exchange protects a market order from far prices; this asks for its own measure of that.
_PROTECTED = (OrderType.MARKET, OrderType.STOP)
_AUTOMATIC = "-1"
_REFUSALS = frozenset({"InputException", "OrderException", "MarginException", "HoldingException"})
_CLOSED = re.compile(r"\bmarkets? (is|are) closed\b", re.IGNORECASE)
REGULAR = "regular"
RECEIVED, CANCEL_REQUESTED, REPLACE_REQUESTED = "RECEIVED", "CANCEL_REQUESTED", "REPLACE_REQUESTED"
NO_POSITION = "NO_POSITION_TO_REDUCE"
NO_ORDER = "ORDER_DOESNT_EXIST"


def submit(client: KiteClient, request: OrderRequest, *, product: str = "") -> SubmitOutcome:
    """Place one order. `product` overrules delivery for shares and NRML for derivatives. Never raises."""
    try:
        fields = order_fields(request, product)
    except ValueError as error:
        return Refused(INVALID_REQUEST, f"The order was not sent: {error}", ())
    lane: Lane = "reduce" if request.reduce_only else "general"
    looking = Looking(client, lane)
    try:
        client.check_account(lane=lane)
        if request.reduce_only:
            refused = _would_not_reduce(looking, request, fields["product"])
            if refused is not None:
                return refused
            looking.exchanges.clear()  # what forbids an order is evidence; what allows it is not kept
    except BrokerNeedsLogin as error:
        return Refused(NEEDS_LOGIN, str(error), looking.evidence())
    except (BadData, BrokerUnreachable) as error:
        message = f"The order was not sent, because the account could not be looked at first: {error}"
        return Refused(NOT_SENT, message, looking.evidence())
    exchange = client.ask(lambda kite: kite.place_order(REGULAR, **fields), kind="order", lane=lane)
    looking.exchanges.append(exchange)
    answer = _answer(looking, exchange, "order")
    if isinstance(answer, Refused | Unknown):
        return answer
    try:
        key = identity(child(answer, "data"), "order_id")
        _must_be_ours(looking, key, request)
    except BadData as error:
        return _untrusted(looking, error)
    return Accepted(key, BrokerOrderStatus.WORKING, RECEIVED, looking.evidence())


def cancel(client: KiteClient, *, broker_order_id: str, tag: str) -> SubmitOutcome:
    """Ask for the cancel of one order, by Kite's id or by our label when that is not known. Never raises.

    Kite's yes is only "asked for", so the order is read again: Accepted carries the status found then, WORKING or
    PARTIAL while the cancel is under way, or its end, which may be FILLED.
    """
    looking = Looking(client, "reduce")
    row = _found(looking, broker_order_id, tag, "cancel")
    if isinstance(row, Refused):
        return row
    key = identity(row, "order_id")
    if has_ended(row):
        return _as_shown(looking, row, "HAD_ENDED")
    exchange = client.ask(
        lambda kite: kite.cancel_order(optional_text(row, "variety") or REGULAR, key), kind="order", lane="reduce"
    )
    looking.exchanges.append(exchange)
    answer = _answer(looking, exchange, "cancel")
    if isinstance(answer, Unknown) or (isinstance(answer, Refused) and answer.code in (NOT_SENT, NEEDS_LOGIN)):
        return answer
    asked = not isinstance(answer, Refused)
    try:
        if not isinstance(answer, Refused):
            _must_name(answer, key)
        known = looking.order(key)
        if known is None:
            raise BadData("today's orders do not have it")
        return _as_shown(looking, known, CANCEL_REQUESTED if asked else "NOT_CANCELABLE_NOW")
    except ForeignAnswer as error:
        return _untrusted(looking, error)
    except (BadData, BrokerUnreachable) as error:
        if asked:
            return Accepted(key, BrokerOrderStatus.WORKING, CANCEL_REQUESTED, looking.evidence())
        return Unknown(f"Kite would not cancel the order, and it could not be read: {error}", looking.evidence())


def replace(
    client: KiteClient, *, broker_order_id: str, tag: str, quantity: Decimal | None, price: Decimal
) -> SubmitOutcome:
    """Let a resting order fill only `quantity` more (None: what was left), at `price`; it keeps its id. Never raises.

    Kite counts what has filled into an order's quantity. Should more fill while this is under way, less of it is left:
    never more than was asked for.
    """
    lane: Lane = "general" if quantity is None else "reduce"
    looking = Looking(client, lane)
    given = [price] if quantity is None else [price, quantity]
    if not all(value.is_finite() and value > 0 for value in given) or (quantity is not None and quantity % 1):
        return Refused(INVALID_REQUEST, "The change was not sent: quantity and price must be above zero.", ())
    row = _found(looking, broker_order_id, tag, "change")
    if isinstance(row, Refused):
        return row
    if has_ended(row):
        return Refused(
            "ORDER_HAS_ENDED", f"The order is {text(row, 'status')}; nothing was changed.", looking.evidence()
        )
    key, kind = identity(row, "order_id"), optional_text(row, "order_type")
    try:
        fields = {"order_type": kind, "trigger_price" if kind in TRIGGERED_TYPES else "price": plain(price)}
        if quantity is not None:
            fields["quantity"] = plain(filled_of(row) + quantity)
    except BadData as error:
        return Refused(NOT_SENT, f"The change was not sent: {error}", looking.evidence())
    exchange = client.ask(
        lambda kite: kite.modify_order(optional_text(row, "variety") or REGULAR, key, **fields),
        kind="order",
        lane=lane,
    )
    looking.exchanges.append(exchange)
    answer = _answer(looking, exchange, "change")
    if isinstance(answer, Refused | Unknown):
        return answer
    try:
        _must_name(answer, key)
    except BadData as error:
        return _untrusted(looking, error)
    return Accepted(key, BrokerOrderStatus.WORKING, REPLACE_REQUESTED, looking.evidence())


def order_fields(request: OrderRequest, product: str = "") -> dict[str, str]:
    """The order as Kite wants it. Raises ValueError for one that must not leave."""
    exchange, _, name = request.instrument.partition(":")
    if not exchange or not name:
        raise ValueError(f"its instrument must be EXCHANGE:SYMBOL, not {request.instrument!r:.60}")
    if _LABEL.fullmatch(request.client_id) is None:
        raise ValueError("its client id must have 1 to 20 letters and digits")
    if not (request.quantity.is_finite() and request.quantity > 0):
        raise ValueError(f"its quantity must be above zero, not {request.quantity}")
    if request.quantity != request.quantity.to_integral_value():
        raise ValueError(f"only whole units are sent, not {request.quantity}")
    if request.type not in _TYPES:
        raise ValueError(f"Kite has no {request.type} orders")
    if request.stop_loss is not None or request.take_profit is not None:
        raise ValueError("Kite links no orders: its stop and target are orders of their own")
    fields = {
        "exchange": exchange,
        "tradingsymbol": name,
        "transaction_type": request.side.value,
        "quantity": plain(request.quantity),
        "product": product or (DELIVERY if exchange in EQUITY else CARRIED),
        "order_type": _TYPES[request.type],
        "validity": "DAY",
        "tag": request.client_id,
    }
    if request.type in _PROTECTED:
        fields["market_protection"] = _AUTOMATIC
    if request.type is OrderType.MARKET:
        if request.price is not None or request.good_till is not None:
            raise ValueError("a market order has neither a price nor an end")
    else:
        if request.price is None or not (request.price.is_finite() and request.price > 0):
            raise BadNumber(f"its price must be above zero, not {request.price}")
        fields["price" if request.type is OrderType.LIMIT else "trigger_price"] = plain(request.price)
    return fields


def _would_not_reduce(looking: Looking, request: OrderRequest, product: str) -> Refused | None:
    """The refusal of an order that would open or turn a position instead of reducing it; None when it reduces."""
    shown = looking.read(lambda kite: kite.positions(), "the positions")
    holdings = looking.read(lambda kite: kite.holdings(), "the holdings")
    if not isinstance(shown, dict) or not isinstance(holdings, list):
        raise BadData("the positions are no object, or the holdings no list")
    if not all(isinstance(row, dict) for row in holdings):
        raise BadData("the holdings are no list of objects")
    mine = [
        row for row in rows(shown, "net") if f"{row.get('exchange')}:{row.get('tradingsymbol')}" == request.instrument
    ]
    delivered = [row for row in holdings if f"{row.get('exchange')}:{row.get('tradingsymbol')}" == request.instrument]
    found, part = held_positions(mine, delivered)
    if part.reason:
        raise BadData(part.reason)
    held = sum((each.side.sign * each.quantity for each in found if each.product == product), Decimal(0))
    if held * request.side.sign < 0 and abs(held) >= request.quantity:
        return None
    there = f"{Side.BUY if held > 0 else Side.SELL} {abs(held):f}" if held else "nothing"
    message = (
        f"The order was not sent: it may only reduce, but of {request.instrument} ({product}) the account holds "
        f"{there}, and {request.side} {request.quantity:f} would open a position. Compare with the broker what is "
        "really held."
    )
    return Refused(NO_POSITION, message, looking.evidence())


def _found(looking: Looking, broker_order_id: str, tag: str, what: str) -> Row | Refused:
    """The order that a request is about, as it is now, or why the request was not sent."""
    if (broker_order_id and _ID.fullmatch(broker_order_id) is None) or not (broker_order_id or tag):
        return Refused(INVALID_REQUEST, f"The {what} was not sent: it names no order.", ())
    try:
        looking.client.check_account(lane=looking.lane)
        listed = looking.orders()
        if broker_order_id:
            named = [row for row in listed if row.get("order_id") == broker_order_id]
        else:
            named = [row for row in listed if tag_of(row) == tag]
        if len(named) > 1:
            message = f"The {what} was not sent: {len(named)} orders of today carry {tag}, and a person must say which."
            return Refused(NOT_SENT, message, looking.evidence())
        if not named:
            return Refused(NO_ORDER, "Kite lists no such order today; nothing was done.", looking.evidence())
        order(named[0])  # one that cannot be read must not be judged by a part of it
        return named[0]
    except BrokerNeedsLogin as error:
        return Refused(NEEDS_LOGIN, str(error), looking.evidence())
    except (BadData, BrokerUnreachable) as error:
        message = f"The {what} was not sent, because the order could not be looked up: {error}"
        return Refused(NOT_SENT, message, looking.evidence())


def _must_be_ours(looking: Looking, key: str, request: OrderRequest) -> None:
    """Raises `ForeignAnswer` when today's orders say that the order of an acceptance is not the one that we sent.

    The list is kept as evidence only then. Where it cannot be read, or does not show the order yet, the answer stands.
    """
    again = Looking(looking.client, looking.lane)
    try:
        listed = again.orders()
        named = [row for row in listed if row.get("order_id") == key]
        if named:
            shown = (tag_of(named[0]), symbol(named[0]), side_of(named[0]))
            why = "" if shown == (request.client_id, request.instrument, request.side) else f"order {key} is {shown}"
        else:
            ours = [row.get("order_id") for row in listed if row.get("tag") == request.client_id]
            why = f"it names order {key}, but ours is {ours[0]!r:.40}" if ours else ""
    except (BadData, BrokerUnreachable):
        return
    if why:
        looking.exchanges.extend(again.exchanges)
        raise ForeignAnswer(why[:300])


def _must_name(answer: Row, key: str) -> None:
    """Raises `ForeignAnswer` for an answer about another order than `key`, `BadData` for one that names none."""
    named = identity(child(answer, "data"), "order_id")
    if named != key:
        raise ForeignAnswer(f"it is about order {named:.40}, not {key}")


def _untrusted(looking: Looking, error: BadData) -> Unknown:
    why = f"status 200, but its answer cannot be trusted: {error}"
    return Unknown(why, looking.evidence(), foreign=isinstance(error, ForeignAnswer))


def _answer(looking: Looking, exchange: Exchange, what: str) -> Row | Refused | Unknown:
    """The envelope of a success, or the outcome that any other end of a write means."""
    client = looking.client
    if client.is_parked(exchange):
        return Refused(NEEDS_LOGIN, client.login_sentence(), looking.evidence())
    early = without_answer(exchange, looking.evidence(), what=what, broker="Kite")
    if early is not None:
        return early
    try:
        answer = read_json(exchange)
    except BadData as error:
        return untrusted(exchange, error, looking.evidence())
    if exchange.status == 200 and answer.get("status") == "success" and not answer.get("error_type"):
        return answer
    if client.is_login_refusal(exchange, answer):
        return Refused(NEEDS_LOGIN, client.login_sentence(), looking.evidence())
    word, message = refusal(answer)
    if exchange.status == 400 and word in _REFUSALS:
        code = EXCHANGE_CLOSED if _CLOSED.search(message) else word
        return Refused(code, message or "status 400", looking.evidence())
    if exchange.status == 429 and word:
        said = f"Kite has not looked at the {what}, because it gets too many requests: {message}"
        return Refused(NOT_SENT, said, looking.evidence())
    return uncertain(exchange, looking.evidence(), what=what)


def _as_shown(looking: Looking, row: Row, reason: str) -> Accepted:
    """What a cancel came to, as the order itself shows it. Raises `BadData`."""
    known = order(row)
    status = known.status if known.status is not BrokerOrderStatus.OTHER else BrokerOrderStatus.WORKING
    if status is BrokerOrderStatus.CANCELLED and known.filled > 0:
        # It has ended, but not before its executions are known: who believed its end now would count too few of them.
        said = f"ENDED_AFTER_PART ({known.raw_status:.40}, {known.filled:f} filled)"
        return Accepted(known.broker_order_id, BrokerOrderStatus.PARTIAL, said, looking.evidence())
    return Accepted(known.broker_order_id, status, f"{reason} ({known.raw_status:.40})", looking.evidence())
