"""How the dialect writes orders, positions and times on the wire. Everything is text but counts and truths."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from uuid import UUID, uuid5

from ..core.candles import Candle
from ..core.hours import NEW_YORK
from ..core.instruments import SHARES, Instrument
from ..core.model import Account, Order, Trade
from ..core.numbers import ZERO, iso, plain
from ..core.nyse import midnight
from ..core.world import World
from .facts import facts, position, set_aside
from .timeframes import bucket

Wire = dict[str, Any]
_NAMESPACE = UUID("b0b1a7e2-62cb-4d39-8d2b-6f1f2a5d0c44")
_EXCHANGES = {"IBM": "NYSE", "SPY": "ARCA"}
_SIXTH = Decimal("0.000001")
_MOMENTS = (
    "updated_at", "submitted_at", "filled_at", "expired_at", "canceled_at", "failed_at", "replaced_at",
)  # fmt: skip


def fixed_id(name: str) -> str:
    """The id of a thing that always exists: a share, an account."""
    return str(uuid5(_NAMESPACE, name))


def text(value: Decimal | None) -> str | None:
    """A number as text; None for none."""
    return None if value is None else plain(value)


def average(value: Decimal) -> str:
    """A price that was computed: six decimals."""
    return plain(value.quantize(_SIXTH, rounding=ROUND_HALF_EVEN))


def new_york(at: datetime) -> str:
    """A time with New York's offset."""
    return at.astimezone(NEW_YORK).isoformat(timespec="microseconds")


def activity_prefix(at: datetime) -> str:
    """The first part of an activity's id: New York's time to the millisecond."""
    local = at.astimezone(NEW_YORK)
    return local.strftime("%Y%m%d%H%M%S") + f"{local.microsecond // 1000:03d}"


def asset_wire(item: Instrument) -> Wire:
    """One asset."""
    return {
        "id": fixed_id(item.name),
        "class": "us_equity",
        "exchange": _EXCHANGES.get(item.name, "NASDAQ"),
        "symbol": item.name,
        "name": item.display_name,
        "status": "active",
        "tradable": True,
        "marginable": True,
        "maintenance_margin_requirement": 30,
        "margin_requirement_long": "30",
        "margin_requirement_short": "30",
        "shortable": True,
        "easy_to_borrow": True,
        "borrow_status": "easy_to_borrow",
        "fractionable": True,
        "attributes": ["fractional_eh_enabled"],
    }


def order_wire(account: Account, order: Order, *, nested: bool = False) -> Wire:
    """One order as it is now; with `nested` its group's other orders in `legs`."""
    known = facts(order)
    filled = abs(order.filled)
    stop, high_water = known.stop_price, None
    if known.type == "trailing_stop":
        stop, high_water = order.trailing, order.mark
    legs = [order_wire(account, account.orders[key]) for key in known.legs] if nested and known.legs else None
    return {
        "id": order.id,
        "client_order_id": order.client_id,
        "created_at": iso(order.created_at),
        **{key: iso(known.moments[key]) if key in known.moments else None for key in _MOMENTS},
        "expires_at": iso(order.expires_at) if order.expires_at is not None else None,
        "replaced_by": known.replaced_by or None,
        "replaces": known.replaces or None,
        "asset_id": fixed_id(order.instrument),
        "symbol": order.instrument,
        "asset_class": "us_equity",
        "notional": text(known.notional),
        "qty": text(known.quantity),
        "filled_qty": plain(filled),
        "filled_avg_price": average(known.value / filled) if filled else None,
        "order_class": "" if known.order_class == "simple" else known.order_class,
        "order_type": known.type,
        "type": known.type,
        "side": side_of(order),
        "position_intent": known.intent,
        "time_in_force": known.time_in_force,
        "limit_price": text(known.limit_price),
        "stop_price": text(stop),
        "status": known.status,
        "extended_hours": order.extended,
        "legs": legs,
        "trail_percent": text(known.trail_percent),
        "trail_price": text(known.trail_price),
        "hwm": text(high_water),
        "subtag": None,
        "source": None,
    }


def side_of(order: Order) -> str:
    """buy or sell."""
    return "buy" if order.units > 0 else "sell"


def market_price(world: World, name: str) -> Decimal:
    """What a share is worth now: half way between bid and ask, to a cent."""
    return SHARES[name].price(world.market.indication(name, world.now).mid)


def previous_close(world: World, name: str) -> Decimal:
    """The last price before today began in New York; the present price when there was none."""
    today = midnight(world.now.astimezone(NEW_YORK).date())
    found = world.market.candles(name, "1Day", today - timedelta(seconds=1), None, None, 1, cut=bucket)
    return found[0].close if found else market_price(world, name)


def position_wire(world: World, account: Account, trade: Trade) -> Wire:
    """One position."""
    name, units = trade.instrument, trade.units
    price, before = market_price(world, name), previous_close(world, name)
    cost, value = units * trade.price, units * price
    floating, today = value - cost, units * (price - before)
    return {
        "asset_id": fixed_id(name),
        "symbol": name,
        "exchange": _EXCHANGES.get(name, "NASDAQ"),
        "asset_class": "us_equity",
        "asset_marginable": True,
        "avg_entry_price": average(trade.price),
        "qty": plain(units),
        "qty_available": plain((abs(units) - set_aside(account, name)).copy_sign(units)),
        "side": "long" if units > 0 else "short",
        "market_value": average(value),
        "cost_basis": average(cost),
        "unrealized_pl": average(floating),
        "unrealized_plpc": average(floating / abs(cost)) if cost else "0",
        "unrealized_intraday_pl": average(today),
        "unrealized_intraday_plpc": average(today / abs(units * before)) if before else "0",
        "current_price": plain(price),
        "lastday_price": plain(before),
        "change_today": average((price - before) / before) if before else "0",
    }


def held(world: World, account: Account) -> tuple[Decimal, Decimal]:
    """The market value of what is held long (>= 0) and short (<= 0)."""
    values = [position(account, name) * market_price(world, name) for name in SHARES if account.open_trades(name)]
    return sum((one for one in values if one > 0), ZERO), sum((one for one in values if one < 0), ZERO)


def bar_wire(candle: Candle) -> Wire:
    """One bar of the data interface, whose numbers are numbers."""
    typical = ((candle.high + candle.low + candle.close) / 3).quantize(_SIXTH)
    return {
        "t": candle.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "o": float(candle.open),
        "h": float(candle.high),
        "l": float(candle.low),
        "c": float(candle.close),
        "v": candle.volume,
        "n": candle.volume,
        "vw": float(typical),
    }
