"""Logging in and out, and when a session dies.

What always holds here: an access token works from its login until six in the morning in India, until it is given
back, or until the next login, whichever is first; a request token can be exchanged once.

The broker's login page is a website; here `GET /connect/login?api_key=` says the request token at once, or sends a
browser on to a `redirect_url` of this machine with it.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, time, timedelta
from urllib.parse import urlsplit

from ..core.calls import Answer, Call
from ..core.model import Account
from ..core.nse import INDIA
from ..core.world import World
from .answers import bad_input, bad_token, success
from .facts import session_of
from .parse import form, text_in
from .render import Wire, ist

LOGIN_PAGE, TOKEN_PATH, REFRESH_PATH = "/connect/login", "/session/token", "/session/refresh_token"
_DIES = time(6)
_HOME = ("127.0.0.1", "localhost", "::1")


def dies_after(at: datetime) -> datetime:
    """The next six o'clock in India."""
    dies = datetime.combine(at.astimezone(INDIA).date(), _DIES, INDIA)
    return (dies if dies > at else dies + timedelta(days=1)).astimezone(UTC)


def _hash(*parts: str) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def request_token(account: Account) -> str:
    """What the next login is exchanged for."""
    session = session_of(account)
    return _hash("request", account.id, session.api_secret, str(session.logins))[:32]


def profile(account: Account) -> Wire:
    """Who the account belongs to."""
    return {
        "user_id": account.id,
        "user_type": "individual",
        "email": f"{account.id.lower()}@example.com",
        "user_name": "Simulated Client",
        "user_shortname": "Client",
        "broker": "ZERODHA",
        "exchanges": ["NSE", "NFO"],
        "products": ["CNC", "NRML", "MIS"],
        "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
        "avatar_url": None,
        "meta": {"demat_consent": "consent"},
    }


class SessionCalls:
    """The login endpoints of one simulator."""

    def __init__(self, world: World, broker: str) -> None:
        self.world, self.broker = world, broker

    def _accounts(self) -> list[Account]:
        return [one for one in self.world.accounts.values() if one.broker == self.broker]

    def with_key(self, api_key: str) -> Account | None:
        """The account of an API key."""
        return next((one for one in self._accounts() if session_of(one).api_key == api_key), None)

    def named_by(self, authorization: str) -> Account | None:
        """The account whose key and last token these are, alive or dead."""
        kind, _, pair = authorization.partition(" ")
        key, _, token = pair.strip().partition(":")
        account = self.with_key(key)
        if kind != "token" or account is None or not token:
            return None
        known = session_of(account).access_token
        return account if known and secrets.compare_digest(known.encode(), token.encode()) else None

    def opened_by(self, authorization: str) -> Account | None:
        """The account that a request may be about; None when its session is dead."""
        account = self.named_by(authorization)
        return account if account is not None and self.world.now < session_of(account).dies_at else None

    def page(self, call: Call) -> Answer:
        """GET /connect/login?api_key=&v=3[&redirect_url=]."""
        given = call.parameters()
        account = self.with_key(given.get("api_key", ""))
        if account is None:
            raise bad_input("Invalid `api_key`.")
        token, back = request_token(account), given.get("redirect_url", "")
        if not back:
            return success({"request_token": token, "action": "login", "status": "success"})
        where = urlsplit(back)
        if where.scheme not in ("http", "https") or where.hostname not in _HOME:
            raise bad_input("Invalid `redirect_url`.")
        join = "&" if where.query else "?"
        location = f"{back}{join}action=login&type=login&status=success&request_token={token}"
        return Answer(302, {"status": "success", "data": None}, {"Location": location})

    def create(self, call: Call) -> Answer:
        """POST /session/token: a request token and a checksum against an access token."""
        given = form(call)
        key, token, checksum = (text_in(given, name) for name in ("api_key", "request_token", "checksum"))
        account = self.with_key(key)
        if account is None:
            raise bad_input("Invalid `api_key`.")
        session = session_of(account)
        if token != request_token(account):
            raise bad_token()
        if not secrets.compare_digest(checksum.encode(), _hash(key, token, session.api_secret).encode()):
            raise bad_input("Invalid `checksum`.")
        self.world.past.remember(account)
        session.logins += 1
        session.access_token = _hash("access", token)[:32]
        session.login_at, session.dies_at = self.world.now, dies_after(self.world.now)
        data = {
            **profile(account),
            "api_key": key,
            "access_token": session.access_token,
            "public_token": _hash("public", token)[:32],
            "enctoken": "",
            "refresh_token": "",
            "silo": "",
            "login_time": ist(session.login_at),
        }
        return success(data, "changed")

    def refresh(self, call: Call) -> Answer:
        """POST /session/refresh_token: for approved platforms only."""
        raise bad_token()

    def delete(self, account: Account, call: Call) -> Answer:
        """DELETE /session/token: the session is over."""
        session = session_of(account)
        given = call.parameters()
        token = given.get("access_token", session.access_token)
        if given.get("api_key", session.api_key) != session.api_key or token != session.access_token:
            raise bad_token()
        session.access_token = ""
        return success(True, "changed")
