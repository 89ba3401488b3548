"""Market data over HTTP: the dump of instruments, quotes, candles.

What always holds here: nothing is changed; an instrument that does not exist, or has no price yet, is absent from
quotes instead of an error; candles are those that begin from `from` to `to`, both included, the running one too.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

from ..core.calls import Answer, Call
from ..core.candles import Candle
from ..core.model import Account
from ..core.nse import INDIA
from ..core.numbers import plain
from ..core.world import World
from .answers import bad_input, success
from .contracts import CONTRACTS, Contract, by_token
from .parse import repeated
from .quotes import DAY, Level, Snapshot, cutter, lot_size, snapshot, to_tick
from .render import figure, ist
from .routes import Route

Wire = dict[str, Any]
COLUMNS = (
    "instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike", "tick_size",
    "lot_size", "instrument_type", "segment", "exchange",
)  # fmt: skip
EXCHANGES = ("NSE", "BSE", "NFO", "CDS", "BCD", "BFO", "MCX")
# The length of a candle in seconds, and the days that one request may span.
INTERVALS = {
    "minute": (60, 60), "3minute": (180, 100), "5minute": (300, 100), "10minute": (600, 100), "15minute": (900, 200),
    "30minute": (1800, 200), "60minute": (3600, 400), "day": (86_400, 2000),
}  # fmt: skip
_MOST_QUOTES, _MOST_PRICES = 500, 1000
_MOMENT = re.compile(r"20\d\d-\d\d-\d\d([ T+]\d\d:\d\d(:\d\d)?)?\Z", re.ASCII)
_TOKEN = re.compile(r"\d{1,10}\Z", re.ASCII)


class MarketDataCalls:
    """The market data endpoints of one simulator."""

    def __init__(self, world: World) -> None:
        self.world = world

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            ("GET", "/instruments", self.instruments),
            ("GET", "/instruments/([^/]+)", self.instruments),
            ("GET", "/instruments/historical/([^/]+)/([^/]+)", self.historical),
            ("GET", "/quote", self._quotes(_quote, _MOST_QUOTES)),
            ("GET", "/quote/ohlc", self._quotes(_with_day, _MOST_PRICES)),
            ("GET", "/quote/ltp", self._quotes(_with_last, _MOST_PRICES)),
        ]

    # instruments

    def instruments(self, account: Account, call: Call, exchange: str = "") -> Answer:
        """GET /instruments and /instruments/{exchange}: one line of CSV an instrument, without its price."""
        if exchange and exchange not in EXCHANGES:
            raise bad_input("Invalid exchange.")
        text = StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        for contract in CONTRACTS.values():
            if exchange in ("", contract.exchange):
                rows.writerow(_row(contract))
        return Answer(200, text.getvalue(), {"Content-Type": "text/csv"})

    # quotes

    def _quotes(self, shown: Callable[[Snapshot], Wire], most: int) -> Callable[[Account, Call], Answer]:
        """GET /quote and its shorter forms, for each `i=EXCHANGE:SYMBOL` or `i=token`."""

        def answer(account: Account, call: Call) -> Answer:
            names = [name for name in repeated(call, "i") if name]
            if not names:
                raise bad_input("Missing or empty field `i`")
            if len(names) > most:
                raise bad_input(f"Too many instruments: at most {most} at once.")
            found = {}
            for name in names:
                contract = _named(name)
                seen = snapshot(self.world, contract) if contract is not None else None
                if seen is not None:
                    found[name] = shown(seen)
            return success(found)

        return answer

    # candles

    def historical(self, account: Account, call: Call, token: str, interval: str) -> Answer:
        """GET /instruments/historical/{token}/{interval}?from=&to=&continuous=&oi=."""
        contract = by_token(int(token)) if _TOKEN.match(token) else None
        if contract is None:
            raise bad_input("invalid token")
        if interval not in INTERVALS:
            raise bad_input("invalid interval")
        seconds, days = INTERVALS[interval]
        given = call.parameters()
        start, end = _moment(given, "from"), _moment(given, "to")
        if start > end:
            raise bad_input("from date cannot be after to date")
        if end - start > timedelta(days=days):
            raise bad_input(f"interval exceeds max limit: {days} days")
        if interval == DAY:
            start = start.replace(hour=0, minute=0, second=0)
        most = int((end - start).total_seconds()) // seconds + 2
        until = end + timedelta(seconds=seconds)  # the last candle may have its first price later
        found = self.world.market.candles(
            contract.item.name, interval, self.world.now, start, until, most, cut=cutter(seconds)
        )
        interest = [0] if given.get("oi") == "1" else []
        rows = [_candle(contract, one) + interest for one in found if start <= one.start <= end]
        return success({"candles": rows})


def _row(contract: Contract) -> list[Any]:
    return [
        contract.token, contract.exchange_token, contract.symbol, contract.name, 0,
        contract.expiry.isoformat() if contract.expiry is not None else "", plain(contract.strike),
        plain(contract.item.tick), lot_size(contract), contract.kind, contract.segment, contract.exchange,
    ]  # fmt: skip


def _named(name: str) -> Contract | None:
    if _TOKEN.match(name):
        return by_token(int(name))
    return CONTRACTS.get(name)


def _moment(given: dict[str, str], name: str) -> datetime:
    """A time of India, with or without its time of day."""
    text = given.get(name, "")
    if _MOMENT.match(text):
        try:
            return datetime.fromisoformat(text.replace("+", " ")).replace(tzinfo=INDIA)
        except ValueError:
            pass
    raise bad_input(f"invalid {name} date")


def _candle(contract: Contract, one: Candle) -> list[Any]:
    prices = (one.open, one.high, one.low, one.close)
    begins = one.start.astimezone(INDIA).strftime("%Y-%m-%dT%H:%M:%S%z")
    return [begins, *(figure(to_tick(contract, price)) for price in prices), one.volume * lot_size(contract)]


def _with_last(seen: Snapshot) -> Wire:
    return {"instrument_token": seen.token, "last_price": figure(seen.last)}


def _day(seen: Snapshot) -> Wire:
    return {
        "open": figure(seen.open), "high": figure(seen.high), "low": figure(seen.low), "close": figure(seen.close),
    }  # fmt: skip


def _with_day(seen: Snapshot) -> Wire:
    return {**_with_last(seen), "ohlc": _day(seen)}


def _quote(seen: Snapshot) -> Wire:
    return {
        "instrument_token": seen.token,
        "timestamp": ist(seen.at),
        "last_trade_time": ist(seen.traded_at),
        "last_price": figure(seen.last),
        "last_quantity": seen.last_quantity,
        "buy_quantity": seen.buy_quantity,
        "sell_quantity": seen.sell_quantity,
        "volume": seen.volume,
        "average_price": figure(seen.average),
        "oi": seen.interest,
        "oi_day_high": seen.interest,
        "oi_day_low": seen.interest,
        "net_change": figure(Decimal(0)),
        "lower_circuit_limit": figure(seen.lower_limit),
        "upper_circuit_limit": figure(seen.upper_limit),
        "ohlc": _day(seen),
        "depth": {"buy": [_level(one) for one in seen.buy], "sell": [_level(one) for one in seen.sell]},
    }


def _level(level: Level) -> Wire:
    return {"price": figure(level.price), "quantity": level.quantity, "orders": level.orders}
