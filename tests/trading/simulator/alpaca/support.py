"""A simulator in this process, asked as an Alpaca client asks, and the real client against one as a process."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from trading.simulator.core.calls import Call
from trading.simulator.core.model import Account

from ..support import Inside

TOKEN = "SIMKEY:sim-alpaca-secret"
ACCOUNT = "SIMALPACA"
Wire = dict[str, Any]


class Desk(Inside):
    """The default Alpaca account of a simulator in this process whose clock stands still; it hears the streams."""

    def __init__(self, *more: Any, **settings: Any) -> None:
        super().__init__(*more, **settings)
        self.heard: list[Wire] = []
        self.world.listeners.append(lambda account, kind, data: self.heard.append(data))

    @property
    def account(self) -> Account:
        return self.world.accounts[ACCOUNT]

    def ask(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> tuple[int, Any]:
        """A request below /v2."""
        path, _, query = path.partition("?")
        text = "" if body is None else json.dumps(body)
        answer = self.runtime.call("alpaca", Call(method, f"/v2{path}", query, text), token)
        assert answer is not None
        return answer.status, json.loads(json.dumps(answer.body))

    def good(self, method: str, path: str, body: Any = None) -> Any:
        """A request that must succeed; its body."""
        status, found = self.ask(method, path, body)
        assert status < 300, found
        return found

    def buy(self, qty: str = "10", **fields: Any) -> Wire:
        """Place an order, a buy of AAPL at the market unless fields say otherwise."""
        order = {"symbol": "AAPL", "qty": qty, "side": "buy", "type": "market", "time_in_force": "day", **fields}
        found: Wire = self.good("POST", "/orders", {key: value for key, value in order.items() if value is not None})
        return found

    def bracket(self, qty: str = "10", target: str = "110", stop: str = "95", **fields: Any) -> Wire:
        legs = {"take_profit": {"limit_price": target}, "stop_loss": {"stop_price": stop}}
        return self.buy(qty, order_class="bracket", **{**legs, **fields})

    def read(self, order: Wire) -> Wire:
        found: Wire = self.good("GET", f"/orders/{order['id']}?nested=true")
        return found

    def status(self, order: Wire) -> str:
        return str(self.read(order)["status"])

    def share(self, bid: str, ask: str, name: str = "AAPL") -> None:
        self.price(bid, ask, name)

    @property
    def cash(self) -> Decimal:
        return self.account.cash

    def held(self, name: str = "AAPL") -> Decimal:
        return sum(self.account.units(name), Decimal(0))

    def events(self, order: Wire) -> list[str]:
        """What the streams were told about an order, in its order."""
        return [data["event"] for data in self.heard if data.get("order", {}).get("id") == order["id"]]

    def fills(self) -> list[Wire]:
        found: list[Wire] = self.good("GET", "/account/activities/FILL?direction=asc")
        return found

    def own(self, kind: str) -> list[Wire]:
        """Rows of the journal about this account."""
        rows = self.world.state.journal.rows
        return [row["data"] for row in rows if row["kind"] == kind and row["account"] == ACCOUNT]
