"""The doors of the Kite dialect: who may ask and which endpoint answers.

What always holds here: a call is acted on without any web server, so that a stored call gives the same again; who
asks is `token key:access_token`, and a dead session is refused everywhere but at the login; only POST, PUT and DELETE
change anything.

What happens to an account is told to `World.listeners`: subscribe with `world.listeners.append(listener)`; it is called
as `listener(account id, "order_update", row)` with the order as a row of the order book at that moment, whenever its
status changes, a part of it is filled, or it is modified.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from ..core.calls import Answer, BadBody, Call
from ..core.hiding import Veil
from ..core.model import Account
from ..core.world import World
from .accounts import AccountCalls
from .answers import GENERAL, Refusal, bad_input, bad_token
from .external import External
from .facts import Session
from .gtt import GttCalls
from .market_data import MarketDataCalls
from .orders import OrderCalls
from .parse import form
from .positions import PositionCalls
from .routes import Door
from .session import LOGIN_PAGE, REFRESH_PATH, TOKEN_PATH, SessionCalls, dies_after
from .venue import BROKER, KiteVenue
from .views import hides, veiled

CURRENCY = "INR"


class KiteDialect:
    """Kite Connect v3, REST, on a world."""

    name = BROKER

    def __init__(self, world: World) -> None:
        self.world = world
        self.venue = KiteVenue(world)
        self.sessions = SessionCalls(world, BROKER)
        orders = OrderCalls(world, self.venue)
        families = (
            orders, PositionCalls(world, self.venue), AccountCalls(world, self.venue), MarketDataCalls(world),
            GttCalls(world, self.venue, orders),
        )  # fmt: skip
        routes = [route for family in families for route in family.routes()]
        routes.append(("DELETE", TOKEN_PATH, self.sessions.delete))
        self._routes = [(method, re.compile(f"{path}/?\\Z"), door) for method, path, door in routes]
        self._logins = {
            ("GET", LOGIN_PAGE): self.sessions.page,
            ("POST", TOKEN_PATH): self.sessions.create,
            ("POST", REFRESH_PATH): self.sessions.refresh,
        }
        self._external = External(world, self.venue)
        world.venues[BROKER] = self.venue

    # accounts, for the control API

    def open_account(self, id: str, key: str, secret: str, token: str, cash: Decimal) -> Account:
        """A new account whose history begins with its deposit, and which is logged in."""
        account = Account(
            id, BROKER, CURRENCY, False, f"token {key}:{token}", self.world.now, opening_cash=cash
        )  # fmt: skip
        account.wire["session"] = Session(key, secret, token, self.world.now, dies_after(self.world.now))
        self.world.accounts[id] = account
        self.venue.open_account(account, cash)
        return account

    def new_account(self, currency: str, cash: Decimal, hedging: bool) -> tuple[Account, dict[str, Any]]:
        """A further account with a key of its own. Raises ValueError."""
        if currency != CURRENCY:
            raise ValueError(f"a Kite account keeps {CURRENCY}, not {currency}")
        if hedging:
            raise ValueError("a Kite account cannot hold long and short at once")
        number = 1 + sum(one.broker == BROKER for one in self.world.accounts.values())
        id, key, secret, token = (
            f"{word}{number}" for word in ("SIMKITE", "simkitekey", "sim-kite-secret-", "sim-kite-token-")
        )
        account = self.open_account(id, key, secret, token, cash)
        return account, {"account_id": id, "api_key": key, "api_secret": secret, "access_token": token}

    def reset(self, account: Account) -> Account:
        """The same account, fresh, logged in with its first token."""
        session: Session = account.wire["session"]
        token = account.token.rpartition(":")[2]
        return self.open_account(account.id, session.api_key, session.api_secret, token, account.opening_cash)

    def external(self, account: Account, body: dict[str, Any]) -> dict[str, Any]:
        """One external action. Raises ValueError."""
        return self._external.apply(account, body)

    def truth(self, account: Account) -> dict[str, Any]:
        """The account as it really is."""
        return self._external.truth(account)

    # requests

    def authorization(self, headers: Mapping[str, str]) -> str:
        """What a request's headers say about who asks."""
        return headers.get("Authorization", "")

    def account_with(self, authorization: str) -> Account | None:
        """The account that `token key:access_token` opens now."""
        return self.sessions.opened_by(authorization)

    def account_of(self, call: Call, authorization: str) -> str:
        """The account id that a call is about, or "" ."""
        account = self.sessions.named_by(authorization)
        if account is None and not self.needs_token(call):
            account = self.sessions.with_key(form(call).get("api_key", ""))
        return account.id if account is not None else ""

    def needs_token(self, call: Call) -> bool:
        """Whether the call is refused without a living session."""
        return (call.method, call.path.rstrip("/")) not in self._logins

    def veiled(self, call: Call, answer: Answer, veil: Veil) -> Answer:
        """The answer to a read without what is hidden from the client."""
        return veiled(call, answer, veil)

    def hides(self, message: dict[str, Any], veil: Veil) -> bool:
        """Whether a message of the ticker must wait because it tells what is hidden."""
        return hides(message, veil)

    def act(self, call: Call, authorization: str, request_id: str) -> Answer:
        """Answer one call at the world's present time."""
        try:
            login = self._logins.get((call.method, call.path.rstrip("/")))
            if login is not None:
                return login(call)
            door, parts = self._door(call)
            account = self.account_with(authorization)
            if account is None:
                raise bad_token()
            if not call.is_write:
                return door(account, call, *parts)
            with self.venue.batch(account):
                return door(account, call, *parts)
        except Refusal as refusal:
            return refusal.answer()
        except BadBody:
            return bad_input("Couldn't parse the body of the request.").answer()

    def _door(self, call: Call) -> tuple[Door, list[str]]:
        """The endpoint that answers, and the parts of its path. Raises Refusal."""
        known = any(path == call.path.rstrip("/") for _, path in self._logins)
        for method, pattern, door in self._routes:
            match = pattern.match(call.path)
            if match:
                known = True
                if method == call.method:
                    return door, [unquote(part) for part in match.groups()]
        if known:
            raise Refusal(405, GENERAL, "Method not allowed")
        raise Refusal(404, GENERAL, "Route not found")
