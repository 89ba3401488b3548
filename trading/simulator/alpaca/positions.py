"""Position endpoints: list, read, close one, close all."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from ..core.calls import Answer, Call
from ..core.instruments import SHARES
from ..core.model import Account, Trade
from ..core.numbers import number
from ..core.world import World
from .answers import Refusal, malformed, not_found
from .facts import SIMPLE
from .orders import OrderCalls
from .parse import Asked, quantity, true_in
from .render import Wire, fixed_id, position_wire

_SHARE = Decimal("0.000000001")


class PositionCalls:
    """The position endpoints of one simulator."""

    def __init__(self, world: World, orders: OrderCalls) -> None:
        self.world, self.orders = world, orders

    def listed(self, account: Account, call: Call) -> Answer:
        """GET /positions."""
        return Answer(200, [position_wire(self.world, account, trade) for trade in account.open_trades()])

    def _find(self, account: Account, symbol: str) -> Trade:
        wanted = symbol.upper()
        name = next((one for one in SHARES if wanted in (one, fixed_id(one).upper())), None)
        trade = next(iter(account.open_trades(name)), None) if name is not None else None
        if trade is None:
            raise not_found("position does not exist")
        return trade

    def get(self, account: Account, call: Call, symbol: str) -> Answer:
        """GET /positions/{symbol}."""
        return Answer(200, position_wire(self.world, account, self._find(account, symbol)))

    def close(self, account: Account, call: Call, symbol: str) -> Answer:
        """DELETE /positions/{symbol}, all of it or `qty` or `percentage`."""
        trade, given = self._find(account, symbol), call.parameters()
        if "qty" in given and "percentage" in given:
            raise malformed("only one of qty or percentage is accepted")
        units = quantity(dict(given), "qty") or abs(trade.units)
        if "percentage" in given:
            try:
                share = number(given["percentage"])
            except ValueError:
                raise malformed(f"invalid percentage: {given['percentage']}") from None
            if not 0 < share <= 100:
                raise malformed("percentage must be above 0 and at most 100")
            units = (abs(trade.units) * share / 100).quantize(_SHARE, rounding=ROUND_DOWN)
        if units == 0:
            raise malformed("the quantity to close must be above 0")
        return Answer(200, self._order(account, trade, units), outcome="changed")

    def _order(self, account: Account, trade: Trade, units: Decimal) -> Wire:
        side = "sell" if trade.units > 0 else "buy"
        wanted = Asked(
            symbol=trade.instrument, side=side, type="market", time_in_force="day", order_class=SIMPLE,
            quantity=units, notional=None, limit_price=None, stop_price=None, trail_price=None, trail_percent=None,
            extended_hours=False, client_id="", intent="any", take_profit=None, stop_loss=None,
        )  # fmt: skip
        return self.orders.place(account, wanted)

    def close_all(self, account: Account, call: Call) -> Answer:
        """DELETE /positions: an answer for each, its orders cancelled first if asked for."""
        if true_in(call.parameters(), "cancel_orders"):
            self.orders.cancel_open(account)
        found: list[Wire] = []
        for trade in account.open_trades():
            shown: Wire = {"symbol": trade.instrument}
            try:
                shown.update(status=200, body=self._order(account, trade, abs(trade.units)))
            except Refusal as refusal:
                shown.update(status=refusal.status, body=refusal.body())
            found.append(shown)
        return Answer(207, found, outcome="changed")
