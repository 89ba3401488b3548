"""Order endpoints: create, list, look up, replace, cancel, client extensions."""

from __future__ import annotations

from ..core.model import FILLED, PENDING, Account, Order
from ..core.world import World
from .answers import Answer, Call, Refusal, Rejection, without_nulls
from .parse import Context, check_extensions, order_type, parse_order, reject_fields
from .render import Wire, last_id, order_wire
from .venue import OandaVenue

_NO_ORDER = "The Order ID specified does not exist"


def message_for(reason: str) -> str:
    """The sentence that goes with a reject code."""
    known = {
        "ORDER_DOESNT_EXIST": "The Order specified does not exist",
        "TRADE_DOESNT_EXIST": "The Trade specified does not exist",
        "CLIENT_ORDER_ID_ALREADY_EXISTS": "The client Order ID specified is already assigned to another pending Order",
        "UNITS_MISSING": "Order units have not been specified",
        "UNITS_INVALID": "Order units specified are invalid",
        "UNITS_PRECISION_EXCEEDED": "The units specified contain more precision than is allowed for the instrument",
        "UNITS_MIMIMUM_NOT_MET": "The units specified are less than the minimum number of units required",
        "UNITS_LIMIT_EXCEEDED": "The units specified exceed the maximum number of units allowed",
        "PRICE_PRECISION_EXCEEDED": "The price specified contains more precision than is allowed for the instrument",
        "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE": "The units specified exceed the units of the Trade",
        "CLOSEOUT_POSITION_DOESNT_EXIST": "The Position requested to be closed out does not exist",
    }
    return known.get(reason, reason.replace("_", " ").capitalize())


def related(account: Account, before: int) -> Wire:
    """The ids of all transactions since `before`, and the last one."""
    return {
        "relatedTransactionIDs": [row["id"] for row in account.history[before:]],
        "lastTransactionID": last_id(account),
    }


def reject(venue: OandaVenue, account: Account, kind: str, fields: Wire, found: Rejection, name: str) -> Answer:
    """Write the reject transaction and answer with it under `name`."""
    before = len(account.history)
    row = venue.write(account, kind, {**fields, "rejectReason": found.reason})
    body = {
        name: row,
        **related(account, before),
        "errorCode": found.reason,
        "errorMessage": message_for(found.reason),
    }
    return Answer(found.status, body, outcome="refused")


def find_order(account: Account, specifier: str, *, pending: bool = False) -> Order | None:
    """The order with this id or "@client id": of several with one client id the pending, else the last filled one."""
    if not specifier.startswith("@"):
        order = account.orders.get(specifier)
        return None if order is None or (pending and not order.pending) else order
    wanted = specifier[1:]
    found = [order for order in account.orders.values() if order.client_id == wanted]
    live = [order for order in found if order.pending]
    if live or pending:
        return live[-1] if live else None
    found = [order for order in found if order.status == FILLED] or found
    return found[-1] if found else None


class OrderCalls:
    """The order endpoints of one simulator."""

    def __init__(self, world: World, venue: OandaVenue) -> None:
        self.world, self.venue = world, venue

    def create(self, account: Account, call: Call) -> Answer:
        """POST /orders."""
        request = self._request(call)
        return self._place(account, request, None)

    def _request(self, call: Call) -> Wire:
        request = call.json().get("order")
        if not isinstance(request, dict):
            raise Refusal(400, "Invalid value specified for 'order'")
        return request

    def _place(self, account: Account, request: Wire, replaces: Order | None) -> Answer:
        kind = order_type(without_nulls(request))
        before = len(account.history)
        with self.venue.batch(account):
            try:
                order = parse_order(Context(account, self.world.now, replaces), request)
            except Rejection as found:
                reason = "REPLACEMENT" if replaces else "CLIENT_ORDER"
                fields = {**reject_fields(request), "reason": reason}
                if replaces:
                    fields["intendedReplacesOrderID"] = replaces.id
                return reject(self.venue, account, f"{kind}_ORDER_REJECT", fields, found, "orderRejectTransaction")
            body: Wire = {}
            reason, extra = "CLIENT_ORDER", {}
            if replaces is not None:
                number = str(len(account.history) + 2)
                row = self.venue.cancel(account, replaces, "CLIENT_REQUEST_REPLACED", number)
                body["orderCancelTransaction"] = row
                order.wire["state"]["replacesOrderID"] = replaces.id
                extra = {"replacesOrderID": replaces.id, "cancellingTransactionID": row["id"]}
                reason = "REPLACEMENT"
            body["orderCreateTransaction"] = self.venue.add_order(account, order, reason, extra)
            self.venue.settle(account, order)
        cancelled = "replacingOrderCancelTransaction" if replaces else "orderCancelTransaction"
        for row in account.history[before:]:
            if row["type"] == "ORDER_FILL" and row["orderID"] == order.id:
                body["orderFillTransaction"] = row
            elif row["type"] == "ORDER_CANCEL" and row["orderID"] == order.id:
                body[cancelled] = row
            elif row.get("replacesOrderID") == order.id:
                body["orderReissueTransaction"] = row
        outcome = {PENDING: "accepted"}.get(order.status, order.status.lower())
        headers = {"Location": f"/v3/accounts/{account.id}/orders/{order.id}"}
        return Answer(201, {**body, **related(account, before)}, headers, outcome)

    def replace(self, account: Account, call: Call, specifier: str) -> Answer:
        """PUT /orders/{specifier}: cancel the order and create its replacement."""
        request = self._request(call)
        old = find_order(account, specifier, pending=True)
        if old is None:
            return self._missing(account, specifier)
        if order_type(without_nulls(request)) != old.type:
            kind = f"{order_type(without_nulls(request))}_ORDER_REJECT"
            fields = {**reject_fields(request), "intendedReplacesOrderID": old.id, "reason": "REPLACEMENT"}
            with self.venue.batch(account):
                found = Rejection("REPLACING_ORDER_INVALID")
                return reject(self.venue, account, kind, fields, found, "orderRejectTransaction")
        return self._place(account, request, old)

    def cancel(self, account: Account, call: Call, specifier: str) -> Answer:
        """PUT /orders/{specifier}/cancel."""
        order = find_order(account, specifier, pending=True)
        if order is None:
            return self._missing(account, specifier)
        before = len(account.history)
        with self.venue.batch(account):
            row = self.venue.cancel(account, order, "CLIENT_REQUEST")
        return Answer(200, {"orderCancelTransaction": row, **related(account, before)}, outcome="cancelled")

    def _missing(self, account: Account, specifier: str) -> Answer:
        key = "clientOrderID" if specifier.startswith("@") else "orderID"
        known = find_order(account, specifier)
        fields = {"orderID": known.id} if known else {}
        fields[key] = specifier.lstrip("@")
        found = Rejection("ORDER_DOESNT_EXIST", 404)
        with self.venue.batch(account):
            name = "orderCancelRejectTransaction"
            return reject(self.venue, account, "ORDER_CANCEL_REJECT", fields, found, name)

    def get(self, account: Account, call: Call, specifier: str) -> Answer:
        """GET /orders/{specifier}."""
        order = find_order(account, specifier)
        if order is None:
            raise Refusal(404, _NO_ORDER, "NO_SUCH_ORDER")
        return Answer(200, {"order": order_wire(order), "lastTransactionID": last_id(account)})

    def pending(self, account: Account, call: Call) -> Answer:
        """GET /pendingOrders."""
        orders = [order_wire(order) for order in reversed(account.pending_orders())]
        return Answer(200, {"orders": orders, "lastTransactionID": last_id(account)})

    def listed(self, account: Account, call: Call) -> Answer:
        """GET /orders: pending ones unless another state is asked for, newest first."""
        given = call.parameters()
        state = given.get("state", "PENDING")
        if state not in ("PENDING", "FILLED", "TRIGGERED", "CANCELLED", "ALL"):
            raise Refusal(400, "Invalid value specified for 'state'")
        ids = [part for part in given.get("ids", "").split(",") if part]
        found = []
        for order in reversed(account.orders.values()):
            if ids and order.id not in ids:
                continue
            if not ids and state not in ("ALL", order.status):
                continue
            if "instrument" in given and order.instrument != given["instrument"]:
                continue
            if "beforeID" in given and int(order.id) > whole(given, "beforeID"):
                continue
            found.append(order_wire(order))
        found = found[: limit(given)]
        return Answer(200, {"orders": found, "lastTransactionID": last_id(account)})

    def change_extensions(self, account: Account, call: Call, specifier: str) -> Answer:
        """PUT /orders/{specifier}/clientExtensions."""
        body = without_nulls(call.json())
        order = find_order(account, specifier, pending=True)
        kind, name = "ORDER_CLIENT_EXTENSIONS_MODIFY", "orderClientExtensionsModify"
        with self.venue.batch(account):
            try:
                if order is None:
                    raise Rejection("ORDER_DOESNT_EXIST", 404)
                mine = check_extensions(body.get("clientExtensions"), "CLIENT_ORDER")
                theirs = check_extensions(body.get("tradeClientExtensions"), "CLIENT_TRADE")
                if not mine and not theirs:
                    raise Rejection("CLIENT_EXTENSIONS_DATA_MISSING")
                taken = {other.client_id for other in account.pending_orders() if other is not order}
                if mine.get("id") and mine["id"] in taken:
                    raise Rejection("CLIENT_ORDER_ID_ALREADY_EXISTS")
            except Rejection as found:
                fields: Wire = {"orderID": order.id if order else specifier}
                return reject(self.venue, account, f"{kind}_REJECT", fields, found, f"{name}RejectTransaction")
            before = len(account.history)
            fields = {"orderID": order.id}
            base = order.wire["base"]
            if mine:
                fields["clientExtensionsModify"] = mine
                base["clientExtensions"] = {**base.get("clientExtensions", {}), **mine}
                order.client_id = base["clientExtensions"].get("id", "")
            if theirs:
                fields["tradeClientExtensionsModify"] = theirs
                base["tradeClientExtensions"] = {**base.get("tradeClientExtensions", {}), **theirs}
            if order.client_id:
                fields["clientOrderID"] = order.client_id
            row = self.venue.write(account, kind, fields)
        return Answer(200, {f"{name}Transaction": row, **related(account, before)}, outcome="changed")


def whole(given: dict[str, str], key: str) -> int:
    """A whole number from the query. Raises Refusal."""
    try:
        return int(given[key])
    except ValueError:
        raise Refusal(400, f"Invalid value specified for '{key}'") from None


def limit(given: dict[str, str]) -> int:
    """The `count` of a list: 50 unless told, 500 at most."""
    count = whole(given, "count") if "count" in given else 50
    if not 1 <= count <= 500:
        raise Refusal(400, "Invalid value specified for 'count'")
    return count
