"""What became of an order, found by the client id that it was sent with.

OANDA forgets that id as soon as the order is no longer pending (and may then give it to a second order), so one
question is not enough: the order by @id, the trade that it opened by @id, and every transaction after the last one
known before the send. `Absent` needs each of these complete and negative; a fill found anywhere wins over a cancelled
or rejected twin with the same id, since that twin is a repeated send whose first copy lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from trading.brokers.budget import Lane
from trading.brokers.errors import BadData
from trading.brokers.fields import Row, child, number, optional_child, optional_text, rows, text
from trading.brokers.oanda_client import OandaClient
from trading.brokers.oanda_events import CREATED, REJECTED, cancel_status
from trading.brokers.oanda_parse import client_id, identifier, order
from trading.brokers.transport import storable
from trading.brokers.wire import Exchange
from trading.domain.broker import (
    Absent,
    BrokerOrder,
    BrokerOrderStatus,
    BrokerUnreachable,
    Evidence,
    Found,
    LookupFailed,
    LookupOutcome,
)

NO_SUCH_ORDER = frozenset({"ORDER_DOESNT_EXIST", "NO_SUCH_ORDER"})
NO_SUCH_TRADE = frozenset({"TRADE_DOESNT_EXIST", "NO_SUCH_TRADE"})
_PAGES = 50
_LIVE = (BrokerOrderStatus.WORKING, BrokerOrderStatus.PARTIAL, BrokerOrderStatus.FILLED)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Looking:
    """One look-up in progress: whom it asks, in which lane, and every exchange that it has made."""

    client: OandaClient
    lane: Lane = "general"
    exchanges: list[Exchange] = field(default_factory=list)

    def ask(self, endpoint: object, question: str) -> tuple[dict[str, Any], int | None]:
        """The answer's JSON object and status. Raises `BrokerUnreachable` when there is none."""
        exchange = self.client.ask(endpoint, lane=self.lane)
        self.exchanges.append(exchange)
        return self.client.answer(exchange, question), exchange.status

    def evidence(self) -> tuple[Evidence, ...]:
        """The records of all exchanges made so far."""
        return self.client.evidence(*self.exchanges)


def specifier(known_client_id: str) -> str:
    """How OANDA's paths name an order or trade by its client id."""
    return "@" + quote(known_client_id, safe="")


def order_by_client_id(looking: Looking, known_client_id: str, since: str) -> LookupOutcome:
    """Look everywhere that `since` allows (see the port). Reads only; never raises for a failed exchange."""
    try:
        found = _search(looking, known_client_id, since)
    except (BadData, BrokerUnreachable) as error:
        return LookupFailed(str(error), looking.evidence())
    return Absent(looking.evidence()) if found is None else Found(found, looking.evidence())


def order_by_specifier(looking: Looking, name: str) -> BrokerOrder | None:
    """The order of that id or "@client id"; None only when OANDA says in its own words that there is none."""
    from oandapyV20.endpoints.orders import OrderDetails

    row = _named(looking, OrderDetails(looking.client.account_id, name), "order", NO_SUCH_ORDER)
    return None if row is None else order(row, {})


def _search(looking: Looking, known_client_id: str, since: str) -> BrokerOrder | None:
    by_id = order_by_specifier(looking, specifier(known_client_id))
    if by_id is not None:
        if by_id.client_id != known_client_id:
            raise BadData(f"asked for order {known_client_id}, got one with the client id {by_id.client_id!r:.60}")
        if by_id.status in _LIVE:
            return by_id
    if since:
        by_history = _from_history(_transactions(looking, since), known_client_id)
        if by_history is not None:
            return by_history
    by_trade = _by_trade(looking, known_client_id)
    return by_trade if by_trade is not None else by_id


def _named(looking: Looking, endpoint: object, key: str, absent_codes: frozenset[str]) -> Row | None:
    body, status = looking.ask(endpoint, f"the look-up of one {key}")
    if status == 200:
        return child(body, key)
    if status == 404 and optional_text(body, "errorCode") in absent_codes:
        return None
    raise BadData(f"the look-up of the {key} was answered with status {status}")


def _by_trade(looking: Looking, known_client_id: str) -> BrokerOrder | None:
    """The order whose fill opened the trade that carries our id: a trade's id is the id of that fill."""
    from oandapyV20.endpoints.trades import TradeDetails
    from oandapyV20.endpoints.transactions import TransactionDetails

    account_id = looking.client.account_id
    trade = _named(looking, TradeDetails(account_id, specifier(known_client_id)), "trade", NO_SUCH_TRADE)
    if trade is None:
        return None
    if client_id(trade) != known_client_id:
        raise BadData(f"asked for trade {known_client_id}, got one with the client id {client_id(trade)!r:.60}")
    body, _ = looking.ask(TransactionDetails(account_id, identifier(trade, "id")), "the fill that opened a trade")
    found = order_by_specifier(looking, identifier(child(body, "transaction"), "orderID"))
    if found is None:
        raise BadData(f"trade {identifier(trade, 'id')} carries our id, but its order cannot be read")
    return replace(found, client_id=known_client_id)


def _transactions(looking: Looking, since: str) -> list[Row]:
    """Every transaction after `since` up to the newest one, without a hole. Raises `BadData` when not all came."""
    from oandapyV20.endpoints.transactions import TransactionsSinceID

    found: dict[int, Row] = {}
    first = last = int(identifier({"since": since}, "since"))
    for _ in range(_PAGES):
        endpoint = TransactionsSinceID(looking.client.account_id, params={"id": str(last)})
        body, status = looking.ask(endpoint, "the history")
        if status != 200:
            raise BadData(f"the history was answered with status {status}")
        page = {int(identifier(row, "id")): row for row in rows(body, "transactions")}
        newest = int(identifier(body, "lastTransactionID"))
        found.update(page)
        last = max(page, default=last)
        if newest <= last:
            break
        if not page:
            raise BadData(f"the history ends at {last}, though {newest} is the newest transaction")
    else:
        raise BadData(f"the history after {first} is too long to be read at once")
    if newest < first or (first and (len(found) != last - first or min(found, default=first + 1) <= first)):
        raise BadData(f"the history after {first} has a hole or ends before it")
    return [found[key] for key in sorted(found)]


def _from_history(transactions: Sequence[Row], known_client_id: str) -> BrokerOrder | None:
    """The order with this client id as its transactions tell it, or the latest of several that none of fills."""
    created: dict[str, Row] = {}
    filled: dict[str, Decimal] = {}
    ended: dict[str, str] = {}
    rejected: Row | None = None
    for row in transactions:
        kind = text(row, "type")
        if kind in CREATED and client_id(row) == known_client_id:
            created[identifier(row, "id")] = row
        elif kind in REJECTED and client_id(row) == known_client_id:
            rejected = row
        elif kind == "ORDER_FILL" and _concerns(row, known_client_id, created):
            key = identifier(row, "orderID")
            filled[key] = filled.get(key, _ZERO) + abs(number(row, "units"))
            created.setdefault(key, row)
        elif kind == "ORDER_CANCEL" and identifier(row, "orderID") in created:
            ended[identifier(row, "orderID")] = optional_text(row, "reason")
    if not created:
        return None if rejected is None else _as_order(rejected, "", BrokerOrderStatus.REJECTED, _ZERO)
    total = sum(filled.values(), _ZERO)
    working = [key for key in created if key not in filled and key not in ended]
    if total:
        first = created[next(iter(filled))]
        whole = first.get("units") is not None and total >= abs(number(first, "units"))
        status = BrokerOrderStatus.FILLED if whole else BrokerOrderStatus.PARTIAL
        if not working and not whole:
            status = BrokerOrderStatus.CANCELLED
        return _as_order(first, next(iter(filled)), status, total)
    key = working[-1] if working else list(created)[-1]
    status = BrokerOrderStatus.WORKING if working else cancel_status(ended[key])
    return _as_order(created[key], key, status, _ZERO)


def _concerns(row: Row, known_client_id: str, created: dict[str, Row]) -> bool:
    opened = optional_child(row, "tradeOpened")
    return (
        optional_text(row, "clientOrderID") == known_client_id
        or identifier(row, "orderID") in created
        or (bool(opened) and client_id(opened) == known_client_id)
    )


def _as_order(row: Row, broker_order_id: str, status: BrokerOrderStatus, filled: Decimal) -> BrokerOrder:
    """An order from the transaction that made it: that has the order's own fields, except its state."""
    kind = text(row, "type").removesuffix("_REJECT").removesuffix("_ORDER")
    known = order({**row, "id": broker_order_id or identifier(row, "id"), "state": status.value, "type": kind}, {})
    return replace(
        known,
        broker_order_id=broker_order_id,
        client_id=client_id(row) or optional_text(row, "clientOrderID"),
        status=status,
        filled=filled,
        raw=storable(dict(row)),
    )
