"""Histories of a broker, made up: orders that fill in parts, in any mixture, with cash in between; and what they leave.

A history is drawn as plain data and then told for an account, so that two accounts can live through the same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.trading.services import making
from trading.domain.broker import BrokerEvent, Side
from trading.models import (
    Account,
    CashEvent,
    DayState,
    EquityPoint,
    Fill,
    LedgerAccount,
    Lot,
    Order,
    Position,
    Trade,
)
from trading.selectors import books
from trading.selectors.inbox import unposted

SYMBOLS = ("EURUSD", "XAUUSD")


@dataclass(frozen=True)
class Execution:
    """One fill: units, price, and the broker's money."""

    quantity: Decimal
    price: Decimal
    realised: Decimal
    financing: Decimal
    commission: Decimal


@dataclass(frozen=True)
class Leg:
    """One order: an entry, or (with `closes`) an exit of the entry of that number."""

    symbol: str
    side: str
    executions: tuple[Execution, ...]
    cancelled: bool
    acknowledged: bool
    closes: int | None = None


@dataclass(frozen=True)
class History:
    """Legs, the order in which their events come, cash movements (kind, amount) and foreign fills between them."""

    legs: tuple[Leg, ...]
    order: tuple[int, ...]
    cash: tuple[tuple[str, Decimal], ...]


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    """Numbers with a fixed number of decimals."""
    return st.decimals(Decimal(low), Decimal(high), places=places, allow_nan=False, allow_infinity=False)


executions = st.builds(
    Execution,
    quantity=st.one_of(st.integers(1, 5000).map(Decimal), decimals("0.01", "9.99", 2)),
    price=decimals("0.9", "1.3", 5),
    realised=decimals("-500", "500", 5),
    financing=decimals("-3", "3", 4),
    commission=decimals("-2", "0", 4),
)


@st.composite
def legs(draw: st.DrawFn) -> tuple[Leg, ...]:
    """One to six orders; an exit names an earlier entry and has the other side."""
    made: list[Leg] = []
    for number in range(draw(st.integers(1, 6))):
        entries = [i for i, leg in enumerate(made) if leg.closes is None]
        closes = draw(st.sampled_from([None, *entries])) if number else None
        symbol = draw(st.sampled_from(SYMBOLS)) if closes is None else made[closes].symbol
        side = draw(st.sampled_from(["BUY", "SELL"])) if closes is None else str(Side(made[closes].side).opposite)
        parts = tuple(draw(st.lists(executions, min_size=1, max_size=3)))
        made.append(Leg(symbol, side, parts, draw(st.booleans()), draw(st.booleans()), closes))
    return tuple(made)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Any mixture of the legs' events with cash; −1 in the order is a movement of cash, −2 somebody else's fill."""
    drawn = draw(legs())
    cash = tuple(
        draw(
            st.lists(
                st.tuples(st.sampled_from(["TRANSFER", "FINANCING", "FEE", "DIVIDEND"]), decimals("-900", "900", 5)),
                max_size=4,
            )
        )
    )
    tokens = [i for i, leg in enumerate(drawn) for _ in range(_length(leg))]
    tokens += [-1] * len(cash) + [-2] * draw(st.integers(0, 2))
    return History(drawn, tuple(draw(st.permutations(tokens))), cash)


def _length(leg: Leg) -> int:
    return leg.acknowledged + len(leg.executions) + leg.cancelled


def tell(account: Account, history: History) -> list[BrokerEvent]:
    """Plan the orders on an account, and the broker's events about them in its order."""
    rows: list[Order] = []
    for number, leg in enumerate(history.legs, 1):
        quantity = sum((part.quantity for part in leg.executions), Decimal(1 if leg.cancelled else 0))
        if leg.closes is None:
            rows.append(making.make_entry(account, number, symbol=leg.symbol, side=leg.side, quantity=f"{quantity:f}"))
        else:
            rows.append(making.make_exit(account, rows[leg.closes], quantity=f"{quantity:f}", number=number))
    queues = [_events_of(leg, row) for leg, row in zip(history.legs, rows, strict=True)]
    cash = iter(history.cash)
    told: list[BrokerEvent] = []
    for number, token in enumerate(history.order, 1):
        if token == -1:
            kind, amount = next(cash)
            told.append(making.cash_of(number, kind, f"{amount:f}"))
        elif token == -2:
            told.append(making.fill_of(number, None, "7", "1.1"))
        else:
            told.append(queues[token].pop(0)(number))
    return told


def _events_of(leg: Leg, row: Order) -> list[Any]:
    told: list[Any] = []
    if leg.acknowledged:
        told.append(lambda number: making.created(number, row))
    for part in leg.executions:
        told.append(
            lambda number, part=part: making.fill_of(
                number, row, f"{part.quantity:f}", f"{part.price:f}", realised=f"{part.realised:f}",
                financing=f"{part.financing:f}", commission=f"{part.commission:f}",
            )
        )  # fmt: skip
    if leg.cancelled:
        told.append(lambda number: making.created(number, row, "CANCELLED"))
    return told


def left_behind(account: Account) -> dict[str, Any]:
    """Everything that the books and projections of an account say, without the numbers of rows."""
    orders = Order.objects.filter(account=account).order_by("id")
    lots = Lot.objects.filter(account=account).order_by("id")
    return {
        "balances": {kind: books.balances(account, kind) for kind in LedgerAccount.Kind.values},
        "lots": [
            (
                lot.instrument.symbol,
                lot.side,
                lot.quantity,
                lot.unit_cost,
                lot.opened_at,
                list(lot.closes.order_by("id").values_list("quantity", "unit_price", "profit_quote", "closed_at")),
            )
            for lot in lots.select_related("instrument")
        ],
        "fills": _rows(Fill, account, "id", "external_id", "side", "quantity", "price", "realised", "at"),
        "cash": _rows(CashEvent, account, "id", "external_id", "kind", "amount", "at"),
        "orders": list(orders.values_list("tag", "state", "filled_quantity", "average_price")),
        "trades": _rows(
            Trade, account, "decision__signal__bar_start", "state", "quantity", "open_quantity", "entry_price",
            "exit_price", "risk_amount", "pnl", "fees", "r", "mfe_r", "mae_r", "opened_at", "closed_at", "trading_day",
            "close_reason",
        ),
        "positions": _rows(
            Position, account, "instrument__symbol", "quantity", "external_quantity", "average_price"
        ),
        "days": _rows(DayState, account, "trading_day", "trades", "pnl", "r"),
        "equity": _rows(EquityPoint, account, "at", "balance", "equity"),
        "unposted": [event.external_id for event in unposted(account)],
    }  # fmt: skip


def _rows(model: Any, account: Account, *fields: str) -> list[tuple[Any, ...]]:
    return list(model.objects.filter(account=account).order_by(fields[0]).values_list(*fields[fields[0] == "id" :]))


def signed(fills: Sequence[Fill]) -> Decimal:
    """Units bought less units sold."""
    return sum((fill.quantity if fill.side == "BUY" else -fill.quantity for fill in fills), Decimal(0))
