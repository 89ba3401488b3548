"""Small makers of bars and requests for the tests of the domain: readable literals in, exact values out."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from trading.domain.bars import Bar
from trading.domain.broker import OrderRequest, OrderType, ProtectiveLeg, Side

FIVE_MINUTES = 300


def at(text: str) -> datetime:
    """`2014-05-01 07:05` as a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def bar(start: str | datetime, prices: str, symbol: str = "EURUSD", interval: int = FIVE_MINUTES) -> Bar:
    """A bar from "open high low close"."""
    moment = at(start) if isinstance(start, str) else start
    opening, high, low, close = (Decimal(text) for text in prices.split())
    return Bar(symbol, moment, interval, opening, high, low, close, Decimal(0))


def flat_bars(start: str, count: int, price: str, symbol: str = "EURUSD") -> list[Bar]:
    """`count` bars in a row that do not move."""
    first = at(start)
    step = timedelta(seconds=FIVE_MINUTES)
    return [bar(first + index * step, f"{price} {price} {price} {price}", symbol) for index in range(count)]


def request(
    client_id: str,
    side: Side = Side.BUY,
    quantity: str = "1000",
    kind: OrderType = OrderType.MARKET,
    price: str | None = None,
    stop: str | None = None,
    target: str | None = None,
    instrument: str = "EURUSD",
    reduce_only: bool = False,
    good_till: datetime | None = None,
) -> OrderRequest:
    """An order request; its legs are named `<client_id>-sl` and `<client_id>-tp`."""
    return OrderRequest(
        client_id=client_id,
        instrument=instrument,
        side=side,
        quantity=Decimal(quantity),
        type=kind,
        price=None if price is None else Decimal(price),
        stop_loss=None if stop is None else ProtectiveLeg(f"{client_id}-sl", Decimal(stop)),
        take_profit=None if target is None else ProtectiveLeg(f"{client_id}-tp", Decimal(target)),
        reduce_only=reduce_only,
        good_till=good_till,
    )
