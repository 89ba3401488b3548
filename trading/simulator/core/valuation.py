"""What an account is worth: conversion to its currency, unrealised profit, margin.

What always holds here: an unrealised amount is what closing right now would realise, to the last digit, because both
use the same price, the same factor and the same rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from .instruments import INSTRUMENTS
from .market import Market
from .matching import done_at
from .model import Account, Trade
from .numbers import ZERO, money

_FACTOR = Decimal("0.0000000001")
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Factors:
    """What one unit of a currency is worth in the account's: when it is gained, when it is lost, and half way."""

    gain: Decimal
    loss: Decimal
    mid: Decimal

    def convert(self, amount: Decimal) -> Decimal:
        """An amount in the account's currency, four decimals."""
        return money(amount * (self.gain if amount > 0 else self.loss))


@dataclass(frozen=True, slots=True)
class Worth:
    """An account's figures at a moment, in its currency."""

    unrealised: Decimal
    net: Decimal
    margin_used: Decimal
    margin_available: Decimal
    position_value: Decimal
    closeout_unrealised: Decimal
    closeout_net: Decimal
    closeout_percent: Decimal
    call_percent: Decimal


class NoConversion(Exception):
    """There is no price that leads from one currency to the other."""


def factors(market: Market, at: datetime, currency: str, home: str) -> Factors:
    """The conversion factors from `currency` to `home`. Raises NoConversion."""
    if currency == home:
        return Factors(_ONE, _ONE, _ONE)
    direct = _direct(market, at, currency, home)
    if direct is not None:
        return direct
    for middle in ("USD", "EUR", "GBP"):
        first, second = _direct(market, at, currency, middle), _direct(market, at, middle, home)
        if first is not None and second is not None:
            return Factors(
                (first.gain * second.gain).quantize(_FACTOR),
                (first.loss * second.loss).quantize(_FACTOR),
                (first.mid * second.mid).quantize(_FACTOR),
            )
    raise NoConversion(f"no price leads from {currency} to {home}")


def _direct(market: Market, at: datetime, currency: str, home: str) -> Factors | None:
    name, turned = f"{currency}_{home}", f"{home}_{currency}"
    if name in INSTRUMENTS:
        quote = market.indication(name, at)
        return Factors(quote.bid, quote.ask, quote.mid)
    if turned in INSTRUMENTS:
        quote = market.indication(turned, at)
        return Factors(*((_ONE / price).quantize(_FACTOR) for price in (quote.ask, quote.bid, quote.mid)))
    return None


def unrealised(market: Market, at: datetime, account: Account, trade: Trade) -> Decimal:
    """What closing the trade now would realise; zero while its instrument has no price."""
    quote = market.quote(trade.instrument, at)
    if quote is None:
        return ZERO
    price = done_at(trade.units < 0, quote)
    quoted = INSTRUMENTS[trade.instrument].quote
    return factors(market, at, quoted, account.currency).convert(trade.units * (price - trade.price))


def margin_rate(account: Account, name: str) -> Decimal:
    """The larger of the instrument's margin rate and the client's own."""
    rate = INSTRUMENTS[name].margin_rate
    return rate if account.margin_rate is None else max(rate, account.margin_rate)


def value_of(market: Market, at: datetime, account: Account, name: str, units: Decimal) -> Decimal:
    """The mid value of some units, in the account's currency."""
    quote = market.quote(name, at)
    if quote is None or units == 0:
        return ZERO
    item = INSTRUMENTS[name]
    if item.base == account.currency:
        return money(abs(units))
    return money(abs(units) * quote.mid * factors(market, at, item.quote, account.currency).mid)


def margin_of(market: Market, at: datetime, account: Account, name: str) -> Decimal:
    """Margin used by one position: the larger side counts when both are held."""
    long, short = account.units(name)
    return money(value_of(market, at, account, name, max(long, -short)) * margin_rate(account, name))


def worth(market: Market, at: datetime, account: Account) -> Worth:
    """All figures of the account at this moment."""
    names = {trade.instrument for trade in account.open_trades()}
    floating = sum((unrealised(market, at, account, trade) for trade in account.open_trades()), ZERO)
    used = sum((margin_of(market, at, account, name) for name in names), ZERO)
    value = ZERO
    middle = ZERO
    for trade in account.open_trades():
        value += value_of(market, at, account, trade.instrument, trade.units)
        quote = market.quote(trade.instrument, at)
        if quote is not None:
            quoted = INSTRUMENTS[trade.instrument].quote
            middle += money(trade.units * (quote.mid - trade.price) * factors(market, at, quoted, account.currency).mid)
    net, closeout_net = account.cash + floating, account.cash + middle
    return Worth(
        unrealised=floating,
        net=net,
        margin_used=used,
        margin_available=max(ZERO, net - used),
        position_value=value,
        closeout_unrealised=middle,
        closeout_net=closeout_net,
        closeout_percent=_share(used / 2, closeout_net),
        call_percent=_share(used, net),
    )


def _share(part: Decimal, whole: Decimal) -> Decimal:
    if part == 0:
        return ZERO
    return (part / whole).quantize(Decimal("0.00001")) if whole > 0 else Decimal(999)
