"""The ticker's bytes, read by the client that Zerodha publishes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kiteconnect import KiteTicker

from trading.simulator.kite.packets import FULL, HEARTBEAT, LTP, QUOTE, frame, packet
from trading.simulator.kite.quotes import Level, Snapshot

SHARE, CURRENCY, INDEX = 408065, (777 << 8) + 3, 256265
NOW = datetime(2026, 1, 5, 4, 30, tzinfo=UTC)
PAISE = st.integers(1, 20_000_000).map(lambda value: Decimal(value) / 100)
QUANTITIES = st.integers(0, 2**32 - 1)


def _snapshot(token: int = SHARE, last: str = "1500.05", **more: Any) -> Snapshot:
    fields: dict[str, Any] = {
        "token": token, "at": NOW, "traded_at": NOW - timedelta(seconds=3), "last": Decimal(last),
        "last_quantity": 7, "average": Decimal("1499.90"), "volume": 123_456, "open": Decimal("1490"),
        "high": Decimal("1510.5"), "low": Decimal("1480.25"), "close": Decimal("1470"), "interest": 900,
        "lower_limit": Decimal(1), "upper_limit": Decimal(9),
        "buy": tuple(Level(Decimal("1500") - step, 100 + step, step + 1) for step in range(5)),
        "sell": tuple(Level(Decimal("1501") + step, 200 + step, step + 9) for step in range(5)), **more,
    }  # fmt: skip
    return Snapshot(**fields)


def _read(*packets: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = KiteTicker("key", "token")._parse_binary(frame(packets))
    return found


@pytest.mark.parametrize(
    ("token", "mode", "length"),
    [(SHARE, LTP, 8), (SHARE, QUOTE, 44), (SHARE, FULL, 184), (INDEX, LTP, 8), (INDEX, QUOTE, 28), (INDEX, FULL, 32)],
)
def test_a_packet_has_the_length_by_which_the_client_tells_its_mode(token: int, mode: str, length: int) -> None:
    data = packet(mode, _snapshot(token))
    assert len(data) == length
    (tick,) = _read(data)
    assert (tick["mode"], tick["instrument_token"], tick["last_price"]) == (mode, token, 1500.05)
    assert tick["tradable"] is (token != INDEX)


def test_the_client_reads_every_field_of_a_full_packet() -> None:
    (tick,) = _read(packet(FULL, _snapshot()))
    assert tick["ohlc"] == {"open": 1490.0, "high": 1510.5, "low": 1480.25, "close": 1470.0}
    assert (tick["last_traded_quantity"], tick["average_traded_price"], tick["volume_traded"]) == (7, 1499.9, 123_456)
    assert (tick["total_buy_quantity"], tick["total_sell_quantity"], tick["oi"]) == (510, 1010, 900)
    assert tick["exchange_timestamp"].astimezone(UTC) == NOW
    assert tick["last_trade_time"].astimezone(UTC) == NOW - timedelta(seconds=3)
    assert tick["depth"]["buy"][1] == {"quantity": 101, "price": 1499.0, "orders": 2}
    assert tick["depth"]["sell"][4] == {"quantity": 204, "price": 1505.0, "orders": 13}
    assert len(tick["depth"]["buy"]) == len(tick["depth"]["sell"]) == 5
    (index,) = _read(packet(FULL, _snapshot(INDEX)))
    assert index["ohlc"] == tick["ohlc"] and index["exchange_timestamp"].astimezone(UTC) == NOW


def test_a_currency_has_seven_decimals() -> None:
    (tick,) = _read(packet(LTP, _snapshot(CURRENCY, "83.1234567")))
    assert tick["last_price"] == pytest.approx(83.1234567, abs=1e-9)


def test_one_frame_carries_packets_of_several_modes_and_a_heartbeat_carries_none() -> None:
    ticks = _read(packet(LTP, _snapshot()), packet(FULL, _snapshot(INDEX)), packet(QUOTE, _snapshot()))
    assert [tick["mode"] for tick in ticks] == [LTP, FULL, QUOTE]
    assert len(HEARTBEAT) == 1 and KiteTicker("key", "token")._parse_binary(HEARTBEAT) == []


@given(last=PAISE, close=PAISE, volume=st.integers(0, 2**40), quantity=QUANTITIES, mode=st.sampled_from([QUOTE, FULL]))
def test_any_price_in_paise_arrives_exactly(
    last: Decimal, close: Decimal, volume: int, quantity: int, mode: str
) -> None:
    shown = _snapshot(last=str(last), close=close, volume=volume, last_quantity=quantity)
    (tick,) = _read(packet(mode, shown))
    assert (Decimal(str(tick["last_price"])), Decimal(str(tick["ohlc"]["close"]))) == (last, close)
    assert tick["volume_traded"] == min(volume, 2**32 - 1) and tick["last_traded_quantity"] == quantity
