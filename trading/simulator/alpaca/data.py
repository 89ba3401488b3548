"""The market data interface: bars in pages, and the latest quote, trade and bar.

What always holds here: numbers are JSON numbers; bars of minutes and hours are given once they are over, bars of days
and longer also while they run; a token names the bar that its page begins with.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import datetime

from ..core.calls import Answer, Call
from ..core.candles import Candle
from ..core.instruments import SHARES
from ..core.model import Account
from ..core.numbers import at_second, iso, moment, seconds_of
from ..core.nyse import day_of, midnight
from ..core.world import World
from .answers import Refusal, malformed
from .parse import count_in, time_in
from .render import Wire, bar_wire, market_price
from .timeframes import bucket, is_intraday, timeframe

_MOST = 10_000
_EXCHANGE = "V"


class DataCalls:
    """The data endpoints of one simulator."""

    def __init__(self, world: World) -> None:
        self.world = world

    # bars

    def bars(self, account: Account, call: Call) -> Answer:
        """GET /stocks/bars?symbols=."""
        names = self._names(call)
        found, token = self._bars(call, names)
        return Answer(200, {"bars": found, "next_page_token": token})

    def bars_of(self, account: Account, call: Call, symbol: str) -> Answer:
        """GET /stocks/{symbol}/bars."""
        name = symbol.upper()
        found, token = self._bars(call, [name])
        return Answer(200, {"bars": found.get(name, []), "symbol": name, "next_page_token": token})

    def _names(self, call: Call) -> list[str]:
        names = {part.strip().upper() for part in call.parameters().get("symbols", "").split(",") if part.strip()}
        if not names:
            raise Refusal(400, 40010000, "symbols is required")
        return sorted(names)

    def _bars(self, call: Call, names: list[str]) -> tuple[dict[str, list[Wire]], str | None]:
        """Bars by symbol, the symbols in alphabetical order, and the token of the next page."""
        try:
            return self._read(call, names)
        except Refusal as refusal:  # this interface has one status for all that it cannot read
            raise Refusal(400, refusal.code, refusal.message) from None

    def _read(self, call: Call, names: list[str]) -> tuple[dict[str, list[Wire]], str | None]:
        given = call.parameters()
        try:
            frame = timeframe(given.get("timeframe", ""))
        except ValueError as error:
            raise malformed(str(error)) from None
        most, sort = count_in(given, "limit", 1000, _MOST), given.get("sort") or "asc"
        if sort not in ("asc", "desc"):
            raise malformed(f"invalid sort: {sort}")
        start = time_in(given, "start") or midnight(day_of(self.world.now))
        end = time_in(given, "end") or self.world.now
        if start > end and given.get("end"):
            raise malformed("end should not be before start")
        first, begins = _page(given.get("page_token", ""))
        found: dict[str, list[Wire]] = {}
        for name in (one for one in names if one in SHARES and one >= first):
            low, high = start, end
            if name == first and begins is not None:
                low, high = (begins, high) if sort == "asc" else (low, begins)
            rows = self._of(name, frame, low, high, most + 1, sort)
            if len(rows) > most:
                if most:
                    found[name] = [bar_wire(one) for one in rows[:most]]
                return found, _token(name, rows[most].start)
            if rows:
                found[name] = [bar_wire(one) for one in rows]
                most -= len(rows)
        return found, None

    def _of(self, name: str, frame: str, start: datetime, end: datetime, most: int, sort: str) -> list[Candle]:
        """Bars that begin from `start` to `end`, both included."""
        market, now = self.world.market, self.world.now
        first = start if sort == "asc" else None
        until = at_second(bucket(frame, seconds_of(end))[1])  # the last bar may have its first price later
        found = market.candles(name, frame, now, first, until, most + 2, cut=bucket)
        if sort == "desc":
            found.reverse()
        running = not is_intraday(frame)
        return [one for one in found if start <= one.start <= end and (running or one.complete)][:most]

    # latest

    def latest(self, what: str) -> Callable[[Account, Call], Answer]:
        """GET /stocks/{quotes|trades|bars}/latest?symbols=."""

        def answer(account: Account, call: Call) -> Answer:
            shown = {name: self._latest(what, name) for name in self._names(call)}
            return Answer(200, {what: {name: one for name, one in shown.items() if one is not None}})

        return answer

    def latest_of(self, what: str) -> Callable[[Account, Call, str], Answer]:
        """GET /stocks/{symbol}/{quotes|trades|bars}/latest."""

        def answer(account: Account, call: Call, symbol: str) -> Answer:
            name = symbol.upper()
            found = self._latest(what, name)
            if found is None:
                raise Refusal(404, 40410000, f"no {what} found for {name}")
            return Answer(200, {"symbol": name, what[:-1]: found})

        return answer

    def _latest(self, what: str, name: str) -> Wire | None:
        if name not in SHARES:
            raise Refusal(400, 40010000, f"invalid symbol: {name}")
        if what == "bars":
            now = self.world.now
            rows = self.world.market.candles(name, "1Min", now, None, None, 2, cut=bucket)
            return next((bar_wire(one) for one in reversed(rows) if one.complete), None)
        quote = self.world.quote(name)
        if quote is None:
            return None
        if what == "quotes":
            return {
                "t": iso(quote.at), "ax": _EXCHANGE, "ap": float(quote.ask), "as": 1, "bx": _EXCHANGE,
                "bp": float(quote.bid), "bs": 1, "c": ["R"], "z": "C",
            }  # fmt: skip
        price = float(market_price(self.world, name))
        number = int((quote.at - at_second(0)).total_seconds())
        return {"t": iso(quote.at), "x": _EXCHANGE, "p": price, "s": 100, "c": ["@"], "i": number, "z": "C"}


def _token(name: str, begins: datetime) -> str:
    return base64.urlsafe_b64encode(f"{name}|{iso(begins)}".encode()).decode()


def _page(token: str) -> tuple[str, datetime | None]:
    """The symbol and the bar that a page begins with."""
    if not token:
        return "", None
    try:
        name, _, begins = base64.urlsafe_b64decode(token.encode()).decode().partition("|")
        return name, moment(begins)
    except (ValueError, binascii.Error):
        raise malformed("invalid page_token") from None
