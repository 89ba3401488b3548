"""The books of an OANDA account: its transactions, and what each of them does to orders, trades and cash.

What always holds here: every change of an account is a transaction with the next id; ids have no gap; the balance in
a transaction is the account's cash after it; an order's or trade's id is that of the transaction that made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from ..core import matching
from ..core.model import CANCELLED, FILLED, MARKET_IF_TOUCHED, Account, Order, Trade
from ..core.numbers import ZERO, iso, money, plain
from ..core.world import World
from .render import Wire, amount, average_price, last_id, user_of


class Books:
    """Writes transactions. One batch is what one request, or one price, causes in one account."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.request = ""
        self._batch = ""
        self._request = ""

    @contextmanager
    def batch(self, account: Account) -> Iterator[None]:
        """Everything written inside belongs together; an inner batch joins the outer one."""
        if self._batch:
            yield
            return
        self.world.past.remember(account)
        self._batch = str(len(account.history) + 1)
        self._request = self.request or self.world.next_request()
        try:
            yield
        finally:
            self._batch = self._request = ""

    def write(self, account: Account, kind: str, fields: Wire) -> Wire:
        """Append one transaction and return it."""
        number = str(len(account.history) + 1)
        row: Wire = {
            "id": number,
            "time": iso(self.world.now),
            "userID": user_of(account.id),
            "accountID": account.id,
            "batchID": self._batch or number,
            "requestID": self._request or self.world.next_request(),
            "type": kind,
            **fields,
        }
        account.history.append(row)
        self.world.tell(account.id, "transaction", row)
        return row

    def open_account(self, account: Account, cash: Decimal) -> None:
        """The first transactions: creation and deposit."""
        site, division, user, number = account.id.split("-")
        fields: Wire = {
            "divisionID": int(division),
            "siteID": int(site),
            "accountUserID": int(user),
            "accountNumber": int(number),
            "homeCurrency": account.currency,
        }
        self.write(account, "CREATE", fields)
        if cash:
            self.transfer(account, cash, "CLIENT_FUNDING")

    def transfer(
        self, account: Account, value: Decimal, reason: str, comment: str = "", kind: str = "transfer"
    ) -> Wire:
        """Money in (> 0) or out of the account; `kind` is the journal's word for it."""
        value = money(value)
        self.world.move_cash(account, kind, value)
        fields: Wire = {"amount": amount(value), "fundingReason": reason, "accountBalance": amount(account.cash)}
        if comment:
            fields["comment"] = comment
        return self.write(account, "TRANSFER_FUNDS", fields)

    # orders

    def add_order(self, account: Account, order: Order, reason: str, extra: Wire | None = None) -> Wire:
        """Create an order: its transaction, its place in the account, its row in the journal."""
        row = self.write(account, f"{order.type}_ORDER", {**order.wire["base"], "reason": reason, **(extra or {})})
        order.id = row["id"]
        order.created_at = self.world.now
        order.wire.setdefault("state", {})
        account.orders[order.id] = order
        account.pending_ids.append(order.id)
        quote = self.world.quote(order.instrument)
        if quote is not None:
            buys = self.world.buys(account, order)
            if order.type == MARKET_IF_TOUCHED:
                matching.start_touch(order, buys, quote)
                order.wire["state"]["initialMarketPrice"] = plain(matching.watched(buys, order.trigger, quote))
            matching.trail(order, buys, quote)
        self.journal_order(account, order)
        self.world.placed(account, order)
        return row

    def journal_order(self, account: Account, order: Order, status: str = "") -> None:
        """Write the order's present state into the journal."""
        units = order.units
        if not units:
            trade = account.trades[order.trade_id]
            units = -(trade.units or trade.initial_units)
        self.world.record(
            "order",
            account.id,
            {
                "id": order.id,
                "client_id": order.client_id,
                "instrument": order.instrument,
                "side": "BUY" if units > 0 else "SELL",
                "type": order.type,
                "quantity": plain(abs(units)),
                "filled": plain(abs(order.filled)),
                "status": status or order.status,
                "trade_id": order.trade_id,
            },
        )

    def cancel(self, account: Account, order: Order, reason: str, replaced_by: str = "") -> Wire:
        """End a pending order without (further) filling it."""
        fields: Wire = {"orderID": order.id}
        if order.client_id:
            fields["clientOrderID"] = order.client_id
        fields["reason"] = reason
        if replaced_by:
            fields["replacedByOrderID"] = replaced_by
        row = self.write(account, "ORDER_CANCEL", fields)
        order.status = CANCELLED
        order.wire["state"].update(cancellingTransactionID=row["id"], cancelledTime=row["time"])
        if replaced_by:
            order.wire["state"]["replacedByOrderID"] = replaced_by
        account.pending_ids.remove(order.id)
        self.journal_order(account, order)
        return row

    def expire(self, account: Account, order: Order, reason: str) -> None:
        """The order's time is over."""
        with self.batch(account):
            self.cancel(account, order, reason)

    def reject(self, account: Account, order: Order, reason: str) -> None:
        """The broker does not want an order any more that it has accepted."""
        with self.batch(account):
            self.cancel(account, order, reason or "INTERNAL_SERVER_ERROR")

    def cancel_linked(self, account: Account, trade: Trade, but: str) -> None:
        """Cancel the orders that guarded a trade which is closed now."""
        for order in account.pending_orders():
            if order.trade_id == trade.id and order.id != but:
                self.cancel(account, order, "LINKED_TRADE_CLOSED")

    def drop_linked(self, account: Account, trade: Trade) -> None:
        """Forget the orders of a trade that was taken away without any history."""
        for order in account.pending_orders():
            if order.trade_id == trade.id:
                order.status = CANCELLED
                account.pending_ids.remove(order.id)
                self.journal_order(account, order)

    def finish(self, account: Account, order: Order, fill: Wire) -> None:
        """Note in the order what its fill did, and end it when nothing is left."""
        state = order.wire["state"]
        state.update(fillingTransactionID=fill["id"], filledTime=fill["time"])
        if "tradeOpened" in fill:
            state["tradeOpenedID"] = fill["tradeOpened"]["tradeID"]
        if "tradeReduced" in fill:
            state["tradeReducedID"] = fill["tradeReduced"]["tradeID"]
        if "tradesClosed" in fill:
            closed = [row["tradeID"] for row in fill["tradesClosed"]]
            state["tradeClosedIDs"] = state.get("tradeClosedIDs", []) + closed
        order.filled += Decimal(fill["units"])

    def end_filled(self, account: Account, order: Order) -> None:
        """The order is filled: it rests no longer."""
        order.status = FILLED
        account.pending_ids.remove(order.id)
        self.journal_order(account, order)

    # trades

    def reduce(self, account: Account, trade: Trade, units: Decimal, price: Decimal, realised: Decimal) -> None:
        """Take `units` (of the trade's own sign) out of a trade at a price."""
        trade.units -= units
        trade.realised += realised
        trade.closed_units += abs(units)
        trade.closed_value += abs(units) * price
        account.realised += realised
        account.side(trade.instrument, units).realised += realised
        if not trade.is_open:
            trade.closed_at = self.world.now
            account.open_ids.remove(trade.id)

    def add_trade(self, account: Account, trade: Trade) -> None:
        """Put a new trade into the account."""
        account.trades[trade.id] = trade
        account.open_ids.append(trade.id)

    def journal_position(self, account: Account, name: str) -> None:
        """Write the position after a change."""
        for sign, side in ((1, "LONG"), (-1, "SHORT")):
            trades = [trade for trade in account.open_trades(name) if trade.units * sign > 0]
            units = sum((trade.units for trade in trades), ZERO)
            data = {"instrument": name, "side": side, "quantity": plain(abs(units))}
            data["average_price"] = plain(average_price(name, trades)) if trades else "0"
            self.world.record("position", account.id, data)

    def last(self, account: Account) -> str:
        """The id of the last transaction."""
        return last_id(account)
