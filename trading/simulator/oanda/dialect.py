"""The doors of the OANDA dialect: who may ask, which endpoint answers, and how times are written.

What always holds here: a call is acted on without any web server, so that a stored call gives the same again; only
POST, PUT and PATCH change anything; every answer about an account carries its last transaction id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from ..core.calls import BadBody
from ..core.hiding import Veil
from ..core.model import Account
from ..core.numbers import moment, money, unix
from ..core.world import Roll, World
from .accounts import AccountCalls
from .answers import Answer, Call, Refusal
from .external import External
from .financing import next_roll
from .orders import OrderCalls
from .prices import PriceCalls
from .render import Wire
from .trades import TradeCalls
from .transactions import TransactionCalls
from .venue import OandaVenue
from .views import is_hidden, veiled

BROKER = "oanda"
CURRENCIES = ("USD", "EUR", "GBP", "JPY")
_TIME_KEYS = {
    "time", "createTime", "openTime", "closeTime", "filledTime", "cancelledTime", "gtdTime", "createdTime",
    "lastOrderFillTimestamp", "timestamp", "from", "to",
}  # fmt: skip
_ACCOUNT_ID = re.compile(r"\d{3}-\d{3}-\d+-\d{3}\Z", re.ASCII)
_DENIED = "Insufficient authorization to perform request."


class OandaDialect:
    """OANDA v20 REST on a world."""

    name = BROKER

    def __init__(self, world: World, base: str) -> None:
        self.world = world
        self.venue = OandaVenue(world)
        orders, trades = OrderCalls(world, self.venue), TradeCalls(world, self.venue)
        accounts, prices = AccountCalls(world, self.venue), PriceCalls(world)
        transactions = TransactionCalls(base)
        one = "/([^/]+)"
        table: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", "", accounts.details),
            ("GET", "/summary", accounts.summary),
            ("GET", "/instruments", accounts.instruments),
            ("GET", "/changes", accounts.changes),
            ("PATCH", "/configuration", accounts.configure),
            ("GET", "/pricing", prices.pricing),
            ("GET", "/pricing/stream", prices.stream),
            ("GET", "/candles/latest", prices.latest),
            ("GET", f"/instruments{one}/candles", prices.candles),
            ("POST", "/orders", orders.create),
            ("GET", "/orders", orders.listed),
            ("GET", "/pendingOrders", orders.pending),
            ("GET", f"/orders{one}", orders.get),
            ("PUT", f"/orders{one}", orders.replace),
            ("PUT", f"/orders{one}/cancel", orders.cancel),
            ("PUT", f"/orders{one}/clientExtensions", orders.change_extensions),
            ("GET", "/trades", trades.listed),
            ("GET", "/openTrades", trades.opened),
            ("GET", f"/trades{one}", trades.get),
            ("PUT", f"/trades{one}/close", trades.close),
            ("PUT", f"/trades{one}/orders", trades.set_orders),
            ("PUT", f"/trades{one}/clientExtensions", trades.change_extensions),
            ("GET", "/positions", trades.positions),
            ("GET", "/openPositions", trades.open_positions),
            ("GET", f"/positions{one}", trades.position),
            ("PUT", f"/positions{one}/close", trades.close_position),
            ("GET", "/transactions", transactions.pages),
            ("GET", "/transactions/stream", transactions.stream),
            ("GET", "/transactions/sinceid", transactions.since),
            ("GET", "/transactions/idrange", transactions.id_range),
            ("GET", f"/transactions{one}", transactions.get),
        ]
        self._routes = [(method, re.compile(f"{path}/?\\Z"), door) for method, path, door in table]
        self._prices = prices
        self._external = External(world, self.venue)
        world.venues[BROKER] = self.venue
        world.rolls.append(Roll(BROKER, next_roll, self._external.financing.roll))

    # accounts, for the control API

    def open_account(self, id: str, token: str, currency: str, cash: Decimal, hedging: bool) -> Account:
        """A new account whose history begins with its creation and its deposit."""
        account = Account(id, BROKER, currency, hedging, token, self.world.now, opening_cash=money(cash))
        self.world.accounts[id] = account
        self.venue.open_account(account, cash)
        return account

    def new_account(self, currency: str, cash: Decimal, hedging: bool) -> tuple[Account, Wire]:
        """A further account with a token of its own. Raises ValueError."""
        if currency not in CURRENCIES:
            raise ValueError(f"an account may keep {', '.join(CURRENCIES)}, not {currency}")
        user = 1_000_001 + sum(one.broker == BROKER for one in self.world.accounts.values())
        id, token = f"101-001-{user}-001", f"sim-oanda-token-{user}"
        account = self.open_account(id, token, currency, cash, hedging)
        return account, {"account_id": id, "token": token}

    def reset(self, account: Account) -> Account:
        """The same account, fresh."""
        cash = account.opening_cash
        return self.open_account(account.id, account.token, account.currency, cash, account.hedging)

    def external(self, account: Account, body: Wire) -> Wire:
        """One external action. Raises ValueError."""
        return self._external.apply(account, body)

    def truth(self, account: Account) -> Wire:
        """The account as it really is."""
        return self._external.truth(account)

    # requests

    def accounts_of(self, authorization: str) -> list[Account]:
        """The accounts that a bearer token opens."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return []
        return [a for a in self.world.accounts.values() if a.broker == BROKER and a.token == token.strip()]

    def authorization(self, headers: Mapping[str, str]) -> str:
        """What a request's headers say about who asks."""
        return headers.get("Authorization", "")

    def account_of(self, call: Call, authorization: str) -> str:
        """The account id that a call is about, or "" ."""
        parts = call.path.split("/")
        return unquote(parts[3]) if len(parts) > 3 and parts[2] == "accounts" else ""

    def needs_token(self, call: Call) -> bool:
        """Whether the call is refused without a token: every one is."""
        return True

    def act(self, call: Call, authorization: str, request_id: str) -> Answer:
        """Answer one call at the world's present time."""
        answer = self._answer(call, authorization, request_id)
        answer.headers["RequestID"] = request_id
        return answer

    def veiled(self, call: Call, answer: Answer, veil: Veil) -> Answer:
        """The answer to a read without what is hidden from the client."""
        return veiled(call, answer, veil)

    def hides(self, message: Wire, veil: Veil) -> bool:
        """Whether a message of a stream must wait because it tells what is hidden."""
        return "accountID" in message and is_hidden(message, veil)

    def _answer(self, call: Call, authorization: str, request_id: str) -> Answer:
        allowed = self.accounts_of(authorization)
        self.venue.request = request_id
        try:
            if not allowed:
                raise Refusal(401, _DENIED)
            return self._route(call, allowed)
        except Refusal as refusal:
            return refusal.answer()
        except BadBody as error:
            return Refusal(400, str(error)).answer()
        finally:
            self.venue.request = ""

    def _route(self, call: Call, allowed: list[Account]) -> Answer:
        if not call.path.startswith("/v3/"):
            raise Refusal(404, "The path requested does not exist")
        rest = call.path[3:]
        if rest in ("/accounts", "/accounts/"):
            self._only(call, "GET")
            return Answer(200, {"accounts": [{"id": account.id, "tags": []} for account in allowed]})
        found = re.match(r"/instruments/([^/]+)/candles/?\Z", rest)
        if found:
            self._only(call, "GET")
            return self._prices.candles(None, call, unquote(found[1]))
        found = re.match(r"/accounts/([^/]+)(/.*)?\Z", rest)
        if not found:
            raise Refusal(404, "The path requested does not exist")
        account = next((one for one in allowed if one.id == unquote(found[1])), None)
        if account is None:
            if _ACCOUNT_ID.match(unquote(found[1])):
                raise Refusal(403, _DENIED)
            raise Refusal(400, "Invalid value specified for 'accountID'")
        inner = (found[2] or "").rstrip("/")
        known = False
        for method, pattern, door in self._routes:
            match = pattern.match(inner)
            if match:
                known = True
                if method == call.method:
                    return door(account, call, *(unquote(part) for part in match.groups()))
        if known:
            raise Refusal(405, "Method Not Allowed")
        raise Refusal(404, "The path requested does not exist")

    def _only(self, call: Call, method: str) -> None:
        if call.method != method:
            raise Refusal(405, "Method Not Allowed")


def in_unix_time(value: Any, key: str = "") -> Any:
    """The same JSON with its times as UNIX seconds."""
    if isinstance(value, dict):
        return {name: in_unix_time(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [in_unix_time(item, key) for item in value]
    if key in _TIME_KEYS and isinstance(value, str) and "T" in value:
        return unix(moment(value))
    return value
