"""Whatever a client sends, the answer is the broker's and never a breakdown, and refusals leave no trace."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from .support import Desk

ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**15), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6), st.sampled_from(["1", "0.001", "1e5", "NaN", "-1", "99.5", "101", "0.000000001"]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
LEG = st.one_of(
    ODD, st.fixed_dictionaries({}, optional={"limit_price": ODD, "stop_price": ODD}),
    st.fixed_dictionaries({"limit_price": st.sampled_from(["90", "110"])}),
    st.fixed_dictionaries({"stop_price": st.sampled_from(["90", "110"])}),
)  # fmt: skip


def often(*usual: Any) -> st.SearchStrategy[Any]:
    """One of the usual values most of the time."""
    return st.one_of(st.sampled_from(usual), st.sampled_from(usual), ODD)


ORDERS = st.fixed_dictionaries(
    {
        "symbol": often("AAPL", "SPY"), "side": often("buy", "sell"), "qty": often("1", "2.5", 3),
        "type": often("market", "limit", "stop", "stop_limit", "trailing_stop"),
        "time_in_force": often("day", "gtc", "opg", "cls", "ioc", "fok"),
    },
    optional={
        "notional": ODD, "limit_price": often("99", "101"), "stop_price": often("99", "101"),
        "trail_price": often("1", 2.5), "trail_percent": often("1", 250), "extended_hours": often(True, False),
        "client_order_id": often("a", "b"), "order_class": often("simple", "bracket", "oco", "oto"),
        "take_profit": LEG, "stop_loss": LEG, "position_intent": often("buy_to_open", "sell_to_close"), "x": ODD,
    },
)  # fmt: skip
CHANGES = st.fixed_dictionaries(
    {}, optional={key: often("1", "99", "day") for key in
                  ("qty", "limit_price", "stop_price", "trail", "time_in_force", "client_order_id")},
)  # fmt: skip
QUERIES = st.dictionaries(
    st.sampled_from(
        ["status", "limit", "after", "until", "direction", "nested", "symbols", "side", "before_order_id", "page_size",
         "page_token", "date", "activity_types", "category", "timeframe", "start", "end", "sort", "qty", "percentage"]
    ),
    st.one_of(
        st.text(max_size=5),
        st.sampled_from(["all", "2026-01-05", "2026-01-05T15:00:00Z", "1Day", "5Min", "3", "desc", "true", "AAPL"]),
    ),
    max_size=4,
)  # fmt: skip
READS = ("/orders", "/orders/x", "/orders:by_client_order_id", "/positions", "/positions/AAPL", "/account",
         "/account/activities", "/account/activities/FILL", "/assets", "/clock", "/stocks/AAPL/bars", "/stocks/bars",
         "/stocks/quotes/latest", "/stocks/SPY/trades/latest")  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(ORDERS, min_size=1, max_size=4), CHANGES, st.sampled_from(READS), QUERIES, st.booleans())
def test_every_request_gets_an_answer(
    orders: list[dict[str, Any]], changes: dict[str, Any], read: str, query: dict[str, str], is_open: bool
) -> None:
    desk = Desk()
    desk.control("clock", now=f"2026-01-05T{15 if is_open else 23}:00:00Z")
    desk.share("99.99", "100.01")
    for order in orders:
        before = len(desk.world.state.journal.rows), len(desk.account.orders)
        status, body = desk.ask("POST", "/orders", order)
        assert status in (200, 403, 422) and ("code" in body) == (status != 200)
        if status != 200:
            assert (before[0] + 1, before[1]) == (len(desk.world.state.journal.rows), len(desk.account.orders))
    for id in list(desk.account.pending_ids):
        status, body = desk.ask("PATCH", f"/orders/{id}", changes)
        assert status in (200, 403, 422) and ("code" in body) == (status != 200)
    status, body = desk.ask("GET", f"{read}?{urlencode(query)}")
    assert status == 200 or (status in (400, 404, 422) and body["message"])
    for path in ("/orders", f"/positions/AAPL?{urlencode(query)}", "/positions?cancel_orders=true"):
        assert desk.ask("DELETE", path)[0] in (200, 207, 403, 404, 422)
    desk.control("clock", now="2026-01-06T15:00:00Z")
    assert desk.held() == 0 or not is_open or "qty" in query or "percentage" in query
