"""Replacing an order at Alpaca: another one in its place, with another quantity or price.

What always holds: one GET and at most one PATCH, and a typed outcome whatever happens. Alpaca's yes names the order
that is to take the place, with an id of its own; it is no promise that the old one has not filled meanwhile: the
history, read next, tells which of them lives (`OrderNews.replaces`, `replaced_by`). The new one has a client id of
Alpaca's making, because ours is taken for ever.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import quote

from trading.brokers.alpaca_client import AlpacaClient, error_code, is_login_refusal
from trading.brokers.alpaca_lookup import Looking, row_by_client_id, row_by_id
from trading.brokers.alpaca_parse import filled, has_ended, number, side_of, status_of
from trading.brokers.budget import Lane
from trading.brokers.errors import BadData, ForeignAnswer
from trading.brokers.fields import Row, identity, optional_text, text
from trading.brokers.outcomes import uncertain, untrusted, without_answer
from trading.brokers.transport import read_document
from trading.domain.broker import (
    INVALID_REQUEST,
    NEEDS_LOGIN,
    NOT_SENT,
    Accepted,
    BrokerNeedsLogin,
    BrokerUnreachable,
    Refused,
    SubmitOutcome,
)
from trading.domain.money import plain

_PRICE_FIELD = {"limit": "limit_price", "stop": "stop_price"}
_REFUSALS = (400, 403, 404, 422)


def replace(
    client: AlpacaClient, *, broker_order_id: str, known_client_id: str, quantity: Decimal | None, price: Decimal
) -> SubmitOutcome:
    """See the port. Never raises."""
    numbers = all(given.is_finite() and given > 0 for given in (quantity, price) if given is not None)
    if not (broker_order_id or known_client_id) or not numbers or (quantity is not None and quantity % 1):
        message = "The change was not sent: it names no order, or no whole quantity and price above zero."
        return Refused(INVALID_REQUEST, message, ())
    lane: Lane = "general" if quantity is None else "reduce"
    looking = Looking(client, lane)
    try:
        row = row_by_id(looking, broker_order_id) if broker_order_id else row_by_client_id(looking, known_client_id)
        if row is None or has_ended(row):
            message = "Alpaca has no such resting order; nothing was changed."
            return Refused("ORDER_DOESNT_EXIST", message, looking.evidence())
        order_id, kind, left = identity(row, "id"), text(row, "type"), number(row, "qty") - filled(row)
    except BrokerNeedsLogin as error:
        return Refused(NEEDS_LOGIN, str(error), looking.evidence())
    except (BadData, BrokerUnreachable) as error:
        return Refused(NOT_SENT, f"The change was not sent: the order cannot be read ({error}).", looking.evidence())
    if kind not in _PRICE_FIELD:
        message = f"The change was not sent: a {kind:.20} order is not changed here."
        return Refused(INVALID_REQUEST, message, looking.evidence())
    try:
        if number(row, _PRICE_FIELD[kind]) == price and quantity in (None, left):  # Alpaca refuses to change nothing
            return Accepted(order_id, status_of(row), "it rests so already", looking.evidence())
    except BadData as error:
        return Refused(NOT_SENT, f"The change was not sent: the order cannot be read ({error}).", looking.evidence())
    body = {_PRICE_FIELD[kind]: plain(price)}
    # Alpaca refuses a quantity where the order has legs, also the same one.
    if quantity is not None and quantity != left:
        body["qty"] = plain(quantity)
    exchange = client.ask("PATCH", f"/orders/{quote(order_id, safe='')}", body, lane=lane)
    looking.exchanges.append(exchange)
    early = without_answer(exchange, looking.evidence(), what="change", broker="Alpaca")
    if early is not None:
        return early
    try:
        answer = read_document(exchange)
        if exchange.status == 200:
            return _accepted(looking, row, answer, left if quantity is None else quantity, price)
        if is_login_refusal(exchange.status, answer):
            return Refused(NEEDS_LOGIN, optional_text(answer, "message")[:200], looking.evidence())
        code = error_code(answer)
        if exchange.status in _REFUSALS and code is not None:
            return Refused(str(code), optional_text(answer, "message")[:500] or str(code), looking.evidence())
    except BadData as error:
        return untrusted(exchange, error, looking.evidence())
    return uncertain(exchange, looking.evidence(), what="change")


def _accepted(looking: Looking, old: Row, answer: Any, quantity: Decimal, price: Decimal) -> Accepted:
    if not isinstance(answer, dict):
        raise BadData("it is JSON, but not an object")
    if text(answer, "replaces") != text(old, "id") or text(answer, "symbol") != text(old, "symbol"):
        raise ForeignAnswer("it is about another order")
    if side_of(answer) is not side_of(old) or text(answer, "type") != text(old, "type"):
        raise ForeignAnswer("it is about another side or type of order")
    if number(answer, "qty") != quantity or number(answer, _PRICE_FIELD[text(answer, "type")]) != price:
        raise ForeignAnswer("it is about another quantity or price")
    return Accepted(identity(answer, "id"), status_of(answer), text(answer, "status"), looking.evidence())
