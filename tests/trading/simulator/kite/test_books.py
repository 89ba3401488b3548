"""The Kite books under random order flows: cash, positions, trades, orders, journal and the day always agree."""

from __future__ import annotations

import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .support import ACCOUNT, Desk

MIDDLE = {"NSE:INFY": 1500, "NSE:YESBANK": 22, "NFO:NIFTY27DECFUT": 26000, "NFO:NIFTY27DEC26000CE": 1000}
TICK = Decimal("0.05")
names = st.sampled_from(sorted(MIDDLE))
steps = st.integers(-60, 60)
lots = st.integers(1, 12)
sides = st.sampled_from(["BUY", "SELL"])
kinds = st.sampled_from(["MARKET", "LIMIT", "SL", "SL-M"])
products = st.sampled_from(["CNC", "MIS", "NRML"])
actions = st.one_of(
    st.tuples(st.just("price"), names, steps),
    st.tuples(st.just("order"), names, sides, lots, products, kinds, steps),
    st.tuples(st.just("modify"), st.integers(0, 5), lots, steps),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("partial"), st.integers(1, 9)),
    st.tuples(st.just("convert"), st.integers(0, 5), lots),
    st.tuples(st.just("cash"), st.sampled_from(["fee", "transfer"]), st.integers(-9_999, 9_999).filter(bool)),
    st.tuples(st.just("trade"), names, lots, sides, products, steps),
    st.tuples(st.just("correct"), st.integers(0, 5), st.booleans(), lots, steps),
    st.tuples(st.just("clock"), st.integers(1, 30_000)),
)  # fmt: skip


def _level(name: str, step: int) -> str:
    return format(MIDDLE[name] + TICK * step, "f")


def _lot(name: str) -> int:
    return 1 if name.startswith("NSE") else 75


def _product(name: str, product: str) -> str:
    """The product that this kind of instrument has."""
    return {"CNC": "NRML"}.get(product, product) if name.startswith("NFO") else {"NRML": "CNC"}.get(product, product)


def _act(desk: Desk, action: tuple[Any, ...]) -> None:
    kind, *rest = action
    if kind == "price":
        name, step = rest
        desk.price(_level(name, step), _level(name, step + 1), name)
    elif kind == "order":
        name, side, size, product, order_type, step = rest
        exchange, _, symbol = name.partition(":")
        body = desk.form(
            side, size * _lot(name), exchange=exchange, tradingsymbol=symbol, product=_product(name, product),
            order_type=order_type, price=_level(name, step), trigger_price=_level(name, step),
        )  # fmt: skip
        desk.ask("POST", "/orders/regular", body)
    elif kind in ("modify", "cancel") and desk.account.pending_ids:
        id = desk.account.pending_ids[rest[0] % len(desk.account.pending_ids)]
        if kind == "cancel":
            desk.good("DELETE", f"/orders/regular/{id}")
        else:
            name = desk.account.orders[id].instrument
            body = {"quantity": str(rest[1] * _lot(name)), "price": _level(name, rest[2])}
            desk.ask("PUT", f"/orders/regular/{id}", body)
    elif kind == "partial":
        desk.control("fault", broker="kite", action="partial_fill", args={"quantity": str(rest[0])})
    elif kind == "convert" and desk.account.open_ids:
        trade = desk.account.trades[desk.account.open_ids[rest[0] % len(desk.account.open_ids)]]
        exchange, _, symbol = trade.instrument.partition(":")
        old, paid = trade.wire["product"], _product(trade.instrument, "CNC")
        body = {
            "exchange": exchange, "tradingsymbol": symbol, "transaction_type": "BUY" if trade.units > 0 else "SELL",
            "position_type": "day", "quantity": str(rest[1] * _lot(trade.instrument)), "old_product": old,
            "new_product": paid if old == "MIS" else "MIS",
        }  # fmt: skip
        desk.ask("PUT", "/portfolio/positions", body)
    elif kind == "cash":
        desk.external(rest[0], amount=format(Decimal(rest[1]) / 100, "f"))
    elif kind == "trade":
        name, size, side, product, step = rest
        units = size * _lot(name) * (1 if side == "BUY" else -1)
        desk.external(
            "trade", instrument=name, quantity=str(units), price=_level(name, step), product=_product(name, product)
        )
    elif kind == "correct":
        fills = [row for row in desk.account.history if row["kind"] == "trade"]
        if fills:
            row = fills[rest[0] % len(fills)]
            name = desk.account.orders[row["order_id"]].instrument
            if rest[1]:
                desk.external("bust", fill_id=row["id"])
            else:
                size = min(int(row["quantity"]), rest[2])
                desk.external("correct", fill_id=row["id"], price=_level(name, rest[3]), quantity=str(size))
    elif kind == "clock":
        desk.control("clock", step=str(rest[0]))
        if desk.ask("GET", "/orders")[0] == 403:
            desk.login()


def check(desk: Desk) -> None:
    """Everything that must agree."""
    account = desk.account
    assert account.cash == sum((Decimal(row["amount"]) for row in desk.own("cash")), Decimal(0))
    held: Counter[tuple[str, str]] = Counter()
    for trade in account.open_trades():
        key = trade.instrument, trade.wire["product"]
        assert key not in held, "one position for each instrument and product"
        held[key] = int(trade.units)
    by_name: Counter[str] = Counter()
    for (name, _), units in held.items():
        by_name[name] += units
    done: Counter[str] = Counter()
    filled: Counter[str] = Counter()
    for row in account.history:
        if row["kind"] == "trade":
            order = account.orders[row["order_id"]]
            done[order.instrument] += int(row["quantity"]) * (1 if order.units > 0 else -1)
            filled[order.id] += int(row["quantity"])
    assert +by_name == +done and -by_name == -done, "trades make the positions, conversions only move them"
    for order in account.orders.values():
        step = order.wire["facts"].now
        assert order.pending == (order.id in account.pending_ids) == (step.status not in _OVER)
        assert step.filled == abs(order.filled) == filled[order.id] <= abs(order.units)
        assert (step.status == "COMPLETE") == (step.filled == abs(order.units)) or step.status == "CANCELLED"
    for trade in account.trades.values():
        assert trade.is_open == (trade.id in account.open_ids) == (trade.closed_at is None)
    rows = {(f"{row['exchange']}:{row['tradingsymbol']}", row["product"]): row for row in _net(desk)}
    shares = {f"NSE:{row['tradingsymbol']}": row for row in desk.good("GET", "/portfolio/holdings")}
    for (name, product), units in held.items():
        today = rows[name, product]["quantity"] if (name, product) in rows else 0
        if product == "CNC" and name in shares:
            row = shares[name]
            assert row["opening_quantity"] == row["quantity"] + row["t1_quantity"] + row["used_quantity"]
            today += row["opening_quantity"]
        assert today == units or (product == "CNC" and units - today < 0), "lines of the day and holdings say the same"
    for row in rows.values():
        assert row["quantity"] == row["overnight_quantity"] + row["day_buy_quantity"] - row["day_sell_quantity"]
        assert row["pnl"] == _about(row["realised"] + row["unrealised"])


_OVER = ("COMPLETE", "CANCELLED", "REJECTED")


def _net(desk: Desk) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = desk.good("GET", "/portfolio/positions")["net"]
    return rows


def _about(value: float) -> Any:
    return pytest.approx(value, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(actions, max_size=40))
def test_the_books_balance_whatever_happens_and_are_rebuilt(flow: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        desk = Desk(directory=Path(directory))
        for name in MIDDLE:
            desk.price(_level(name, 0), _level(name, 1), name)
        for action in flow:
            _act(desk, action)
        check(desk)
        desk.runtime.store.close()
        again = Desk(directory=Path(directory))
        rows = desk.world.state.journal.rows
        assert again.world.state.journal.rows[: len(rows)] == rows
        assert again.runtime.control.truth(ACCOUNT)["orders"] == desk.runtime.control.truth(ACCOUNT)["orders"]
        assert again.account.history == desk.account.history and again.account.cash == desk.account.cash
        again.runtime.store.close()
