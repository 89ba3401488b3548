"""A simulator in this process, asked as a Kite client asks."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from trading.simulator.core.calls import Call
from trading.simulator.core.model import Account

from ..support import Inside

TOKEN = "token simkitekey:sim-kite-token"
SECRET = "sim-kite-secret"
ACCOUNT = "SIMKITE"
MORNING = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)  # Monday, 09:30 in India
Wire = dict[str, Any]


class Desk(Inside):
    """The default Kite account of a simulator in this process whose clock stands still; it hears the updates."""

    def __init__(self, start: datetime = MORNING, **settings: Any) -> None:
        super().__init__(start, **settings)
        self.heard: list[Wire] = []
        self.token = TOKEN
        self.world.listeners.append(self._hear)
        self.share("1500", "1500.05")

    def _hear(self, account: str, kind: str, data: Wire) -> None:
        if (account, kind) == (ACCOUNT, "order_update"):
            self.heard.append(data)

    @property
    def account(self) -> Account:
        return self.world.accounts[ACCOUNT]

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Wire]:
        """A request; a dict goes as a form, anything else as JSON. The whole envelope comes back."""
        path, _, query = path.partition("?")
        text = urlencode(body) if isinstance(body, dict) else "" if body is None else json.dumps(body)
        authorization = self.token if token is None else token
        call = Call(method, path, query, text)
        fault = self.runtime.fault_for("kite", call, authorization)
        how = {"fault": fault.id} if fault is not None else {}
        answer = self.runtime.call("kite", call, authorization, **how)
        assert answer is not None
        found: Wire = json.loads(json.dumps(answer.body))
        return answer.status, found

    def good(self, method: str, path: str, body: Any = None) -> Any:
        """A request that must succeed; its data."""
        status, found = self.ask(method, path, body)
        assert status == 200 and found["status"] == "success", found
        return found["data"]

    def bad(self, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
        """A request that must be refused: status, error type, message."""
        status, found = self.ask(method, path, body)
        assert found["status"] == "error" and found["data"] is None, found
        return status, found["error_type"], found["message"]

    @staticmethod
    def form(side: str, quantity: int, **fields: Any) -> Wire:
        wanted = {
            "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": side, "quantity": quantity,
            "product": "CNC", "order_type": "MARKET", **fields,
        }  # fmt: skip
        return {key: value for key, value in wanted.items() if value is not None}

    def place(self, side: str = "BUY", quantity: int = 10, variety: str = "regular", **fields: Any) -> str:
        """Place an order of INFY at the market for delivery unless fields say otherwise; its id."""
        return str(self.good("POST", f"/orders/{variety}", self.form(side, quantity, **fields))["order_id"])

    def refused(self, side: str = "BUY", quantity: int = 10, variety: str = "regular", **fields: Any) -> str:
        """An order that must be refused; the error's type."""
        return self.bad("POST", f"/orders/{variety}", self.form(side, quantity, **fields))[1]

    def history(self, id: str) -> list[Wire]:
        found: list[Wire] = self.good("GET", f"/orders/{id}")
        return found

    def statuses(self, id: str) -> list[str]:
        return [str(row["status"]) for row in self.history(id)]

    def read(self, id: str) -> Wire:
        return self.history(id)[-1]

    def book(self) -> list[str]:
        """The ids in the order book."""
        return [str(row["order_id"]) for row in self.good("GET", "/orders")]

    def net(self) -> dict[tuple[str, str], int]:
        """Quantities by symbol and product."""
        rows = self.good("GET", "/portfolio/positions")["net"]
        return {(row["tradingsymbol"], row["product"]): row["quantity"] for row in rows}

    def share(self, bid: str, ask: str, name: str = "NSE:INFY") -> None:
        self.price(bid, ask, name)

    def go(self, now: str) -> None:
        """Let time pass up to this moment in UTC."""
        self.control("clock", now=now)

    def login(self) -> None:
        """A new session through the login page."""
        page = self.good("GET", "/connect/login?api_key=simkitekey&v=3")
        token = page["request_token"]
        checksum = hashlib.sha256(f"simkitekey{token}{SECRET}".encode()).hexdigest()
        data = self.good(
            "POST", "/session/token", {"api_key": "simkitekey", "request_token": token, "checksum": checksum}
        )
        self.token = f"token simkitekey:{data['access_token']}"

    @property
    def cash(self) -> Decimal:
        return self.account.cash

    def own(self, kind: str) -> list[Wire]:
        """Rows of the journal about this account."""
        rows = self.world.state.journal.rows
        return [row["data"] for row in rows if row["kind"] == kind and row["account"] == ACCOUNT]

    def external(self, kind: str, **body: Any) -> Wire:
        return self.control("external", account=ACCOUNT, kind=kind, **body)
