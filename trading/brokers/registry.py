"""Which broker a connection means, and which connection the environment names.

What always holds: an adapter and its SDK are imported only when a connection to that broker is opened; credentials
never show in a repr; nothing falls back to another broker, host or environment than the one named, and a live key
never goes to a host or account of the practice environment, nor the reverse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from trading.domain.broker import Broker

OANDA_HOSTS = {"practice": "api-fxpractice.oanda.com", "live": "api-fxtrade.oanda.com"}
# OANDA's account numbers begin with the environment: 101-… are practice accounts, 001-… live ones.
OANDA_ACCOUNT_PREFIX = {"practice": "101-", "live": "001-"}
SIMULATOR = "simulator"
SIMULATOR_OANDA_TOKEN = "sim-oanda-token"
SIMULATOR_OANDA_ACCOUNT = "101-001-1000001-001"
ALPACA_HOSTS = {"practice": "paper-api.alpaca.markets", "live": "api.alpaca.markets"}
ALPACA_DATA_URL = "https://data.alpaca.markets"
SIMULATOR_ALPACA_KEY = "SIMKEY"
SIMULATOR_ALPACA_SECRET = "sim-alpaca-secret"
SIMULATOR_ALPACA_ACCOUNT = "SIMALPACA"
KITE_HOST, KITE_TICKER_URL = "api.kite.trade", "wss://ws.kite.trade"
SIMULATOR_KITE_KEY = "simkitekey"
SIMULATOR_KITE_TOKEN = "sim-kite-token"
SIMULATOR_KITE_SECRET = "sim-kite-secret"
SIMULATOR_KITE_ACCOUNT = "SIMKITE"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_YES, _NO = ("true", "1", "yes"), ("false", "0", "no")


class BadConnection(ValueError):
    """The settings of a connection contradict themselves or could send a key where it must not go."""


class MissingCredentials(Exception):
    """No credentials for a broker are set. The text names what must be set."""

    _NEEDED = {
        "oanda": "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set",
        "alpaca": "ALPACA_API_KEY and ALPACA_SECRET_KEY must be set",
        "kite": "KITE_API_KEY and KITE_ACCESS_TOKEN must be set",
    }

    def __init__(self, broker: str) -> None:
        super().__init__(self.needed(broker))
        self.broker = broker

    @classmethod
    def needed(cls, broker: str) -> str:
        """What must be set for a broker, in the words that people search for."""
        return cls._NEEDED.get(broker, f"credentials for {broker} must be set")


class HalfCredentials(BadConnection, MissingCredentials):
    """One of the two settings of a broker's credentials is set: whoever set it did not mean the simulator."""

    def __init__(self, broker: str, missing: str) -> None:
        MissingCredentials.__init__(self, broker)
        self.args = (
            f"Only one of the two is set ({missing} is missing): {self.needed(broker)}, or neither of them for the "
            "simulator. Nothing was asked and nothing was sent.",
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one account of one broker. `environment` is practice, live or simulator; `url` has no version.

    `account_id` is "" where the key alone names the account, as at Alpaca: the adapter takes the account of the key.
    `product` is what orders are placed as, where a broker knows several kinds; "" leaves that to the adapter.
    """

    broker: str
    environment: str
    url: str
    account_id: str
    credentials: Mapping[str, str] = field(repr=False)
    product: str = ""


def open_broker(connection: Connection) -> Broker:
    """The adapter for a connection. Sends nothing yet. Raises `BadConnection` for a broker that is not known here."""
    if connection.broker == "oanda":
        from trading.brokers.oanda import OandaBroker

        token = connection.credentials.get("token", "")
        if not token or not connection.account_id:
            raise MissingCredentials("oanda")
        check_oanda(connection)
        return OandaBroker(account_id=connection.account_id, token=token, url=connection.url)
    if connection.broker == "alpaca":
        from trading.brokers.alpaca import AlpacaBroker

        key, secret = connection.credentials.get("key", ""), connection.credentials.get("secret", "")
        if not key or not secret:
            raise MissingCredentials("alpaca")
        check_alpaca(connection)
        official = urlsplit(connection.url).hostname in ALPACA_HOSTS.values()
        return AlpacaBroker(
            account_id=connection.account_id,
            key=key,
            secret=secret,
            url=connection.url,
            data_url=ALPACA_DATA_URL if official else connection.url,
            simulated=connection.environment == SIMULATOR,
        )
    if connection.broker == "kite":
        from trading.brokers.kite import KiteBroker

        key, access_token = connection.credentials.get("key", ""), connection.credentials.get("access_token", "")
        if not key or not access_token:
            raise MissingCredentials("kite")
        check_kite(connection)
        return KiteBroker(
            account_id=connection.account_id,
            key=key,
            access_token=access_token,
            url=connection.url,
            ticker_url=kite_ticker_url(connection.url),
            simulated=connection.environment == SIMULATOR,
            product=connection.product,
        )
    raise BadConnection(f"There is no adapter for the broker {connection.broker!r}; known are: oanda, alpaca, kite.")


def credentials_from_environment(broker: str, environ: Mapping[str, str]) -> Connection | None:
    """The connection that the environment names for a broker; None when it names none.

    Raises `BadConnection` when what it names contradicts itself, and `HalfCredentials` for half of a pair; only with
    SIMULATOR_URL, which names the simulator in words, are the simulator's own credentials taken for what is missing.
    """
    if broker == "alpaca":
        return _alpaca_from(environ)
    if broker == "kite":
        return _kite_from(environ)
    return _oanda_from(environ) if broker == "oanda" else None


def _oanda_from(environ: Mapping[str, str]) -> Connection | None:
    token, account_id = environ.get("OANDA_API_KEY", ""), environ.get("OANDA_ACCOUNT_ID", "")
    url = environ.get("OANDA_URL", "").rstrip("/")
    environment = environ.get("OANDA_ENV", "") or "practice"
    if environment not in OANDA_HOSTS:
        raise BadConnection(f"OANDA_ENV is {environment!r}; it must be practice or live. Nothing was sent.")
    control_url = environ.get("SIMULATOR_URL", "").rstrip("/")
    if control_url:
        simulated = simulator_oanda_url(control_url)
        if url and url != simulated:
            raise BadConnection(
                f"OANDA_URL ({url}) and SIMULATOR_URL (whose OANDA is at {simulated}) name different brokers. "
                "Unset the one that you do not mean; nothing was sent to either."
            )
        if environment == "live":
            raise BadConnection("OANDA_ENV is live, but SIMULATOR_URL is set: unset one of them. Nothing was sent.")
        credentials = {"token": token or SIMULATOR_OANDA_TOKEN}
        return Connection("oanda", SIMULATOR, simulated, account_id or SIMULATOR_OANDA_ACCOUNT, credentials)
    if not token and not account_id:
        return None
    if not token or not account_id:
        raise HalfCredentials("oanda", "OANDA_ACCOUNT_ID" if token else "OANDA_API_KEY")
    connection = Connection(
        "oanda", environment, url or f"https://{OANDA_HOSTS[environment]}", account_id, {"token": token}
    )
    check_oanda(connection)
    return connection


def _alpaca_from(environ: Mapping[str, str]) -> Connection | None:
    key, secret = environ.get("ALPACA_API_KEY", ""), environ.get("ALPACA_SECRET_KEY", "")
    url = environ.get("ALPACA_URL", "").rstrip("/")
    paper = (environ.get("ALPACA_PAPER", "") or "true").lower()
    if paper not in _YES + _NO:
        raise BadConnection(f"ALPACA_PAPER is {paper!r}; it must be true or false.")
    environment = "practice" if paper in _YES else "live"
    control_url = environ.get("SIMULATOR_URL", "").rstrip("/")
    if control_url:
        simulated = simulator_url(control_url, "alpaca")
        if url and url != simulated:
            raise BadConnection(
                f"ALPACA_URL ({url}) and SIMULATOR_URL (whose Alpaca is at {simulated}) name different brokers. "
                "Unset the one that you do not mean; nothing was sent to either."
            )
        if environment == "live":
            raise BadConnection("ALPACA_PAPER is false, but SIMULATOR_URL is set: unset one of them. Nothing was sent.")
        if key and secret:
            return Connection("alpaca", SIMULATOR, simulated, "", {"key": key, "secret": secret})
        known = {"key": SIMULATOR_ALPACA_KEY, "secret": SIMULATOR_ALPACA_SECRET}
        return Connection("alpaca", SIMULATOR, simulated, SIMULATOR_ALPACA_ACCOUNT, known)
    if not key and not secret:
        return None
    if not key or not secret:
        raise HalfCredentials("alpaca", "ALPACA_SECRET_KEY" if key else "ALPACA_API_KEY")
    url = url or f"https://{ALPACA_HOSTS[environment]}"
    connection = Connection("alpaca", environment, url, "", {"key": key, "secret": secret})
    check_alpaca(connection)
    return connection


def _kite_from(environ: Mapping[str, str]) -> Connection | None:
    key, access_token = environ.get("KITE_API_KEY", ""), environ.get("KITE_ACCESS_TOKEN", "")
    url = environ.get("KITE_URL", "").rstrip("/")
    product = kite_product(environ)
    # Only postbacks are checked with it; nothing is asked or sent with it.
    secret = {"secret": environ["KITE_API_SECRET"]} if environ.get("KITE_API_SECRET") else {}
    control_url = environ.get("SIMULATOR_URL", "").rstrip("/")
    if control_url:
        simulated = simulator_url(control_url, "kite")
        if url and url != simulated:
            raise BadConnection(
                f"KITE_URL ({url}) and SIMULATOR_URL (whose Kite is at {simulated}) name different brokers. "
                "Unset the one that you do not mean; nothing was sent to either."
            )
        if key and access_token:
            keys = {"key": key, "access_token": access_token, **secret}
            return Connection("kite", SIMULATOR, simulated, "", keys, product)
        known = {"key": SIMULATOR_KITE_KEY, "access_token": SIMULATOR_KITE_TOKEN, "secret": SIMULATOR_KITE_SECRET}
        return Connection("kite", SIMULATOR, simulated, SIMULATOR_KITE_ACCOUNT, known, product)
    if not key and not access_token:
        return None
    if not key or not access_token:
        raise HalfCredentials("kite", "KITE_ACCESS_TOKEN" if key else "KITE_API_KEY")
    # Kite has no practice environment: whatever is not the simulator trades with money.
    keys = {"key": key, "access_token": access_token, **secret}
    connection = Connection("kite", "live", url or f"https://{KITE_HOST}", "", keys, product)
    check_kite(connection)
    return connection


def kite_product(environ: Mapping[str, str]) -> str:
    """What orders at Kite are placed as: KITE_PRODUCT, "" where it is not set. Raises `BadConnection`."""
    product = environ.get("KITE_PRODUCT", "")
    if product not in ("", "CNC", "MIS", "NRML"):
        raise BadConnection(
            f"KITE_PRODUCT is {product!r}; it must be CNC (delivery), MIS (intraday) or NRML (carried derivatives), or "
            "not set: then shares are delivered and derivatives carried. Nothing was sent."
        )
    return product


# The simulator's ports, counted from its control port.
_PORT_OF = {"oanda": 1, "alpaca": 2, "kite": 3}


def simulator_oanda_url(control_url: str) -> str:
    """Where the simulator with this control address speaks OANDA. Raises `BadConnection`."""
    return simulator_url(control_url, "oanda")


def simulator_url(control_url: str, broker: str) -> str:
    """Where the simulator with this control address speaks a broker's protocol. Raises `BadConnection`."""
    parts = _split(control_url, "SIMULATOR_URL")
    if parts.port is None:
        raise BadConnection(f"SIMULATOR_URL ({control_url}) must name the control port, as in http://127.0.0.1:9100.")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port + _PORT_OF[broker]}"


def check_oanda(connection: Connection) -> None:
    """Refuse an URL, environment and account that do not belong together. Raises `BadConnection`."""
    parts = _split(connection.url, "OANDA_URL")
    host = parts.hostname or ""
    if parts.path.rstrip("/").endswith("/v3"):
        raise BadConnection(
            f"OANDA_URL ({connection.url}) must be given without /v3: {connection.url.rstrip('/')[:-3]}"
        )
    if parts.scheme != "https" and host not in _LOOPBACK and connection.environment != SIMULATOR:
        raise BadConnection(
            f"OANDA_URL ({connection.url}) uses {parts.scheme}: the key would travel in clear text. Use https."
        )
    for environment, official in OANDA_HOSTS.items():
        if host != official:
            continue
        if connection.environment != environment:
            raise BadConnection(
                f"{official} is OANDA's {environment} host, but the environment is {connection.environment}. "
                "Set OANDA_ENV and OANDA_URL to the same one; nothing was sent."
            )
        if not connection.account_id.startswith(OANDA_ACCOUNT_PREFIX[environment]):
            raise BadConnection(
                f"Account {connection.account_id} is no {environment} account (those begin with "
                f"{OANDA_ACCOUNT_PREFIX[environment]}). Check OANDA_ENV and OANDA_ACCOUNT_ID; nothing was sent."
            )


def check_alpaca(connection: Connection) -> None:
    """Refuse an URL and environment that do not belong together. Raises `BadConnection`."""
    parts = _split(connection.url, "ALPACA_URL")
    host = parts.hostname or ""
    if parts.path.rstrip("/").endswith("/v2"):
        raise BadConnection(
            f"ALPACA_URL ({connection.url}) must be given without /v2: {connection.url.rstrip('/')[:-3]}"
        )
    if parts.scheme != "https" and host not in _LOOPBACK and connection.environment != SIMULATOR:
        raise BadConnection(
            f"ALPACA_URL ({connection.url}) uses {parts.scheme}: the key would travel in clear text. Use https."
        )
    for environment, official in ALPACA_HOSTS.items():
        if host == official and connection.environment != environment:
            raise BadConnection(
                f"{official} is Alpaca's {environment} host, but the environment is {connection.environment}. "
                "Set ALPACA_PAPER and ALPACA_URL to the same one; nothing was sent."
            )


def check_kite(connection: Connection) -> None:
    """Refuse an URL that the SDK cannot use or that would show the token. Raises `BadConnection`."""
    parts = _split(connection.url, "KITE_URL")
    if parts.path.rstrip("/"):
        raise BadConnection(
            f"KITE_URL ({connection.url}) must be given without a path: Kite's own library would drop it."
        )
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK and connection.environment != SIMULATOR:
        raise BadConnection(
            f"KITE_URL ({connection.url}) uses {parts.scheme}: the token would travel in clear text. Use https."
        )
    if parts.hostname == KITE_HOST and connection.environment != "live":
        raise BadConnection(
            f"{KITE_HOST} trades with money, but the environment is {connection.environment}; nothing was sent."
        )


def kite_ticker_url(url: str) -> str:
    """Where the ticker of a Kite at this address is: on a host of its own; elsewhere on the next port."""
    parts = _split(url, "KITE_URL")
    if parts.hostname == KITE_HOST:
        return KITE_TICKER_URL
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = (parts.port or (443 if parts.scheme == "https" else 80)) + 1
    return f"{'wss' if parts.scheme == 'https' else 'ws'}://{host}:{port}"


def _split(url: str, name: str) -> SplitResult:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise BadConnection(f"{name} ({url}) has no usable port.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise BadConnection(f"{name} ({url}) is no address; it looks like https://host or http://127.0.0.1:9101.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadConnection(f"{name} must be a bare address without user, query or fragment.")
    return parts
