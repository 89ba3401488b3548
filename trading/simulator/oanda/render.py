"""How accounts, orders, trades, positions and prices look on OANDA's wire.

What always holds here: numbers are decimal strings, times are RFC 3339 texts in UTC with nine decimals; a field that
has no value is left out, never null.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from ..core import valuation
from ..core.instruments import FOREX, Instrument
from ..core.market import Quote
from ..core.model import STOP_LOSS, TAKE_PROFIT, TRAILING_STOP_LOSS, Account, Order, Trade
from ..core.numbers import ZERO, iso, money, plain
from ..core.world import World

Wire = dict[str, Any]
_LIQUIDITY = 10_000_000


def amount(value: Decimal) -> str:
    """Money of an account: four decimals."""
    return f"{money(value):f}"


def price_text(name: str, value: Decimal) -> str:
    """A price with the instrument's decimals (more where it has more)."""
    item = FOREX[name]
    return format(value if -int(value.as_tuple().exponent) > item.price_decimals else item.price(value), "f")


def extensions(client_id: str, wire: Wire) -> Wire:
    """clientExtensions as given, or nothing."""
    return {"clientExtensions": wire["clientExtensions"]} if wire.get("clientExtensions") else {}


def order_wire(order: Order) -> Wire:
    """An Order."""
    shown: Wire = {"id": order.id, "createTime": iso(order.created_at), "type": order.type}
    shown.update(order.wire["base"])
    if order.trailing is not None:
        shown["trailingStopValue"] = price_text(order.instrument, order.trailing)
    shown["state"] = order.status
    shown.update(order.wire["state"])
    return shown


def _dependents(account: Account, trade: Trade) -> dict[str, Order]:
    pending = (order for order in account.pending_orders() if order.trade_id == trade.id)
    return {order.type: order for order in pending}


def trade_wire(world: World, account: Account, trade: Trade, *, summary: bool = False) -> Wire:
    """A Trade, or a TradeSummary (which names its dependent orders instead of showing them)."""
    name = trade.instrument
    shown: Wire = {
        "id": trade.id,
        "instrument": name,
        "price": price_text(name, trade.price),
        "openTime": iso(trade.opened_at),
        "initialUnits": plain(trade.initial_units),
        "initialMarginRequired": amount(trade.initial_margin),
        "state": "OPEN" if trade.is_open else "CLOSED",
        "currentUnits": plain(trade.units),
        "realizedPL": amount(trade.realised),
        "financing": amount(trade.financing),
        "dividendAdjustment": "0.0000",
    }
    if trade.is_open:
        shown["unrealizedPL"] = amount(valuation.unrealised(world.market, world.now, account, trade))
        value = valuation.value_of(world.market, world.now, account, name, trade.units)
        shown["marginUsed"] = amount(value * valuation.margin_rate(account, name))
    if trade.closed_units:
        shown["averageClosePrice"] = price_text(name, FOREX[name].price(trade.closed_value / trade.closed_units))
        shown["closingTransactionIDs"] = list(trade.closing_ids)
    if trade.closed_at is not None:
        shown["closeTime"] = iso(trade.closed_at)
    if trade.wire.get("clientExtensions"):
        shown["clientExtensions"] = trade.wire["clientExtensions"]
    names = {TAKE_PROFIT: "takeProfitOrder", STOP_LOSS: "stopLossOrder", TRAILING_STOP_LOSS: "trailingStopLossOrder"}
    if trade.is_open:
        for kind, order in _dependents(account, trade).items():
            if summary:
                shown[f"{names[kind]}ID"] = order.id
            else:
                shown[names[kind]] = order_wire(order)
    return shown


def side_wire(world: World, account: Account, name: str, sign: int) -> Wire:
    """One side of a position. Average price and trades are there only when it is open."""
    trades = [trade for trade in account.open_trades(name) if trade.units * sign > 0]
    units = sum((trade.units for trade in trades), ZERO)
    totals = account.side(name, Decimal(sign))
    floating = sum((valuation.unrealised(world.market, world.now, account, trade) for trade in trades), ZERO)
    shown: Wire = {"units": plain(units)}
    if trades:
        shown["averagePrice"] = price_text(name, average_price(name, trades))
        shown["tradeIDs"] = [trade.id for trade in trades]
    shown.update(
        pl=amount(totals.realised),
        resettablePL=amount(totals.realised),
        financing=amount(totals.financing),
        dividendAdjustment="0.0000",
        guaranteedExecutionFees="0.0000",
        unrealizedPL=amount(floating),
    )
    return shown


def average_price(name: str, trades: list[Trade]) -> Decimal:
    """The mean opening price of some trades of one side, rounded to the instrument's decimals."""
    units = sum((trade.units for trade in trades), ZERO)
    return FOREX[name].price(sum((trade.units * trade.price for trade in trades), ZERO) / units)


def position_wire(world: World, account: Account, name: str) -> Wire:
    """A Position with both sides."""
    long, short = (side_wire(world, account, name, sign) for sign in (1, -1))
    totals = [account.side(name, Decimal(sign)) for sign in (1, -1)]
    shown: Wire = {
        "instrument": name,
        "long": long,
        "short": short,
        "pl": amount(sum((side.realised for side in totals), ZERO)),
        "resettablePL": amount(sum((side.realised for side in totals), ZERO)),
        "financing": amount(sum((side.financing for side in totals), ZERO)),
        "commission": "0.0000",
        "dividendAdjustment": "0.0000",
        "guaranteedExecutionFees": "0.0000",
        "unrealizedPL": amount(Decimal(long["unrealizedPL"]) + Decimal(short["unrealizedPL"])),
    }
    if account.open_trades(name):
        shown["marginUsed"] = amount(valuation.margin_of(world.market, world.now, account, name))
    return shown


def traded_names(account: Account) -> list[str]:
    """Instruments that the account has ever held, in the instruments' order."""
    held = {trade.instrument for trade in account.trades.values()}
    held.update(key.split("/")[0] for key, side in account.totals.items() if side.realised or side.financing)
    return [name for name in FOREX if name in held]


def state_wire(world: World, account: Account) -> Wire:
    """The price-dependent figures of an account."""
    worth = valuation.worth(world.market, world.now, account)
    return {
        "unrealizedPL": amount(worth.unrealised),
        "NAV": amount(worth.net),
        "marginUsed": amount(worth.margin_used),
        "marginAvailable": amount(worth.margin_available),
        "positionValue": amount(worth.position_value),
        "marginCloseoutUnrealizedPL": amount(worth.closeout_unrealised),
        "marginCloseoutNAV": amount(worth.closeout_net),
        "marginCloseoutMarginUsed": amount(worth.margin_used),
        "marginCloseoutPercent": format(worth.closeout_percent, ".5f"),
        "marginCloseoutPositionValue": amount(worth.position_value),
        "withdrawalLimit": amount(max(ZERO, min(worth.margin_available, account.cash))),
        "marginCallMarginUsed": amount(worth.margin_used),
        "marginCallPercent": format(worth.call_percent, ".5f"),
    }


def summary_wire(world: World, account: Account) -> Wire:
    """An AccountSummary."""
    shown: Wire = {
        "id": account.id,
        "currency": account.currency,
        "balance": amount(account.cash),
        "createdByUserID": user_of(account.id),
        "createdTime": iso(account.created_at),
        "guaranteedStopLossOrderMode": "DISABLED",
        "pl": amount(account.realised),
        "resettablePL": amount(account.realised),
        "resettablePLTime": "0",
        "financing": amount(account.financing),
        "commission": amount(account.fees),
        "dividendAdjustment": "0.0000",
        "guaranteedExecutionFees": "0.0000",
        "openTradeCount": len(account.open_ids),
        "openPositionCount": len({trade.instrument for trade in account.open_trades()}),
        "pendingOrderCount": len(account.pending_ids),
        "hedgingEnabled": account.hedging,
    }
    if account.alias:
        shown["alias"] = account.alias
    if account.margin_rate is not None:
        shown["marginRate"] = plain(account.margin_rate)
    if account.last_fill_at is not None:
        shown["lastOrderFillTimestamp"] = iso(account.last_fill_at)
    shown.update(state_wire(world, account))
    shown["lastTransactionID"] = last_id(account)
    return shown


def last_id(account: Account) -> str:
    """The id of the account's last transaction."""
    return str(len(account.history))


def user_of(account_id: str) -> int:
    """The user number in an account id."""
    return int(account_id.split("-")[2])


def instrument_wire(item: Instrument, account: Account) -> Wire:
    """An Instrument as it is tradeable in the account."""
    return {
        "name": item.name,
        "type": item.kind,
        "displayName": item.display_name,
        "pipLocation": item.pip_location,
        "displayPrecision": item.price_decimals,
        "tradeUnitsPrecision": item.unit_decimals,
        "minimumTradeSize": plain(item.minimum_units),
        "maximumTrailingStopDistance": format(item.price(item.maximum_trailing), "f"),
        "minimumTrailingStopDistance": format(item.price(item.minimum_trailing), "f"),
        "maximumPositionSize": "0",
        "maximumOrderUnits": plain(item.maximum_units),
        "marginRate": plain(valuation.margin_rate(account, item.name)),
    }


def book_wire(name: str, quote: Quote) -> Wire:
    """The two sides of a price."""
    bid, ask = price_text(name, quote.bid), price_text(name, quote.ask)
    return {
        "bids": [{"price": bid, "liquidity": _LIQUIDITY}],
        "asks": [{"price": ask, "liquidity": _LIQUIDITY}],
        "closeoutBid": bid,
        "closeoutAsk": ask,
    }


def price_wire(world: World, account: Account, name: str, quote: Quote) -> Wire:
    """A ClientPrice."""
    tradeable = world.tradeable(name, account.broker)
    factor = valuation.factors(world.market, world.now, FOREX[name].quote, account.currency)
    return {
        "type": "PRICE",
        "instrument": name,
        "time": iso(quote.at),
        "status": "tradeable" if tradeable else "non-tradeable",
        "tradeable": tradeable,
        **book_wire(name, quote),
        "quoteHomeConversionFactors": {"positiveUnits": plain(factor.gain), "negativeUnits": plain(factor.loss)},
    }


def good_until(at: datetime | None) -> Wire:
    """gtdTime, when there is one."""
    return {"gtdTime": iso(at)} if at is not None else {}
