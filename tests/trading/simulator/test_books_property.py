"""The simulator's own books under random order flows: cash, positions, trades and journal always agree."""

from __future__ import annotations

import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trading.simulator.core.numbers import iso

from .support import ACCOUNT, Inside

NAMES = ("EUR_USD", "USD_JPY", "EUR_GBP")
MIDDLE = {"EUR_USD": Decimal("1.10000"), "USD_JPY": Decimal("150.000"), "EUR_GBP": Decimal("0.85000")}
POINT = {"EUR_USD": Decimal("0.00010"), "USD_JPY": Decimal("0.010"), "EUR_GBP": Decimal("0.00010")}

names = st.sampled_from(NAMES)
steps = st.integers(-60, 60)
units = st.integers(-30_000, 30_000).filter(bool)
effects = st.sampled_from(["DEFAULT", "REDUCE_ONLY", "REDUCE_FIRST"])
actions = st.one_of(
    st.tuples(st.just("price"), names, steps),
    st.tuples(st.just("bar"), names, steps, steps, st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.just("market"), names, units, effects, st.integers(0, 40), st.integers(0, 40)),
    st.tuples(st.just("resting"), names, units, st.sampled_from(["LIMIT", "STOP", "MARKET_IF_TOUCHED"]), steps),
    st.tuples(st.just("trailing"), names, units, st.integers(5, 40)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("close"), st.integers(0, 5), st.integers(1, 40_000)),
    st.tuples(st.just("guard"), st.integers(0, 5), steps, st.booleans()),
    st.tuples(st.just("partial"), st.integers(1, 9_000)),
    st.tuples(
        st.just("cash"), st.sampled_from(["financing", "transfer", "fee"]), st.integers(-9_999, 9_999).filter(bool)
    ),
    st.tuples(st.just("trade"), names, units, steps),
    st.tuples(st.just("clock"), st.integers(1, 90_000)),
)


def _level(name: str, step: int) -> str:
    return format(MIDDLE[name] + POINT[name] * step, "f")


def _act(sim: Inside, action: tuple[Any, ...]) -> None:
    kind, *rest = action
    account = sim.account
    if kind == "price":
        name, step = rest
        sim.price(_level(name, step), _level(name, step + 1), name)
    elif kind == "bar":
        name, opened, closed, above, below = rest
        bar = {
            "start": iso(sim.world.now.replace(microsecond=0)),
            "open": _level(name, opened), "close": _level(name, closed),
            "high": _level(name, max(opened, closed) + above), "low": _level(name, min(opened, closed) - below),
        }  # fmt: skip
        sim.control("bars", instrument=name, bars=[bar])
    elif kind == "market":
        name, size, effect, stop, target = rest
        quote = sim.world.quote(name)
        assert quote is not None
        side = 1 if size > 0 else -1
        guards: dict[str, Any] = {}
        if stop:
            guards["stopLossOnFill"] = {
                "price": format(quote.mid.quantize(POINT[name]) - side * stop * POINT[name], "f")
            }
        if target:
            guards["takeProfitOnFill"] = {
                "price": format(quote.mid.quantize(POINT[name]) + side * target * POINT[name], "f")
            }
        sim.order(size, instrument=name, positionFill=effect, **guards)
    elif kind == "resting":
        name, size, order_type, step = rest
        sim.order(size, order_type, instrument=name, price=_level(name, step))
    elif kind == "trailing":
        name, size, distance = rest
        sim.order(size, instrument=name, trailingStopLossOnFill={"distance": format(POINT[name] * distance, "f")})
    elif kind == "cancel" and account.pending_ids:
        sim.call("PUT", f"/orders/{account.pending_ids[rest[0] % len(account.pending_ids)]}/cancel")
    elif kind == "close" and account.open_ids:
        trade = account.open_ids[rest[0] % len(account.open_ids)]
        sim.call("PUT", f"/trades/{trade}/close", {"units": str(rest[1])})
    elif kind == "guard" and account.open_ids:
        trade = account.open_ids[rest[0] % len(account.open_ids)]
        price = {"price": _level(account.trades[trade].instrument, rest[1])}
        sim.call("PUT", f"/trades/{trade}/orders", {"stopLoss": price if rest[2] else None, "takeProfit": price})
    elif kind == "partial":
        sim.control("fault", broker="oanda", action="partial_fill", args={"quantity": str(rest[0])})
    elif kind == "cash":
        sim.control("external", account=ACCOUNT, kind=rest[0], amount=format(Decimal(rest[1]) / 100, "f"))
    elif kind == "trade":
        name, size, step = rest
        sim.control(
            "external", account=ACCOUNT, kind="trade", instrument=name, quantity=str(size), price=_level(name, step)
        )
    elif kind == "clock":
        sim.control("clock", step=str(rest[0]))


def check(sim: Inside) -> None:
    """Everything that must agree."""
    account, rows = sim.account, sim.world.state.journal.rows
    fills = [row for row in account.history if row["type"] == "ORDER_FILL"]
    assert account.cash == sum((Decimal(row["amount"]) for row in sim.rows("cash")), Decimal(0))
    booked = sum((Decimal(row["amount"]) for row in account.history if row["type"] == "TRANSFER_FUNDS"), Decimal(0))
    booked += sum(
        (Decimal(row["financing"]) for row in account.history if row["type"] == "DAILY_FINANCING"), Decimal(0)
    )
    booked += sum((Decimal(row["pl"]) for row in fills), Decimal(0))
    assert account.cash == booked, "the transactions alone explain the cash"
    balances = [row["accountBalance"] for row in account.history if "accountBalance" in row]
    assert Decimal(balances[-1]) == account.cash
    assert account.realised == sum((trade.realised for trade in account.trades.values()), Decimal(0))
    assert account.realised == sum((side.realised for side in account.totals.values()), Decimal(0))
    for name in NAMES:
        done = sum((Decimal(row["units"]) for row in fills if row["instrument"] == name), Decimal(0))
        long, short = account.units(name)
        assert done == long + short and not (long and short), "fills make the position; netting holds one side"
    for trade in account.trades.values():
        assert abs(trade.initial_units) == abs(trade.units) + trade.closed_units
        assert trade.is_open == (trade.id in account.open_ids) == (trade.closed_at is None)
    for row in fills:
        parts = [*row.get("tradesClosed", []), *([row["tradeReduced"]] if "tradeReduced" in row else [])]
        opened = Decimal(row["tradeOpened"]["units"]) if "tradeOpened" in row else Decimal(0)
        assert Decimal(row["units"]) == sum((Decimal(part["units"]) for part in parts), opened)
        assert Decimal(row["pl"]) == sum((Decimal(part["realizedPL"]) for part in parts), Decimal(0))
    assert [row["id"] for row in account.history] == [str(n) for n in range(1, len(account.history) + 1)]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    for order in account.orders.values():
        assert order.pending == (order.id in account.pending_ids)
        assert not order.pending or not order.trade_id or order.trade_id in account.open_ids
        assert abs(order.filled) <= abs(order.units) or order.trade_id
    seen = Counter((row["id"], row["status"]) for row in sim.rows("order"))
    assert {key[0] for key in seen} == set(account.orders)
    assert all(count == 1 for (_, status), count in seen.items() if status == "PENDING")
    assert len([key for key in seen if key[1] == "PENDING"]) == len(account.orders), "each order is created once"


@settings(max_examples=120, deadline=None)
@given(st.lists(actions, max_size=40))
def test_the_books_balance_whatever_happens_and_closing_realises_what_was_unrealised(
    flow: list[tuple[Any, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        sim = Inside(directory=Path(directory), always_open=True)
        for name in NAMES:
            sim.price(_level(name, 0), _level(name, 1), name)
        for action in flow[: len(flow) // 2]:
            _act(sim, action)
        if len(flow) % 2:
            sim.runtime.store.save(sim.world.state)
        for action in flow[len(flow) // 2 :]:
            _act(sim, action)
        check(sim)

        again = Inside(directory=Path(directory))
        assert again.account.history == sim.account.history and again.world.now == sim.world.now
        assert again.world.state.journal.rows == sim.world.state.journal.rows
        assert again.runtime.control.truth(ACCOUNT) == sim.runtime.control.truth(ACCOUNT)
        again.runtime.store.close()

        net = Decimal(sim.call("GET", "/summary")[1]["account"]["NAV"])
        sim.control("clear_faults")
        for trade in [*sim.account.open_ids]:
            assert sim.call("PUT", f"/trades/{trade}/close", {"units": "ALL"})[0] == 200
        assert sim.account.cash == net and not sim.account.open_ids
        check(sim)
        sim.runtime.store.close()
