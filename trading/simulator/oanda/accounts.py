"""Account endpoints: list, details, summary, instruments, changes, configuration."""

from __future__ import annotations

from ..core.instruments import FOREX
from ..core.model import TRAILING_STOP_LOSS, Account
from ..core.numbers import number, plain
from ..core.world import World
from .answers import Answer, Call, Refusal, Rejection
from .orders import reject
from .render import (
    Wire,
    instrument_wire,
    last_id,
    order_wire,
    position_wire,
    price_text,
    state_wire,
    summary_wire,
    trade_wire,
    traded_names,
)
from .venue import OandaVenue


class AccountCalls:
    """The account endpoints of one simulator."""

    def __init__(self, world: World, venue: OandaVenue) -> None:
        self.world, self.venue = world, venue

    def details(self, account: Account, call: Call) -> Answer:
        """GET /accounts/{id}: everything."""
        shown = summary_wire(self.world, account)
        shown["trades"] = [trade_wire(self.world, account, trade, summary=True) for trade in account.open_trades()]
        shown["positions"] = [position_wire(self.world, account, name) for name in traded_names(account)]
        shown["orders"] = [order_wire(order) for order in account.pending_orders()]
        return Answer(200, {"account": shown, "lastTransactionID": last_id(account)})

    def summary(self, account: Account, call: Call) -> Answer:
        """GET /summary."""
        return Answer(200, {"account": summary_wire(self.world, account), "lastTransactionID": last_id(account)})

    def instruments(self, account: Account, call: Call) -> Answer:
        """GET /instruments, all or those asked for."""
        wanted = [part for part in call.parameters().get("instruments", "").split(",") if part]
        unknown = [name for name in wanted if name not in FOREX]
        if unknown:
            raise Refusal(400, f"Invalid value specified for 'instruments': {unknown[0]}")
        shown = [instrument_wire(item, account) for name, item in FOREX.items() if not wanted or name in wanted]
        return Answer(200, {"instruments": shown, "lastTransactionID": last_id(account)})

    def configure(self, account: Account, call: Call) -> Answer:
        """PATCH /configuration: alias and margin rate."""
        body = call.json()
        fields = {key: body[key] for key in ("alias", "marginRate") if body.get(key) is not None}
        with self.venue.batch(account):
            try:
                if not fields:
                    raise Rejection("CLIENT_CONFIGURE_DATA_MISSING")
                alias = fields.get("alias", account.alias)
                if not isinstance(alias, str) or len(alias) > 128:
                    raise Rejection("ALIAS_INVALID")
                rate = account.margin_rate
                if "marginRate" in fields:
                    rate = number(fields["marginRate"])
                    if not 0 < rate <= 1:
                        raise Rejection("MARGIN_RATE_INVALID")
                    fields["marginRate"] = plain(rate)
            except ValueError:
                raise Refusal(400, "Invalid value specified for 'marginRate'") from None
            except Rejection as found:
                kind, name = "CLIENT_CONFIGURE_REJECT", "clientConfigureRejectTransaction"
                return reject(self.venue, account, kind, fields, found, name)
            account.alias, account.margin_rate = alias, rate
            row = self.venue.write(account, "CLIENT_CONFIGURE", fields)
        body = {"clientConfigureTransaction": row, "lastTransactionID": last_id(account)}
        return Answer(200, body, outcome="changed")

    def changes(self, account: Account, call: Call) -> Answer:
        """GET /changes?sinceTransactionID=: what happened since, and the price-dependent state."""
        text = call.parameters().get("sinceTransactionID", "")
        if not text.isdecimal():
            raise Refusal(400, "Invalid value specified for 'sinceTransactionID'")
        since = int(text)
        if since > len(account.history):
            raise Refusal(416, "The transaction ID specified is beyond the last one", "INVALID_RANGE")
        rows = account.history[since:]
        changes = self._changes(account, rows)
        state: Wire = state_wire(self.world, account)
        state["orders"] = [
            {
                "id": order.id,
                "trailingStopValue": price_text(order.instrument, order.trailing),
                "isTriggerDistanceExact": False,
            }
            for order in account.pending_orders()
            if order.type == TRAILING_STOP_LOSS and order.trailing is not None
        ]
        state["trades"] = []
        for trade in account.open_trades():
            shown = trade_wire(self.world, account, trade, summary=True)
            state["trades"].append({key: shown[key] for key in ("id", "unrealizedPL", "marginUsed")})
        state["positions"] = []
        for name in FOREX:
            if account.open_trades(name):
                shown = position_wire(self.world, account, name)
                state["positions"].append(
                    {
                        "instrument": name,
                        "netUnrealizedPL": shown["unrealizedPL"],
                        "longUnrealizedPL": shown["long"]["unrealizedPL"],
                        "shortUnrealizedPL": shown["short"]["unrealizedPL"],
                        "marginUsed": shown["marginUsed"],
                    }
                )
        return Answer(200, {"changes": changes, "state": state, "lastTransactionID": last_id(account)})

    def _changes(self, account: Account, rows: list[Wire]) -> Wire:
        fresh = {row["id"] for row in rows}
        filled = [row["orderID"] for row in rows if row["type"] == "ORDER_FILL"]
        cancelled = [row["orderID"] for row in rows if row["type"] == "ORDER_CANCEL"]
        opened, reduced, closed, names = [], [], [], []
        for row in rows:
            if row["type"] != "ORDER_FILL":
                continue
            names.append(row["instrument"])
            if "tradeOpened" in row:
                opened.append(row["tradeOpened"]["tradeID"])
            if "tradeReduced" in row:
                reduced.append(row["tradeReduced"]["tradeID"])
            closed += [part["tradeID"] for part in row.get("tradesClosed", [])]

        def trades(ids: list[str]) -> list[Wire]:
            return [trade_wire(self.world, account, account.trades[key], summary=True) for key in dict.fromkeys(ids)]

        def orders(ids: list[str]) -> list[Wire]:
            return [order_wire(account.orders[key]) for key in dict.fromkeys(ids)]

        return {
            "ordersCreated": orders([key for key in account.orders if key in fresh]),
            "ordersCancelled": orders(cancelled),
            "ordersFilled": orders(filled),
            "ordersTriggered": [],
            "tradesOpened": trades(opened),
            "tradesReduced": trades(reduced),
            "tradesClosed": trades(closed),
            "positions": [position_wire(self.world, account, name) for name in dict.fromkeys(names)],
            "transactions": rows,
        }
