"""Trade and position endpoints: list, look up, close, dependent orders, client extensions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..core.instruments import FOREX
from ..core.model import MARKET, STOP_LOSS, TAKE_PROFIT, TRAILING_STOP_LOSS, Account, Order, Trade
from ..core.numbers import ZERO, decimals, number, plain
from ..core.world import World
from .answers import Answer, Call, Refusal, Rejection, without_nulls
from .brackets import dependent_order
from .orders import limit, reject, related, whole
from .parse import Context, check_details, check_extensions, check_free, find_trade, instrument_or_refuse
from .render import Wire, last_id, position_wire, trade_wire, traded_names
from .venue import OandaVenue

_DEPENDENTS = {"takeProfit": TAKE_PROFIT, "stopLoss": STOP_LOSS, "trailingStopLoss": TRAILING_STOP_LOSS}


class TradeCalls:
    """The trade and position endpoints of one simulator."""

    def __init__(self, world: World, venue: OandaVenue) -> None:
        self.world, self.venue = world, venue

    def listed(self, account: Account, call: Call) -> Answer:
        """GET /trades: open ones unless another state is asked for, newest first."""
        given = call.parameters()
        state = given.get("state", "OPEN")
        if state not in ("OPEN", "CLOSED", "CLOSE_WHEN_TRADEABLE", "ALL"):
            raise Refusal(400, "Invalid value specified for 'state'")
        ids = [part for part in given.get("ids", "").split(",") if part]
        found = []
        for trade in reversed(account.trades.values()):
            if ids and trade.id not in ids:
                continue
            if not ids and state not in ("ALL", "OPEN" if trade.is_open else "CLOSED"):
                continue
            if "instrument" in given and trade.instrument != given["instrument"]:
                continue
            if "beforeID" in given and int(trade.id) > whole(given, "beforeID"):
                continue
            found.append(trade)
        return self._trades(account, found[: limit(given)])

    def opened(self, account: Account, call: Call) -> Answer:
        """GET /openTrades, newest first."""
        return self._trades(account, account.open_trades()[::-1])

    def _trades(self, account: Account, trades: list[Trade]) -> Answer:
        shown = [trade_wire(self.world, account, trade) for trade in trades]
        return Answer(200, {"trades": shown, "lastTransactionID": last_id(account)})

    def get(self, account: Account, call: Call, specifier: str) -> Answer:
        """GET /trades/{specifier}; closed trades are found too."""
        trade = find_trade(account, specifier) or account.trades.get(specifier)
        if trade is None and specifier.startswith("@"):
            found = [known for known in account.trades.values() if known.client_id == specifier[1:]]
            trade = found[-1] if found else None
        if trade is None:
            raise Refusal(404, "The trade ID specified does not exist", "NO_SUCH_TRADE")
        shown = trade_wire(self.world, account, trade)
        return Answer(200, {"trade": shown, "lastTransactionID": last_id(account)})

    # closing

    def close(self, account: Account, call: Call, specifier: str) -> Answer:
        """PUT /trades/{specifier}/close with units or ALL."""
        body = without_nulls(call.json())
        text = body.get("units", "ALL")
        trade = find_trade(account, specifier)
        with self.venue.batch(account):
            try:
                if trade is None:
                    raise Rejection("TRADE_DOESNT_EXIST", 404)
                units = _close_units(text, abs(trade.units), trade.instrument, "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE")
            except Rejection as found:
                why = {"units": str(text), "tradeID": specifier}
                if specifier.startswith("@"):
                    why = {"units": str(text), "clientTradeID": specifier[1:]}
                fields: Wire = {"tradeClose": why, "timeInForce": "FOK", "positionFill": "REDUCE_ONLY"}
                fields["reason"] = "TRADE_CLOSE"
                if trade is not None:
                    fields["instrument"] = trade.instrument
                return reject(self.venue, account, "MARKET_ORDER_REJECT", fields, found, "orderRejectTransaction")
            before = len(account.history)
            why = {"units": "ALL" if text == "ALL" else plain(units), "tradeID": trade.id}
            if trade.client_id:
                why["clientTradeID"] = trade.client_id
            order = self.venue.close_units(account, trade, units, {"tradeClose": why})
            body = self._settle(account, order, "TRADE_CLOSE", "order")
        body.update(related(account, before))
        return Answer(200, body, outcome=order.status.lower())

    def _settle(self, account: Account, order: Order, reason: str, prefix: str) -> Wire:
        before = len(account.history)
        body: Wire = {f"{prefix}CreateTransaction": self.venue.add_order(account, order, reason)}
        self.venue.settle(account, order)
        for row in account.history[before:]:
            if row["type"] == "ORDER_FILL" and row["orderID"] == order.id:
                body[f"{prefix}FillTransaction"] = row
            elif row["type"] == "ORDER_CANCEL" and row["orderID"] == order.id:
                body[f"{prefix}CancelTransaction"] = row
        return body

    # dependent orders

    def set_orders(self, account: Account, call: Call, specifier: str) -> Answer:
        """PUT /trades/{specifier}/orders: null cancels, an object creates or replaces, absence changes nothing."""
        body = call.json()
        trade = find_trade(account, specifier)
        if trade is None:
            raise Refusal(404, "The trade ID specified does not exist", "NO_SUCH_TRADE")
        held = {order.type: order for order in account.pending_orders() if order.trade_id == trade.id}
        before = len(account.history)
        item = FOREX[trade.instrument]
        made: dict[str, Order] = {}
        with self.venue.batch(account):
            for name, kind in _DEPENDENTS.items():
                if body.get(name) is None:
                    continue
                details = without_nulls(body[name])
                context = Context(account, self.world.now, held.get(kind))
                try:
                    checked = check_details(context, item, kind, details, "")
                    check_free(context, checked)
                except Rejection as found:
                    fields = {"tradeID": trade.id, **details, "reason": "CLIENT_ORDER"}
                    row_name = f"{name}OrderRejectTransaction"
                    return reject(self.venue, account, f"{kind}_ORDER_REJECT", fields, found, row_name)
                made[name] = dependent_order(kind, trade, checked, self.world.now)
            answer: Wire = {}
            for name, kind in _DEPENDENTS.items():
                if name in body:
                    answer.update(self._set_one(account, name, held.get(kind), made.get(name)))
            # All of them exist before the first may fill: a fill closes the trade and cancels the others.
            for new in made.values():
                if new.pending:
                    self.venue.settle(account, new)
        for name, new in made.items():
            for row in account.history[before:]:
                if row.get("orderID") == new.id:
                    key = "Fill" if row["type"] == "ORDER_FILL" else "CreatedCancel"
                    answer[f"{name}Order{key}Transaction"] = row
        return Answer(200, {**answer, **related(account, before)}, outcome="changed")

    def _set_one(self, account: Account, name: str, old: Order | None, new: Order | None) -> Wire:
        answer: Wire = {}
        extra: Wire = {}
        if old is not None and old.pending:
            reason = "CLIENT_REQUEST_REPLACED" if new else "CLIENT_REQUEST"
            following = str(len(account.history) + 2) if new else ""
            row = self.venue.cancel(account, old, reason, following)
            answer[f"{name}OrderCancelTransaction"] = row
            extra = {"replacesOrderID": old.id, "cancellingTransactionID": row["id"]}
        if new is None:
            return answer
        if extra:
            new.wire["state"]["replacesOrderID"] = extra["replacesOrderID"]
        reason = "REPLACEMENT" if extra else "CLIENT_ORDER"
        answer[f"{name}OrderTransaction"] = self.venue.add_order(account, new, reason, extra)
        return answer

    def change_extensions(self, account: Account, call: Call, specifier: str) -> Answer:
        """PUT /trades/{specifier}/clientExtensions."""
        body = without_nulls(call.json())
        trade = find_trade(account, specifier)
        kind, name = "TRADE_CLIENT_EXTENSIONS_MODIFY", "tradeClientExtensionsModify"
        with self.venue.batch(account):
            try:
                if trade is None:
                    raise Rejection("TRADE_DOESNT_EXIST", 404)
                given = check_extensions(body.get("clientExtensions"), "CLIENT_TRADE")
                if not given:
                    raise Rejection("CLIENT_EXTENSIONS_DATA_MISSING")
                others = {other.client_id for other in account.open_trades() if other is not trade}
                if given.get("id") and given["id"] in others:
                    raise Rejection("CLIENT_TRADE_ID_ALREADY_EXISTS")
            except Rejection as found:
                fields: Wire = {"tradeID": trade.id if trade else specifier}
                return reject(self.venue, account, f"{kind}_REJECT", fields, found, f"{name}RejectTransaction")
            before = len(account.history)
            kept = {**trade.wire.get("clientExtensions", {}), **given}
            trade.wire["clientExtensions"] = kept
            trade.client_id = kept.get("id", "")
            fields = {"tradeID": trade.id, "tradeClientExtensionsModify": given}
            if trade.client_id:
                fields["clientTradeID"] = trade.client_id
            row = self.venue.write(account, kind, fields)
        return Answer(200, {f"{name}Transaction": row, **related(account, before)}, outcome="changed")

    # positions

    def positions(self, account: Account, call: Call) -> Answer:
        """GET /positions: everything ever held."""
        shown = [position_wire(self.world, account, name) for name in traded_names(account)]
        return Answer(200, {"positions": shown, "lastTransactionID": last_id(account)})

    def open_positions(self, account: Account, call: Call) -> Answer:
        """GET /openPositions."""
        names = [name for name in FOREX if account.open_trades(name)]
        shown = [position_wire(self.world, account, name) for name in names]
        return Answer(200, {"positions": shown, "lastTransactionID": last_id(account)})

    def position(self, account: Account, call: Call, name: str) -> Answer:
        """GET /positions/{instrument}; zeros when nothing was ever held."""
        instrument_or_refuse(name)
        shown = position_wire(self.world, account, name)
        return Answer(200, {"position": shown, "lastTransactionID": last_id(account)})

    def close_position(self, account: Account, call: Call, name: str) -> Answer:
        """PUT /positions/{instrument}/close with longUnits and shortUnits: ALL, NONE or a number."""
        instrument_or_refuse(name)
        body = without_nulls(call.json())
        sides = (("long", 1), ("short", -1))
        wanted = {side: body.get(f"{side}Units", "") for side, _ in sides}
        held = {side: abs(_held(account, name, sign)) for side, sign in sides}
        if not any(wanted.values()):
            wanted = {side: "ALL" if held[side] else "NONE" for side, _ in sides}
            if not any(held.values()):
                wanted = {"long": "ALL", "short": "NONE"}
        before = len(account.history)
        answer: Wire = {}
        with self.venue.batch(account):
            checked: dict[str, Decimal] = {}
            for side, _ in sides:
                text = wanted[side]
                if text in ("", "NONE"):
                    continue
                try:
                    if not held[side]:
                        raise Rejection("CLOSEOUT_POSITION_DOESNT_EXIST", 404)
                    code = "CLOSEOUT_POSITION_UNITS_EXCEED_POSITION_SIZE"
                    checked[side] = _close_units(text, held[side], name, code)
                except Rejection as found:
                    fields: Wire = {
                        "instrument": name, f"{side}PositionCloseout": {"instrument": name, "units": str(text)},
                        "timeInForce": "FOK", "positionFill": "REDUCE_ONLY", "reason": "POSITION_CLOSEOUT",
                    }  # fmt: skip
                    row_name = f"{side}OrderRejectTransaction"
                    return reject(self.venue, account, "MARKET_ORDER_REJECT", fields, found, row_name)
            if not checked:
                raise Refusal(400, "Neither longUnits nor shortUnits asks for anything to be closed")
            for side, sign in sides:
                if side in checked:
                    given = check_extensions(body.get(f"{side}ClientExtensions"), "CLIENT_ORDER")
                    order = self._closeout(account, name, side, -sign * checked[side], str(wanted[side]), given)
                    answer.update(self._settle(account, order, "POSITION_CLOSEOUT", f"{side}Order"))
        return Answer(200, {**answer, **related(account, before)}, outcome="acted")

    def _closeout(self, account: Account, name: str, side: str, units: Decimal, text: str, extensions: Wire) -> Order:
        base: Wire = {
            "instrument": name, "units": plain(units), "timeInForce": "FOK", "positionFill": "REDUCE_ONLY",
            f"{side}PositionCloseout": {"instrument": name, "units": text},
        }  # fmt: skip
        if extensions:
            base["clientExtensions"] = extensions
        return Order(
            id="", instrument=name, type=MARKET, units=units, created_at=self.world.now, time_in_force="FOK",
            effect="REDUCE_ONLY", client_id=extensions.get("id", ""), wire={"base": base, "state": {}},
        )  # fmt: skip


def _held(account: Account, name: str, sign: int) -> Decimal:
    return sum((trade.units for trade in account.open_trades(name) if trade.units * sign > 0), ZERO)


def _close_units(text: Any, held: Decimal, name: str, too_many: str) -> Decimal:
    """How many units "ALL" or a number means. Raises Rejection or Refusal."""
    if text == "ALL":
        return held
    try:
        units = number(text)
    except ValueError:
        raise Refusal(400, "Invalid value specified for 'units'") from None
    if units <= 0:
        raise Rejection("UNITS_INVALID")
    if decimals(units) > FOREX[name].unit_decimals:
        raise Rejection("UNITS_PRECISION_EXCEEDED")
    if units > held:
        raise Rejection(too_many)
    return units
