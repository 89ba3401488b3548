"""Price endpoints: current prices and candles."""

from __future__ import annotations

from datetime import datetime

from ..core import valuation
from ..core.candles import GRANULARITIES, Candle
from ..core.instruments import FOREX
from ..core.model import Account
from ..core.numbers import iso, moment, plain
from ..core.world import World
from .answers import Answer, Call, Refusal
from .orders import whole
from .parse import instrument_or_refuse
from .render import Wire, price_text, price_wire

_MOST = 5000


class PriceCalls:
    """The price endpoints of one simulator."""

    def __init__(self, world: World) -> None:
        self.world = world

    def pricing(self, account: Account, call: Call) -> Answer:
        """GET /pricing?instruments=."""
        given = call.parameters()
        names = self._names(given)
        since = self._time(given, "since")
        shown = []
        for name in names:
            quote = self.world.quote(name)
            if quote is not None and (since is None or quote.at >= since):
                shown.append(price_wire(self.world, account, name, quote))
        body: Wire = {"prices": shown, "time": iso(self.world.now)}
        if given.get("includeHomeConversions", "").lower() == "true":
            body["homeConversions"] = self._conversions(account, names)
        return Answer(200, body)

    def _names(self, given: dict[str, str]) -> list[str]:
        names = [part for part in given.get("instruments", "").split(",") if part]
        if not names:
            raise Refusal(400, "Missing query parameter 'instruments'")
        for name in names:
            if name not in FOREX:
                raise Refusal(400, f"Invalid value specified for 'instruments': {name}")
        return names

    def stream(self, account: Account, call: Call) -> Answer:
        """GET /pricing/stream?instruments=: whether it may begin; what it says is not an answer."""
        self._names(call.parameters())
        return Answer(200, {}, outcome="stream")

    def _conversions(self, account: Account, names: list[str]) -> list[Wire]:
        shown = []
        currencies = [part for name in names for part in (FOREX[name].base, FOREX[name].quote)]
        for currency in dict.fromkeys(currencies):
            if currency == "XAU":
                continue
            factor = valuation.factors(self.world.market, self.world.now, currency, account.currency)
            shown.append(
                {
                    "currency": currency,
                    "accountGain": plain(factor.gain),
                    "accountLoss": plain(factor.loss),
                    "positionValue": plain(factor.mid),
                }
            )
        return shown

    def _time(self, given: dict[str, str], key: str) -> datetime | None:
        if key not in given:
            return None
        try:
            return moment(given[key])
        except ValueError:
            raise Refusal(400, f"Invalid value specified for '{key}'") from None

    def candles(self, account: Account | None, call: Call, name: str) -> Answer:
        """GET /instruments/{instrument}/candles: by count, by times, or both."""
        instrument_or_refuse(name)
        given = call.parameters()
        granularity = given.get("granularity", "S5")
        if granularity not in GRANULARITIES:
            raise Refusal(400, "Invalid value specified for 'granularity'")
        start, end = self._time(given, "from"), self._time(given, "to")
        count = whole(given, "count") if "count" in given else None
        if count is not None and start is not None and end is not None:
            raise Refusal(400, "'count' cannot be specified when 'to' and 'from' are provided")
        if count is not None and not 1 <= count <= _MOST:
            raise Refusal(400, f"Invalid value specified for 'count'. Maximum value is {_MOST}")
        if start is not None and start > self.world.now:
            raise Refusal(400, "Invalid value specified for 'from'. Time is in the future")
        if start is not None and end is not None:
            if end < start:
                raise Refusal(400, "Invalid value specified for 'to'. Time is before 'from'")
            if (end - start).total_seconds() / GRANULARITIES[granularity] > _MOST:
                raise Refusal(400, f"Maximum value for results exceeded: {_MOST}")
        most = count if count is not None else (_MOST if start is not None and end is not None else 500)
        skip = start is not None and given.get("includeFirst", "true").lower() == "false"
        found = self.world.market.candles(name, granularity, self.world.now, start, end, most + skip)
        if skip and found and found[0].start <= start <= found[0].end:  # type: ignore[operator]
            found = found[1:]
        kinds = given.get("price", "M").upper()
        if not kinds or set(kinds) - set("MBA"):
            raise Refusal(400, "Invalid value specified for 'price'")
        shown = [self._candle(name, candle, kinds) for candle in found[:most]]
        return Answer(200, {"instrument": name, "granularity": granularity, "candles": shown})

    def _candle(self, name: str, candle: Candle, kinds: str) -> Wire:
        half = self.world.market.half_spread(name)
        shown: Wire = {"complete": candle.complete, "volume": candle.volume, "time": iso(candle.start)}
        for letter, key, shift in (("B", "bid", -half), ("M", "mid", half * 0), ("A", "ask", half)):
            if letter in kinds:
                prices = zip("ohlc", (candle.open, candle.high, candle.low, candle.close), strict=True)
                shown[key] = {short: price_text(name, FOREX[name].price(value + shift)) for short, value in prices}
        return shown

    def latest(self, account: Account, call: Call) -> Answer:
        """GET /candles/latest?candleSpecifications=INSTRUMENT:GRANULARITY:PRICE,…: the last two of each."""
        shown = []
        for wanted in call.parameters().get("candleSpecifications", "").split(","):
            parts = wanted.split(":")
            if len(parts) != 3 or parts[1] not in GRANULARITIES or not parts[2] or set(parts[2]) - set("MBA"):
                raise Refusal(400, "Invalid value specified for 'candleSpecifications'")
            instrument_or_refuse(parts[0])
            found = self.world.market.candles(parts[0], parts[1], self.world.now, None, None, 2)
            candles = [self._candle(parts[0], candle, parts[2]) for candle in found]
            shown.append({"instrument": parts[0], "granularity": parts[1], "candles": candles})
        return Answer(200, {"latestCandles": shown})
