"""The doors of the Alpaca dialect: who may ask and which endpoint answers.

What always holds here: a call is acted on without any web server, so that a stored call gives the same again; who
asks is `key:secret`; only POST, PATCH and DELETE change anything.

What happens to an account is told to `World.listeners`: subscribe with `world.listeners.append(listener)`; it is called
as `listener(account id, "trade_update", data)` with the `data` member of a message of the stream `trade_updates`
(event, order as it is at that moment, timestamp; for fills price, qty, position_qty, execution_id).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from ..core.calls import Answer, BadBody, Call
from ..core.hiding import Veil
from ..core.model import Account
from ..core.world import World
from .accounts import AccountCalls
from .activities import ActivityCalls
from .answers import UNAUTHORIZED, Refusal, malformed, not_found
from .data import DataCalls
from .external import External
from .orders import OrderCalls
from .positions import PositionCalls
from .venue import AlpacaVenue
from .views import hides, veiled

BROKER = "alpaca"
CURRENCY = "USD"


class AlpacaDialect:
    """Alpaca Trading v2 and its market data, REST, on a world."""

    name = BROKER

    def __init__(self, world: World) -> None:
        self.world = world
        self.venue = AlpacaVenue(world)
        orders, accounts, data = OrderCalls(world, self.venue), AccountCalls(world), DataCalls(world)
        positions, activities = PositionCalls(world, orders), ActivityCalls()
        one = "/([^/]+)"
        table: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", "/v2/account", accounts.account),
            ("GET", "/v2/account/configurations", accounts.configurations),
            ("GET", "/v2/account/activities", activities.listed),
            ("GET", f"/v2/account/activities{one}", activities.of_type),
            ("GET", "/v2/assets", accounts.assets),
            ("GET", f"/v2/assets{one}", accounts.asset),
            ("GET", "/v2/clock", accounts.clock),
            ("GET", "/v2/calendar", accounts.calendar),
            ("POST", "/v2/orders", orders.create),
            ("GET", "/v2/orders", orders.listed),
            ("DELETE", "/v2/orders", orders.cancel_all),
            ("GET", "/v2/orders:by_client_order_id", orders.by_client_id),
            ("GET", f"/v2/orders{one}", orders.get),
            ("PATCH", f"/v2/orders{one}", orders.replace),
            ("DELETE", f"/v2/orders{one}", orders.cancel),
            ("GET", "/v2/positions", positions.listed),
            ("DELETE", "/v2/positions", positions.close_all),
            ("GET", f"/v2/positions{one}", positions.get),
            ("DELETE", f"/v2/positions{one}", positions.close),
            ("GET", "/v2/stocks/bars", data.bars),
            ("GET", f"/v2/stocks{one}/bars", data.bars_of),
        ]
        for what in ("quotes", "trades", "bars"):
            table.append(("GET", f"/v2/stocks/{what}/latest", data.latest(what)))
            table.append(("GET", f"/v2/stocks{one}/{what}/latest", data.latest_of(what)))
        self._routes = [(method, re.compile(f"{path}/?\\Z"), door) for method, path, door in table]
        self._external = External(world, self.venue, orders)
        world.venues[BROKER] = self.venue

    # accounts, for the control API

    def open_account(self, id: str, token: str, currency: str, cash: Decimal) -> Account:
        """A new account whose history begins with its deposit."""
        account = Account(id, BROKER, currency, False, token, self.world.now, opening_cash=cash)
        self.world.accounts[id] = account
        self.venue.open_account(account, cash)
        return account

    def new_account(self, currency: str, cash: Decimal, hedging: bool) -> tuple[Account, dict[str, Any]]:
        """A further account with a key of its own. Raises ValueError."""
        if currency != CURRENCY:
            raise ValueError(f"an Alpaca account keeps {CURRENCY}, not {currency}")
        if hedging:
            raise ValueError("an Alpaca account cannot hold long and short at once")
        number = 1 + sum(one.broker == BROKER for one in self.world.accounts.values())
        id, key, secret = f"SIMALPACA{number}", f"SIMKEY{number}", f"sim-alpaca-secret-{number}"
        account = self.open_account(id, f"{key}:{secret}", currency, cash)
        return account, {"account_id": id, "key": key, "secret": secret}

    def reset(self, account: Account) -> Account:
        """The same account, fresh."""
        return self.open_account(account.id, account.token, account.currency, account.opening_cash)

    def external(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        """One external action. Raises ValueError."""
        return self._external.apply(account, body)

    def truth(self, account: Account) -> dict[str, Any]:
        """The account as it really is."""
        return self._external.truth(account)

    # requests

    def authorization(self, headers: Mapping[str, str]) -> str:
        """What a request's headers say about who asks."""
        key, secret = headers.get("APCA-API-KEY-ID", ""), headers.get("APCA-API-SECRET-KEY", "")
        return f"{key}:{secret}"

    def account_with(self, authorization: str) -> Account | None:
        """The account that `key:secret` opens."""
        for account in self.world.accounts.values():
            if account.broker == BROKER and secrets.compare_digest(account.token.encode(), authorization.encode()):
                return account
        return None

    def account_of(self, call: Call, authorization: str) -> str:
        """The account id that a call is about, or "" ."""
        account = self.account_with(authorization)
        return account.id if account is not None else ""

    def needs_token(self, call: Call) -> bool:
        """Whether the call is refused without a token: every one is."""
        return True

    def veiled(self, call: Call, answer: Answer, veil: Veil) -> Answer:
        """The answer to a read without what is hidden from the client."""
        return veiled(call, answer, veil)

    def hides(self, message: dict[str, Any], veil: Veil) -> bool:
        """Whether a message of a stream must wait because it tells what is hidden."""
        return hides(message, veil)

    def act(self, call: Call, authorization: str, request_id: str) -> Answer:
        """Answer one call at the world's present time."""
        try:
            account = self.account_with(authorization)
            if account is None:
                raise Refusal(401, UNAUTHORIZED, "request is not authorized")
            if call.is_write:
                with self.venue.batch(account):
                    answer = self._route(account, call)
            else:
                answer = self._route(account, call)
        except Refusal as refusal:
            answer = refusal.answer()
        except BadBody:
            answer = malformed("request body format is invalid").answer()
        answer.headers["X-Request-ID"] = request_id
        return answer

    def _route(self, account: Account, call: Call) -> Answer:
        known = False
        for method, pattern, door in self._routes:
            match = pattern.match(call.path)
            if match:
                known = True
                if method == call.method:
                    return door(account, call, *(unquote(part) for part in match.groups()))
        if known:
            raise Refusal(405, 40510000, "method not allowed")
        raise not_found("endpoint not found")
