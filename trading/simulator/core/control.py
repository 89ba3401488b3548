"""What testers may do to the world, free of any web server: prices, bars, time, faults, accounts, events.

What always holds here: an operation either happens wholly or raises ValueError with a sentence and changes nothing
but, for bars, what was traded before the bad one was noticed: bars are checked before the first is traded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol

from .candles import Bar
from .faults import make_fault
from .instruments import INSTRUMENTS, find_instrument
from .model import Account
from .numbers import decimals, iso, moment, number, plain
from .world import World

Body = dict[str, Any]
_MOST_SPEED = Decimal(1_000_000)
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|localhost):\d{1,5}/\S*\Z", re.ASCII)


class Broker(Protocol):
    """What a dialect offers to the control API."""

    def new_account(self, currency: str, cash: Decimal, hedging: bool) -> tuple[Account, Body]: ...

    def reset(self, account: Account) -> Account: ...

    def external(self, account: Account, body: Body) -> Body: ...

    def truth(self, account: Account) -> Body: ...


class Control:
    """The control operations of one world."""

    def __init__(self, world: World, brokers: dict[str, Broker]) -> None:
        self.world, self.brokers = world, brokers
        self._operations: dict[str, Callable[[Body], Body]] = {
            "prices": self._prices,
            "bars": self._bars,
            "schedule": self._schedule,
            "clock": self._clock,
            "fault": self._fault,
            "clear_faults": self._clear_faults,
            "account": self._account,
            "reset": self._reset,
            "external": self._external,
            "postback": self._postback,
        }

    def apply(self, operation: str, body: Body) -> Body:
        """Do one operation at the world's present time. Raises ValueError with a sentence, KeyError if unknown."""
        return self._operations[operation](body)

    def clock(self) -> Body:
        """The time and its speed."""
        return {"now": iso(self.world.now), "speed": plain(self.world.state.speed)}

    def find_account(self, id: str) -> Account:
        """The account. Raises ValueError."""
        account = self.world.accounts.get(id)
        if account is None:
            raise ValueError(f"there is no account {id}")
        return account

    def truth(self, id: str) -> Body:
        """An account as it really is. Raises ValueError."""
        account = self.find_account(id)
        return self.brokers[account.broker].truth(account)

    # market

    def _name(self, body: Body) -> str:
        item = find_instrument(str(body.get("instrument", "")))
        if item is None:
            raise ValueError(f"there is no instrument {body.get('instrument')!r}; there are: {', '.join(INSTRUMENTS)}")
        return item.name

    def _spread(self, body: Body) -> Decimal | None:
        if body.get("half_spread") is None:
            return None
        half = number(body["half_spread"])
        if half < 0:
            raise ValueError("half_spread must not be below zero")
        return half

    def _prices(self, body: Body) -> Body:
        name = self._name(body)
        bid, ask = number(body.get("bid")), number(body.get("ask"))
        if not 0 < bid <= ask:
            raise ValueError("bid must be above zero and not above ask")
        item = INSTRUMENTS[name]
        if max(decimals(bid), decimals(ask)) > item.price_decimals:
            raise ValueError(f"a price of {name} has at most {item.price_decimals} decimals")
        self.world.set_price(name, item.price(bid), item.price(ask))
        return {"instrument": name, "bid": plain(bid), "ask": plain(ask), "now": iso(self.world.now)}

    def _rows(self, body: Body) -> list[list[Any]]:
        bars = body.get("bars")
        if not isinstance(bars, list) or not bars:
            raise ValueError("bars must be a list of at least one bar")
        rows = [bar_row(bar, index) for index, bar in enumerate(bars)]
        for index in range(1, len(rows)):
            if rows[index][0] < rows[index - 1][0] + rows[index - 1][1]:
                raise ValueError(f"bar {index} begins before the one before it ends")
        return rows

    def _bars(self, body: Body) -> Body:
        name, half = self._name(body), self._spread(body)
        rows = self._rows(body)
        if half is not None:
            self.world.state.market.half_spreads[name] = half
        for start, interval, opened, high, low, close, volume in rows:
            bar = Bar(Decimal(opened), Decimal(high), Decimal(low), Decimal(close), volume)
            self.world.play_bar(name, moment(str(start)), timedelta(seconds=interval), bar)
        return {"instrument": name, "bars": len(rows), "now": iso(self.world.now)}

    def _schedule(self, body: Body) -> Body:
        name = self._name(body)
        self.world.schedule(name, self._rows(body))
        return {"instrument": name}

    def _clock(self, body: Body) -> Body:
        given = [key for key in ("now", "speed", "step") if body.get(key) is not None]
        if not given:
            raise ValueError("give now (a time), step (seconds) or speed (times real time)")
        speed = None
        if body.get("speed") is not None:
            speed = number(body["speed"])
            if not 0 <= speed <= _MOST_SPEED:
                raise ValueError(f"speed must be between 0 and {_MOST_SPEED}")
        target = self.world.now
        if body.get("now") is not None:
            target = moment(body["now"])
            if target < self.world.now:
                self.world.put_back(target)
        if body.get("step") is not None:
            step = number(body["step"])
            if step < 0:
                raise ValueError("step must not be below zero; to go back, give now")
            target += timedelta(microseconds=int(step * 1_000_000))
        self.world.advance(target)
        if speed is not None:
            self.world.state.speed = speed
        return self.clock()

    # faults and accounts

    def _fault(self, body: Body) -> Body:
        state = self.world.state
        fault = make_fault(str(state.made + 1), body)
        state.made += 1
        if fault.action == "halt":
            if "instrument" in fault.args:
                fault.args["instrument"] = self._name(fault.args)
            if "seconds" in fault.args:
                pause = timedelta(microseconds=int(number(fault.args["seconds"]) * 1_000_000))
                fault.args["until"] = iso(self.world.now + pause)
        state.faults.append(fault)
        return fault.shown()

    def _clear_faults(self, body: Body) -> Body:
        cleared = len([fault for fault in self.world.state.faults if fault.left > 0])
        self.world.state.faults.clear()
        self.world.state.hidden.clear()
        return {"cleared": cleared}

    def _account(self, body: Body) -> Body:
        broker = body.get("broker", "oanda")
        if broker not in self.brokers:
            raise ValueError(f"there is no broker {broker!r}; there are: {', '.join(self.brokers)}")
        cash = number(body.get("cash", "100000"))
        if cash < 0:
            raise ValueError("cash must not be below zero")
        hedging = body.get("hedging", False)
        if not isinstance(hedging, bool):
            raise ValueError("hedging must be true or false")
        account, credentials = self.brokers[broker].new_account(str(body.get("currency", "USD")), cash, hedging)
        return {"id": account.id, "credentials": credentials}

    def _reset(self, body: Body) -> Body:
        account = self.find_account(str(body.get("account")))
        state = self.world.state
        state.hidden[:] = [one for one in state.hidden if one.account != account.id]
        state.doomed[:] = [one for one in state.doomed if one.account != account.id]
        return self.brokers[account.broker].truth(self.brokers[account.broker].reset(account))

    def _external(self, body: Body) -> Body:
        account = self.find_account(str(body.get("account")))
        return self.brokers[account.broker].external(account, body)

    def _postback(self, body: Body) -> Body:
        account, url = self.find_account(str(body.get("account"))), str(body.get("url") or "")
        if url and not _LOOPBACK.match(url):
            raise ValueError("url must begin with http://127.0.0.1:PORT/, or be empty for no postbacks")
        account.wire["postback_url"] = url
        return {"account": account.id, "url": url}


def bar_row(bar: Any, index: int) -> list[Any]:
    """A bar as [start second, interval, o, h, l, c, volume]. Raises ValueError with the bar's number."""
    try:
        if not isinstance(bar, dict):
            raise ValueError("it is not an object")
        start = moment(bar.get("start", bar.get("ts")))
        prices = [number(bar.get(key)) for key in ("open", "high", "low", "close")]
        interval = int(number(bar.get("interval", 300)))
        volume = int(number(bar.get("volume") or 0))
        opened, high, low, close = prices
        if low <= 0 or high < max(opened, close, low) or low > min(opened, close):
            raise ValueError("its prices do not fit together (low <= open, close <= high, all above zero)")
        if interval < 4 or start.microsecond:
            raise ValueError("its start must be a whole second and its interval at least 4 seconds")
    except ValueError as error:
        raise ValueError(f"bar {index}: {error}") from None
    return [int(start.timestamp()), interval, *(plain(price) for price in prices), volume]
