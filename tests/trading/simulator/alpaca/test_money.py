"""Cash, shares and the broker's own bookings: everything that is held can be explained by what was told."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .support import ACCOUNT, Desk, Wire


@pytest.fixture
def desk() -> Desk:
    found = Desk()
    found.control("clock", now="2026-01-05T15:00:00Z")
    found.share("99.99", "100.01")
    return found


def external(desk: Desk, kind: str, **fields: Any) -> Wire:
    found: Wire = desk.control("external", account=ACCOUNT, kind=kind, **fields)
    return found


def last(desk: Desk) -> Wire:
    return desk.account.history[-1]


def test_profit_is_realised_at_the_average_price(desk: Desk) -> None:
    desk.buy("10")
    desk.share("109.99", "110.01")
    desk.buy("10")
    (position,) = desk.good("GET", "/positions")
    assert (position["avg_entry_price"], position["cost_basis"]) == ("105.01", "2100.2")
    desk.share("120.00", "120.02")
    desk.buy("5", side="sell")
    assert desk.own("fill")[-1]["pl"] == "74.95"
    desk.buy("15", side="sell")
    assert desk.cash == 100_000 + 20 * Decimal("120.00") - Decimal("2100.2") and desk.held() == 0
    assert sum(Decimal(row["pl"]) for row in desk.own("fill")) == desk.cash - 100_000


def test_buying_power_is_what_is_not_set_aside(desk: Desk) -> None:
    def power() -> Decimal:
        return Decimal(desk.good("GET", "/account")["buying_power"])

    order = desk.buy("100", type="limit", limit_price="90")
    assert power() == 91_000
    assert desk.ask("PATCH", f"/orders/{order['id']}", {"qty": "1112"})[0] == 403
    desk.good("PATCH", f"/orders/{order['id']}", {"qty": "1111"})
    assert power() == 10
    desk.good("DELETE", "/orders")
    assert power() == 100_000
    desk.buy("100", side="sell")
    assert power() == 99_999 - 10_000, "a short sale sets its own amount aside"
    account = desk.good("GET", "/account")
    assert (account["short_market_value"], account["equity"]) == ("-10000", "99999")


def test_other_hands_trade_on_the_account(desk: Desk) -> None:
    made = external(desk, "trade", instrument="AAPL", quantity="7", price="101.5")
    order = desk.good("GET", f"/orders/{made['order_id']}")
    assert (order["status"], order["filled_avg_price"], order["side"]) == ("filled", "101.5", "buy")
    assert desk.fills()[0]["id"] == made["fill_id"] == made["activity_ids"][0]
    external(desk, "trade", instrument="AAPL", quantity="-10", price="102")
    assert desk.held() == -3 and desk.own("fill")[-1]["pl"] == "3.5"
    resting = desk.buy("1", type="limit", limit_price="50")
    external(desk, "cancel", order_id=resting["id"])
    assert desk.status(resting) == "canceled"
    external(desk, "closeout", instrument="AAPL", price="100")
    assert desk.held() == 0


def test_a_closeout_takes_the_exits_with_it(desk: Desk) -> None:
    order = desk.bracket()
    external(desk, "closeout", instrument="AAPL", quantity="4")
    assert [leg["status"] for leg in desk.read(order)["legs"]] == ["canceled", "canceled"] and desk.held() == 6


def test_bookings_of_the_broker(desk: Desk) -> None:
    desk.buy("10")
    before = desk.cash
    external(desk, "dividend", instrument="AAPL", amount="2.5")
    assert (last(desk)["activity_type"], last(desk)["net_amount"], last(desk)["qty"]) == ("DIV", "2.5", "10")
    external(desk, "fee", amount="-0.03")
    external(desk, "financing", amount="-1.25")
    external(desk, "transfer", amount="-50")
    kinds = [row["activity_type"] for row in desk.account.history[-3:]]
    assert kinds == ["FEE", "INT", "CSW"] and desk.cash == before + Decimal("2.5") - Decimal("51.28")
    assert [row["kind"] for row in desk.own("cash")[-4:]] == ["dividend", "fee", "financing", "transfer"]


def test_silent_changes_leave_no_history(desk: Desk) -> None:
    history, told = len(desk.account.history), len(desk.heard)
    external(desk, "silent_cash", amount="-12.34")
    external(desk, "silent_position", instrument="MSFT", quantity="3")
    assert desk.cash == Decimal("99987.66") and desk.held("MSFT") == 3
    assert (history, told) == (len(desk.account.history), len(desk.heard)) and not desk.account.orders


def test_a_split_keeps_the_cost_and_ends_the_orders(desk: Desk) -> None:
    desk.buy("10")
    stop = desk.buy("10", side="sell", type="stop", stop_price="90", time_in_force="gtc")
    external(desk, "split", instrument="AAPL", ratio="4")
    (position,) = desk.good("GET", "/positions")
    assert (position["qty"], position["avg_entry_price"], position["cost_basis"]) == ("40", "25.0025", "1000.1")
    assert (last(desk)["activity_type"], last(desk)["qty"]) == ("SPLIT", "30") and desk.status(stop) == "canceled"


def test_busted_and_corrected_fills(desk: Desk) -> None:
    first, second = desk.buy("10"), desk.buy("5")
    ids = [row["id"] for row in desk.fills()]
    external(desk, "correct", fill_id=ids[0], price="100.51")
    external(desk, "bust", fill_id=ids[1])
    assert desk.held() == 10 and desk.cash == 100_000 - Decimal("1005.1")
    rows = desk.fills()
    assert [(row["id"], row["status"], row["price"], row["qty"]) for row in rows] == [
        (ids[0], "correct", "100.51", "10"), (ids[1], "canceled", "100.01", "5"),
    ]  # fmt: skip
    assert desk.events(first)[-1] == "trade_correct" and desk.events(second)[-1] == "trade_bust"
    assert desk.heard[-1]["previous_execution_id"] == ids[1].split("::")[1]
    assert desk.read(first)["filled_avg_price"] == "100.51" and desk.read(second)["filled_qty"] == "0"
    (position,) = desk.good("GET", "/positions")
    assert position["avg_entry_price"] == "100.51"


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "nothing"}, {"kind": "trade", "instrument": "EUR_USD", "quantity": "1"},
        {"kind": "trade", "instrument": "AAPL", "quantity": "0"}, {"kind": "cancel", "order_id": "x"},
        {"kind": "closeout", "instrument": "AAPL"}, {"kind": "fee", "amount": "0"},
        {"kind": "fee", "amount": "1", "currency": "EUR"}, {"kind": "bust", "fill_id": "x"},
        {"kind": "split", "instrument": "AAPL", "ratio": "0"}, {"kind": "split", "instrument": "AAPL", "ratio": "2"},
    ],
)  # fmt: skip
def test_events_that_cannot_be(desk: Desk, body: Wire) -> None:
    before = len(desk.account.history), desk.cash, len(desk.account.orders)
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        desk.control("external", account=ACCOUNT, **body)
    assert before == (len(desk.account.history), desk.cash, len(desk.account.orders))


SIZE = st.integers(1, 40)
STEPS = st.one_of(
    st.tuples(st.just("price"), st.integers(9_000, 11_000), st.integers(1, 20)),
    st.tuples(st.just("market"), SIZE, st.booleans()),
    st.tuples(st.just("limit"), SIZE, st.booleans(), st.integers(9_000, 11_000)),
    st.tuples(st.just("bracket"), SIZE, st.booleans(), st.integers(10, 400)),
    st.tuples(st.just("partial"), st.integers(1, 15)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("replace"), st.integers(0, 9), st.integers(9_000, 11_000)),
    st.tuples(st.just("close")),
    st.tuples(st.just("trade"), st.integers(-20, 20).filter(bool)),
    st.tuples(st.just("silent"), st.integers(-20, 20).filter(bool)),
    st.tuples(st.just("clock"), st.sampled_from(["1", "600", "30000"])),
)


def cents(value: int) -> str:
    return format(Decimal(value) / 100, "f")


def do(desk: Desk, step: tuple[Any, ...]) -> None:
    """One step; what the broker refuses is refused."""
    kind, *rest = step
    order: Wire = {"symbol": "AAPL", "time_in_force": "gtc", "type": "market"}
    if kind == "price":
        desk.share(cents(rest[0]), cents(rest[0] + rest[1]))
    elif kind in ("market", "limit", "bracket"):
        order |= {"qty": str(rest[0]), "side": "buy" if rest[1] else "sell"}
        if kind == "limit":
            order |= {"type": "limit", "limit_price": cents(rest[2])}
        if kind == "bracket":
            quote = desk.world.quote("AAPL")
            assert quote is not None
            middle, away = int(quote.mid * 100), rest[2] if rest[1] else -rest[2]
            order |= {
                "order_class": "bracket", "take_profit": {"limit_price": cents(middle + away)},
                "stop_loss": {"stop_price": cents(middle - away)},
            }  # fmt: skip
        desk.ask("POST", "/orders", order)
    elif kind == "partial":
        desk.control("fault", broker="alpaca", action="partial_fill", args={"quantity": str(rest[0])})
    elif kind in ("cancel", "replace") and desk.account.pending_ids:
        id = desk.account.pending_ids[rest[0] % len(desk.account.pending_ids)]
        if kind == "cancel":
            desk.ask("DELETE", f"/orders/{id}")
        else:
            desk.ask("PATCH", f"/orders/{id}", {"limit_price": cents(rest[1])})
    elif kind == "close":
        desk.ask("DELETE", "/positions?cancel_orders=true")
    elif kind == "trade":
        desk.control("external", account=ACCOUNT, kind="trade", instrument="AAPL", quantity=str(rest[0]))
    elif kind == "silent":
        desk.control("external", account=ACCOUNT, kind="silent_position", instrument="AAPL", quantity=str(rest[0]))
    elif kind == "clock":
        desk.control("clock", step=rest[0])


def check(desk: Desk) -> None:
    """Everything that must agree."""
    account = desk.account
    fills = [row for row in account.history if row["activity_type"] == "FILL"]
    signed = [(Decimal(row["qty"]) if row["side"] == "buy" else -Decimal(row["qty"]), row) for row in fills]
    assert account.cash == 100_000 - sum((units * Decimal(row["price"]) for units, row in signed), Decimal(0))
    assert account.cash == sum(Decimal(row["amount"]) for row in desk.own("cash"))
    silent = desk.held() - sum((units for units, _ in signed), Decimal(0))
    assert silent == desk.silent  # type: ignore[attr-defined]
    told = [one for one in desk.heard if one["event"] in ("fill", "partial_fill")]
    assert [one["execution_id"] for one in told] == [row["id"].split("::")[1] for row in fills], "each fill told once"
    for order in account.orders.values():
        known = order.wire["facts"]
        own = [row for row in fills if row["order_id"] == order.id]
        assert abs(order.filled) == sum((Decimal(row["qty"]) for row in own), Decimal(0)) <= abs(order.units)
        over = known.status in ("filled", "canceled", "expired", "rejected", "replaced")
        assert over == (order.id not in account.pending_ids) == (not order.pending)
        assert (known.status == "filled") == (order.filled == order.units)
    assert len({order.client_id for order in account.orders.values()}) == len(account.orders)
    assert len({row["id"] for row in account.history}) == len(account.history)
    if not desk.foreign:  # type: ignore[attr-defined]
        # What working exits could sell together is never more than what is held.
        exits: dict[str, Decimal] = {}
        for key in account.pending_ids:
            order = account.orders[key]
            known = order.wire["facts"]
            if not known.opens and not order.dormant:
                group = known.parent or order.id
                exits[group] = max(exits.get(group, Decimal(0)), abs(order.remaining))
        assert sum(exits.values(), Decimal(0)) <= abs(desk.held())


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_the_books_balance_whatever_happens(steps: list[tuple[Any, ...]]) -> None:
    desk = Desk()
    desk.control("clock", now="2026-01-05T15:00:00Z")
    desk.share("99.99", "100.01")
    desk.silent, desk.foreign = Decimal(0), False  # type: ignore[attr-defined]
    for step in steps:
        before = desk.held()
        do(desk, step)
        if step[0] == "silent":
            desk.silent += desk.held() - before  # type: ignore[attr-defined]
        if step[0] in ("silent", "trade"):
            desk.foreign = True  # type: ignore[attr-defined]
        check(desk)


def test_the_same_inputs_give_the_same_world(tmp_path: Path) -> None:
    def seen(desk: Desk) -> list[Any]:
        journal = desk.world.state.journal.rows
        return [journal, desk.account.history, desk.runtime.control.truth(ACCOUNT), desk.world.now]

    desk = Desk(directory=tmp_path)
    desk.control("clock", now="2026-01-05T15:00:00Z")
    desk.share("99.99", "100.01")
    order = desk.bracket()
    desk.buy("3", symbol="SPY")
    desk.ask("POST", "/orders", {"symbol": "AAPL"})
    desk.good("PATCH", f"/orders/{desk.read(order)['legs'][1]['id']}", {"stop_price": "96"})
    desk.share("95.00", "95.02")
    desk.buy("2", type="limit", limit_price="50", time_in_force="gtc")
    desk.control("clock", now="2026-01-06T15:00:00Z")
    external(desk, "dividend", instrument="SPY", amount="1.5")
    before = seen(desk)
    desk.runtime.store.close()
    again = Desk(directory=tmp_path)
    assert seen(again) == before
    again.runtime.close()
    checkpointed = Desk(directory=tmp_path)
    assert seen(checkpointed) == before and checkpointed.buy("1")["id"] not in again.account.orders
