"""The ticker's binary packets. Pure functions.

What always holds here: all integers are unsigned and big-endian; a price is a whole number of hundredths (of
ten-millionths for currencies on NSE, of ten-thousandths for those on BSE and for NCO); what does not fit a field is
sent as the most that fits. The last byte of an instrument token names its segment.

A packet has 8 bytes (ltp), 44 (quote) or 184 (full), that of an index 8, 28 or 32. A frame is the number of its
packets (2 bytes), then each packet after its length (2 bytes); a frame of one byte is a heartbeat.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from ..core.numbers import seconds_of
from .quotes import Level, Snapshot

LTP, QUOTE, FULL = "ltp", "quote", "full"
MODES = (LTP, QUOTE, FULL)
HEARTBEAT = b"\x00"
_DIVISORS = {3: Decimal(10_000_000), 6: Decimal(10_000), 12: Decimal(10_000)}
_HUNDREDTHS = Decimal(100)
_INDICES = 9
_MOST = 0xFFFFFFFF


def packet(mode: str, shown: Snapshot) -> bytes:
    """One instrument's packet in this mode."""
    divisor = _DIVISORS.get(shown.token & 0xFF, _HUNDREDTHS)

    def price(value: Decimal) -> int:
        return _fitting(int((value * divisor).to_integral_value(ROUND_HALF_UP)))

    head = _words(shown.token, price(shown.last))
    if mode == LTP:
        return head
    if shown.token & 0xFF == _INDICES:
        prices = (shown.high, shown.low, shown.open, shown.close, abs(shown.last - shown.close))
        data = head + _words(*map(price, prices))
        return data if mode == QUOTE else data + _words(_time(shown.at))
    data = head + _words(
        shown.last_quantity, price(shown.average), shown.volume, shown.buy_quantity, shown.sell_quantity,
        price(shown.open), price(shown.high), price(shown.low), price(shown.close),
    )  # fmt: skip
    if mode == QUOTE:
        return data
    data += _words(_time(shown.traded_at), shown.interest, shown.interest, shown.interest, _time(shown.at))
    return data + b"".join(_level(level, price(level.price)) for level in (*shown.buy, *shown.sell))


def frame(packets: Sequence[bytes]) -> bytes:
    """The binary message that carries these packets."""
    return struct.pack(">H", len(packets)) + b"".join(struct.pack(">H", len(one)) + one for one in packets)


def _fitting(value: int) -> int:
    return min(max(value, 0), _MOST)


def _words(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *map(_fitting, values))


def _time(at: datetime) -> int:
    return seconds_of(at)


def _level(level: Level, price: int) -> bytes:
    return struct.pack(">IIHxx", _fitting(level.quantity), price, min(level.orders, 0xFFFF))
