"""Brackets, pairs of exits, single exits: one fills, the other ends; none sells more than the position."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from .support import Desk, Wire


@pytest.fixture
def desk() -> Desk:
    found = Desk()
    found.control("clock", now="2026-01-05T15:00:00Z")
    found.share("99.99", "100.01")
    return found


def legs(desk: Desk, order: Wire) -> list[Wire]:
    found: list[Wire] = desk.read(order)["legs"]
    return found


def statuses(desk: Desk, order: Wire) -> list[str]:
    whole = desk.read(order)
    return [whole["status"], *(leg["status"] for leg in whole["legs"])]


def partly(desk: Desk, quantity: str) -> None:
    desk.control("fault", broker="alpaca", action="partial_fill", args={"quantity": quantity})


def test_exits_are_held_until_the_entry_is_filled_completely(desk: Desk) -> None:
    partly(desk, "4")
    order = desk.bracket(type="limit", limit_price="100.01")
    assert [leg["status"] for leg in order["legs"]] == ["held", "held"]
    assert len({leg["client_order_id"] for leg in order["legs"]} | {order["client_order_id"]}) == 3
    assert statuses(desk, order) == ["partially_filled", "held", "held"]
    desk.share("94.00", "100.02")
    assert statuses(desk, order) == ["partially_filled", "held", "held"], "a held stop does not trigger"
    desk.share("99.99", "100.01")
    assert statuses(desk, order) == ["filled", "new", "held"]
    flat = desk.good("GET", "/orders?direction=asc")
    assert [row["id"] for row in flat] == [leg["id"] for leg in order["legs"]], "without nesting legs are rows"
    assert all(row["legs"] is None for row in flat)


def test_the_target_fills_and_the_stop_ends(desk: Desk) -> None:
    order = desk.bracket()
    desk.share("110.00", "110.02")
    assert statuses(desk, order) == ["filled", "filled", "canceled"] and desk.held() == 0
    assert legs(desk, order)[0]["filled_avg_price"] == "110"


def test_the_stop_fills_and_the_target_ends_first(desk: Desk) -> None:
    order = desk.bracket()
    desk.heard.clear()
    desk.share("94.00", "94.02")
    assert statuses(desk, order) == ["filled", "canceled", "filled"] and desk.held() == 0
    assert [(one["order"]["type"], one["event"]) for one in desk.heard] == [
        ("limit", "canceled"), ("stop", "new"), ("stop", "fill"),
    ]  # fmt: skip


def test_a_partly_filled_target_shrinks_the_stop(desk: Desk) -> None:
    order = desk.bracket()
    partly(desk, "3")
    desk.share("110.00", "110.02")
    target, stop = legs(desk, order)
    assert (target["status"], target["filled_qty"]) == ("partially_filled", "3")
    assert (stop["status"], stop["qty"]) == ("held", "7") and desk.events(stop)[-1] == "restated"
    desk.share("94.00", "94.02")
    target, stop = legs(desk, order)
    assert (target["status"], stop["status"], stop["filled_qty"]) == ("canceled", "filled", "7") and desk.held() == 0


def test_a_stop_that_is_partly_filled_has_taken_the_target_away(desk: Desk) -> None:
    order = desk.bracket()
    partly(desk, "3")
    desk.share("94.00", "94.02")
    assert statuses(desk, order) == ["filled", "canceled", "partially_filled"]
    desk.share("111.00", "111.02")
    assert statuses(desk, order) == ["filled", "canceled", "filled"] and desk.held() == 0


@pytest.mark.parametrize("which", [0, 1])
def test_cancelling_one_exit_ends_both(desk: Desk, which: int) -> None:
    order = desk.bracket()
    desk.good("DELETE", f"/orders/{order['legs'][which]['id']}")
    assert statuses(desk, order) == ["filled", "canceled", "canceled"] and desk.held() == 10
    assert desk.events(order["legs"][which])[-2:] == ["pending_cancel", "canceled"]


@pytest.mark.parametrize("which", ["entry", "leg"])
def test_cancelling_before_the_fill_ends_the_whole_group(desk: Desk, which: str) -> None:
    order = desk.bracket(type="limit", limit_price="99")
    target = order if which == "entry" else order["legs"][0]
    desk.good("DELETE", f"/orders/{target['id']}")
    assert statuses(desk, order) == ["canceled", "canceled", "canceled"] and desk.account.pending_ids == []


def test_a_group_of_the_day_ends_with_the_day(desk: Desk) -> None:
    waiting, filled = desk.bracket(type="limit", limit_price="90", stop="80"), desk.bracket()
    desk.control("clock", now="2026-01-05T21:00:01Z")
    assert statuses(desk, waiting) == ["expired", "expired", "expired"]
    assert statuses(desk, filled) == ["filled", "expired", "expired"]


def test_an_exit_is_replaced_within_its_group(desk: Desk) -> None:
    order = desk.bracket(time_in_force="gtc")
    target, stop = legs(desk, order)
    assert desk.ask("PATCH", f"/orders/{stop['id']}", {"qty": "5"})[0] == 422
    fresh = desk.good("PATCH", f"/orders/{stop['id']}", {"stop_price": "98"})
    assert (fresh["status"], fresh["replaces"]) == ("held", stop["id"])
    higher = desk.good("PATCH", f"/orders/{target['id']}", {"limit_price": "120"})
    assert [leg["id"] for leg in legs(desk, order)] == [higher["id"], fresh["id"]]
    assert desk.status(stop) == "replaced" and desk.status(target) == "replaced"
    desk.share("97.00", "97.02")
    assert statuses(desk, order) == ["filled", "canceled", "filled"] and desk.held() == 0


def test_an_entry_is_replaced_with_its_exits(desk: Desk) -> None:
    order = desk.bracket(type="limit", limit_price="99")
    fresh = desk.good("PATCH", f"/orders/{order['id']}", {"limit_price": "100.01"})
    assert [leg["id"] for leg in fresh["legs"]] == [leg["id"] for leg in order["legs"]]
    assert statuses(desk, fresh) == ["filled", "new", "held"]


def test_a_pair_of_exits_for_a_position_that_is_there(desk: Desk) -> None:
    desk.buy("10")
    pair: dict[str, Any] = {"side": "sell", "type": "limit", "order_class": "oco", "time_in_force": "gtc"}
    pair |= {"take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "95", "limit_price": "94"}}
    order = desk.buy("10", **pair)
    assert (order["type"], order["limit_price"], len(order["legs"])) == ("limit", "110", 1)
    assert statuses(desk, order) == ["new", "held"]
    assert desk.ask("POST", "/orders", {"symbol": "AAPL", "qty": "1", "side": "sell", "type": "market",
                                        "time_in_force": "day"})[0] == 403  # fmt: skip
    desk.share("93.00", "93.02")
    assert statuses(desk, order) == ["canceled", "new"], "triggered below its limit: it waits, and it is all there is"
    desk.share("94.50", "94.52")
    assert statuses(desk, order) == ["canceled", "filled"] and desk.held() == 0


def test_an_entry_with_one_exit(desk: Desk) -> None:
    order = desk.buy("10", order_class="oto", stop_loss={"stop_price": "95"})
    assert statuses(desk, order) == ["filled", "new"], "a stop without a target beside it is shown at work"
    desk.share("94.00", "94.02")
    assert statuses(desk, order) == ["filled", "filled"]
    order = desk.buy("10", order_class="oto", take_profit={"limit_price": "99"})
    desk.share("99.00", "99.02")
    assert statuses(desk, order) == ["filled", "filled"] and desk.held() == 0


def test_a_short_bracket_is_turned_around(desk: Desk) -> None:
    order = desk.bracket(side="sell", target="90", stop="105")
    assert [leg["side"] for leg in order["legs"]] == ["buy", "buy"] and desk.held() == -10
    desk.share("105.00", "105.02")
    assert statuses(desk, order) == ["filled", "canceled", "filled"] and desk.held() == 0
    assert desk.cash == 100_000 + 10 * (Decimal("99.99") - Decimal("105.02"))


def test_shares_that_an_exit_will_sell_are_not_sold_twice(desk: Desk) -> None:
    order = desk.bracket()
    sale = {"symbol": "AAPL", "qty": "10", "side": "sell", "type": "market", "time_in_force": "day"}
    status, body = desk.ask("POST", "/orders", sale)
    assert status == 403 and body["code"] == 40310000
    assert body["message"] == "insufficient qty available for order (requested: 10, available: 0)"
    assert (body["existing_qty"], body["held_for_orders"]) == ("10", "10")
    assert body["related_orders"] == [order["legs"][0]["id"]]
    (position,) = desk.good("GET", "/positions")
    assert (position["qty"], position["qty_available"]) == ("10", "0")


def test_an_exit_never_turns_a_position_around(desk: Desk) -> None:
    order = desk.bracket()
    desk.control("external", account="SIMALPACA", kind="silent_position", instrument="AAPL", quantity="-7")
    desk.share("94.00", "94.02")
    stop = legs(desk, order)[1]
    assert (stop["status"], stop["filled_qty"]) == ("canceled", "3") and desk.held() == 0


def test_a_price_that_jumps_over_the_entry_and_its_stop_ends_flat(desk: Desk) -> None:
    order = desk.bracket(type="limit", limit_price="98", stop="97", target="99.50")
    desk.share("90.00", "90.02")
    assert statuses(desk, order) == ["filled", "canceled", "filled"] and desk.held() == 0


def test_a_group_whose_first_order_the_broker_rejects_is_over(desk: Desk) -> None:
    order = desk.bracket(type="limit", limit_price="99")
    desk.world.venues["alpaca"].reject(desk.account, desk.account.orders[order["id"]], "")
    assert statuses(desk, order) == ["rejected", "canceled", "canceled"] and desk.read(order)["failed_at"]
    assert desk.events(order)[-1] == "rejected" and desk.account.pending_ids == []
