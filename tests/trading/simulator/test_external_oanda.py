"""What happens at OANDA without us: money over night, hand-made trades, fills taken back, and splits."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .support import ACCOUNT, Inside


@pytest.fixture
def sim() -> Inside:
    inside = Inside(always_open=True)
    inside.price("1.10000", "1.10010")
    return inside


def _external(sim: Inside, kind: str, **fields: Any) -> dict[str, Any]:
    return sim.control("external", account=ACCOUNT, kind=kind, **fields)


def _financing(sim: Inside) -> list[dict[str, Any]]:
    return [row for row in sim.account.history if row["type"] == "DAILY_FINANCING"]


def _worth(sim: Inside) -> Decimal:
    return Decimal(sim.call("GET", "/summary")[1]["account"]["NAV"])


# over night


def test_what_is_held_at_five_in_new_york_is_financed(sim: Inside) -> None:
    sim.order(100_000)
    sim.order(-40_000, instrument="USD_JPY")
    sim.control("clock", now="2026-01-05T21:59:59Z")
    assert not _financing(sim)
    sim.control("clock", now="2026-01-05T22:00:00Z")
    [row] = _financing(sim)
    euro, yen = row["positionFinancings"]
    # 100,000 x 1.10005 x -2.25 % / 365, and 40,000 dollars sold at -4.8 %
    assert (euro["instrument"], euro["financing"]) == ("EUR_USD", "-6.7811")
    assert (yen["instrument"], yen["financing"]) == ("USD_JPY", "-5.2603")
    assert euro["openTradeFinancings"] == [{"tradeID": "4", "financing": "-6.7811"}]
    assert (row["financing"], row["accountBalance"]) == ("-12.0414", "99987.9586")
    assert row["time"].startswith("2026-01-05T22:00:00") and sim.rows("cash")[-1]["kind"] == "financing"
    account = sim.call("GET", "")[1]["account"]
    assert (account["financing"], account["balance"]) == ("-12.0414", "99987.9586")
    assert [trade["financing"] for trade in account["trades"]] == ["-6.7811", "-5.2603"]


def test_a_week_has_seven_days_of_financing_three_of_them_on_wednesday(sim: Inside) -> None:
    sim.order(-100_000)
    sim.control("clock", now="2026-01-12T21:00:00Z")
    rows = _financing(sim)
    assert [row["time"][:13] for row in rows] == [f"2026-01-{day:02d}T22" for day in (5, 6, 7, 8, 9)]
    amounts = [Decimal(row["financing"]) for row in rows]
    assert amounts[0] == Decimal("1.9590") and amounts[2] == Decimal("5.8770") and sum(amounts) == Decimal("13.7130")


def test_summer_time_is_followed_and_who_holds_nothing_pays_nothing() -> None:
    sim = Inside(start=_at("2026-07-06T12:00:00Z"), always_open=True)
    sim.price("1.10000", "1.10010")
    sim.control("clock", now="2026-07-06T22:00:00Z")
    assert not _financing(sim)
    sim.order(1000)
    sim.control("clock", now="2026-07-07T23:00:00Z")
    assert [row["time"][:19] for row in _financing(sim)] == ["2026-07-07T21:00:00"]


def _at(text: str) -> Any:
    from trading.simulator.core.numbers import moment

    return moment(text)


def test_financing_is_the_same_when_the_world_is_rebuilt(tmp_path: Path) -> None:
    sim = Inside(directory=tmp_path, always_open=True)
    sim.price("1.10000", "1.10010")
    sim.order(30_000)
    for _ in range(5):
        sim.control("clock", step="86400")
    seen = sim.account.history, sim.world.state.journal.rows
    assert len(_financing(sim)) == 5
    sim.runtime.store.close()
    again = Inside(directory=tmp_path)
    assert (again.account.history, again.world.state.journal.rows) == seen


# by hand


def test_a_trade_by_hand_has_no_name_and_may_have_a_note(sim: Inside) -> None:
    made = _external(sim, "trade", instrument="EUR_USD", quantity="500", comment="on the phone")
    order = sim.call("GET", f"/orders/{made['order_id']}")[1]["order"]
    assert order["clientExtensions"] == {"comment": "on the phone"} and "clientOrderID" not in sim.last("ORDER_FILL")


def test_somebody_closes_our_trade_by_hand(sim: Inside) -> None:
    sim.order(1000, stopLossOnFill={"price": "1.05"}, tradeClientExtensions={"id": "ours"})
    _external(sim, "trade", trade_id="4", quantity="400")
    assert sim.account.units("EUR_USD")[0] == 600 and sim.last("ORDER_FILL")["reason"] == "MARKET_ORDER_TRADE_CLOSE"
    _external(sim, "trade", trade_id="4")
    assert not sim.account.open_ids and sim.last("ORDER_CANCEL")["reason"] == "LINKED_TRADE_CLOSED"
    for wrong in ({"trade_id": "4"}, {"trade_id": "x"}):
        with pytest.raises(ValueError, match="no open trade"):
            _external(sim, "trade", **wrong)


# taken back


def test_a_busted_entry_leaves_nothing_but_its_history(sim: Inside) -> None:
    sim.order(1000, stopLossOnFill={"price": "1.05"})
    sim.price("1.12000", "1.12010")
    result = _external(sim, "bust", fill_id="4")
    fill = sim.last("ORDER_FILL")
    assert result["fill_ids"] == [fill["id"]] and fill["reason"] == "FIXED_PRICE_ORDER_ADMINISTRATIVE_ACTION"
    assert (fill["units"], fill["price"], fill["pl"]) == ("-1000", "1.10010", "0.0000")
    assert not sim.account.open_ids and not sim.account.pending_ids and sim.account.cash == 100_000
    order = sim.call("GET", f"/orders/{fill['orderID']}")[1]["order"]
    assert (order["type"], order["clientExtensions"]["comment"]) == ("FIXED_PRICE", "bust of fill 4")
    assert sim.account.history[3]["units"] == "1000", "history is not rewritten"
    with pytest.raises(ValueError, match="already"):
        _external(sim, "bust", fill_id="4")


def test_a_busted_exit_brings_the_position_back(sim: Inside) -> None:
    sim.order(1000)
    sim.price("1.12000", "1.12010")
    worth = _worth(sim)
    sim.order(-1000)
    _external(sim, "bust", fill_id="6")
    assert sim.account.units("EUR_USD")[0] == 1000 and _worth(sim) == worth


def test_later_fills_are_taken_back_first(sim: Inside) -> None:
    sim.order(1000)
    sim.order(-400)
    before = len(sim.account.history)
    with pytest.raises(ValueError, match="later fills"):
        _external(sim, "bust", fill_id="4")
    for wrong in ("3", "99", None, "x"):
        with pytest.raises(ValueError, match="no fill"):
            _external(sim, "bust", fill_id=wrong)
    assert len(sim.account.history) == before


def test_a_correction_books_the_fill_again_as_it_should_have_been(sim: Inside) -> None:
    sim.order(1000)
    _external(sim, "correct", fill_id="4", price="1.09000", quantity="800")
    [trade] = sim.account.open_trades()
    assert trade.units == 800 and trade.price == Decimal("1.09") and sim.account.cash == 100_000
    assert sim.last("FIXED_PRICE_ORDER")["clientExtensions"] == {"comment": "correction of fill 4"}
    for wrong in ({}, {"price": "0"}, {"quantity": "-5"}):
        with pytest.raises(ValueError):
            _external(sim, "correct", fill_id=sim.last("ORDER_FILL")["id"], **wrong)


@given(first=st.integers(-3000, 3000).filter(bool), second=st.integers(-3000, 3000).filter(bool), hedging=st.booleans())
@settings(max_examples=25, deadline=None)
def test_taking_the_last_fill_back_restores_position_and_worth(first: int, second: int, hedging: bool) -> None:
    sim = Inside(always_open=True)
    sim.price("1.10000", "1.10000")
    made = sim.control("account", broker="oanda", cash="100000", hedging=hedging)
    account = sim.world.accounts[made["id"]]
    for units, price in ((first, "1.10000"), (second, "1.13000")):
        sim.price(price, price)
        before = account.units("EUR_USD"), _equity(sim, made)
        sim.control("external", account=account.id, kind="trade", instrument="EUR_USD", quantity=str(units))
    fill = account.history[-1]["id"]
    sim.control("external", account=account.id, kind="bust", fill_id=fill)
    assert (account.units("EUR_USD"), _equity(sim, made)) == before


def _equity(sim: Inside, made: dict[str, Any]) -> Decimal:
    path, token = f"/v3/accounts/{made['id']}/summary", f"Bearer {made['credentials']['token']}"
    return Decimal(sim.call("GET", path, token=token)[1]["account"]["NAV"])


# splits


def test_a_split_keeps_the_value_and_moves_the_orders(sim: Inside) -> None:
    sim.price("1.10000", "1.10000")
    sim.order(1000, stopLossOnFill={"price": "1.05000"}, takeProfitOnFill={"price": "1.20000"})
    sim.order(-500, "LIMIT", price="1.30000")
    before = len(sim.account.history)
    _external(sim, "split", instrument="EUR_USD", ratio="2")
    assert len(sim.account.history) == before, "OANDA has no transaction for it"
    position = sim.call("GET", "/positions/EUR_USD")[1]["position"]["long"]
    assert (position["units"], position["averagePrice"]) == ("2000", "0.55000")
    prices = {order["type"]: order["price"] for order in sim.call("GET", "/pendingOrders")[1]["orders"]}
    assert prices == {"STOP_LOSS": "0.52500", "TAKE_PROFIT": "0.60000", "LIMIT": "0.65000"}
    sim.price("0.55000", "0.55000")
    assert _worth(sim) == 100_000
    sim.price("0.52000", "0.52000")
    fill = sim.last("ORDER_FILL")
    assert (fill["reason"], fill["units"], fill["pl"]) == ("STOP_LOSS_ORDER", "-2000", "-60.0000")


def test_a_split_that_leaves_fractions_is_refused(sim: Inside) -> None:
    sim.order(1001)
    for ratio in ("0.5", "0", "-1", "1", "x"):
        with pytest.raises(ValueError):
            _external(sim, "split", instrument="EUR_USD", ratio=ratio)
    assert sim.account.units("EUR_USD")[0] == 1001
