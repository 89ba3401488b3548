"""Whatever is asked, the Kite dialect answers in its envelope and the books stay as they were or balance."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from .support import Desk

FIELDS = (
    "exchange", "tradingsymbol", "transaction_type", "quantity", "product", "order_type", "price", "trigger_price",
    "validity", "validity_ttl", "disclosed_quantity", "market_protection", "tag", "autoslice", "iceberg_legs",
    "iceberg_quantity", "old_product", "new_product", "position_type", "api_key", "request_token", "checksum",
)  # fmt: skip
PATHS = (
    "/orders/regular", "/orders/amo", "/orders/iceberg", "/orders/%00", "/orders", "/orders/regular/1", "/trades",
    "/portfolio/positions", "/portfolio/holdings", "/user/margins", "/user/margins/none", "/margins/orders",
    "/margins/basket", "/session/token", "/session/refresh_token", "/connect/login", "/", "/mf/orders",
    "/orders/1/trades",
)  # fmt: skip
good = Desk.form("BUY", 10, validity="DAY")
words = st.one_of(
    st.text(max_size=25),
    st.sampled_from(["NaN", "-1", "1e9", "Infinity", "9" * 60, "0.000000001", "\u0663", "BUY", "IOC", "TTL", "1500"]),
    st.sampled_from([str(value) for value in good.values()]),
)
bodies = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), words, max_size=4).map(lambda given: {**good, **given}),
    st.dictionaries(st.sampled_from(FIELDS), words, max_size=8),
    st.lists(st.dictionaries(st.sampled_from(FIELDS), st.one_of(words, st.none(), st.lists(words)), max_size=6)),
    st.recursive(st.none() | st.booleans() | st.integers() | words, st.lists, max_leaves=5),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]), st.sampled_from(PATHS), bodies)))
def test_every_request_gets_an_answer(requests: list[tuple[str, str, Any]]) -> None:
    desk = Desk()
    for method, path, body in requests:
        status, found = desk.ask(method, path, body)
        assert status in (200, 400, 403, 404, 405), found
        assert set(found) == ({"status", "data"} if status == 200 else {"status", "message", "data", "error_type"})
    assert desk.cash == sum((Decimal(row["amount"]) for row in desk.own("cash")), Decimal(0))
