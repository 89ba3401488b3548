"""The tick and the freeze quantity of an instrument, as each broker's own row says them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from trading.brokers import alpaca_parse, kite_parse, oanda_parse
from trading.brokers.errors import BadData
from trading.domain.broker import BrokerInstrument

PAIR: dict[str, Any] = {
    "name": "USD_JPY", "displayName": "USD/JPY", "displayPrecision": 3, "tradeUnitsPrecision": 0, "pipLocation": -2,
    "minimumTradeSize": "1", "maximumOrderUnits": "100000000", "marginRate": "0.03",
}  # fmt: skip
SHARE: dict[str, Any] = {"symbol": "AAPL", "name": "Apple", "margin_requirement_long": "30"}
FUTURE = {
    "exchange": "NFO", "tradingsymbol": "NIFTY27DECFUT", "name": "NIFTY", "tick_size": "0.05", "lot_size": "75",
}  # fmt: skip


def says(found: BrokerInstrument) -> tuple[Decimal, Decimal | None]:
    return found.tick_size, found.freeze_quantity


def test_at_oanda_the_tick_is_the_last_decimal_and_the_largest_order_freezes() -> None:
    assert says(oanda_parse.instrument(PAIR)) == (Decimal("0.001"), Decimal(100_000_000))


def test_at_alpaca_the_tick_is_a_cent_where_no_other_is_named() -> None:
    assert says(alpaca_parse.instrument(SHARE, "USD")) == (Decimal("0.01"), None)
    assert says(alpaca_parse.instrument(SHARE | {"price_increment": "0.005"}, "USD")) == (Decimal("0.005"), None)
    with pytest.raises(BadData, match="price_increment"):
        alpaca_parse.instrument(SHARE | {"price_increment": "0"}, "USD")


def test_at_kite_the_list_says_the_tick_and_nothing_of_what_the_exchange_freezes() -> None:
    assert says(kite_parse.instrument(FUTURE)) == (Decimal("0.05"), None)
