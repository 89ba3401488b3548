"""The adapters under the fuzzer: how each is opened over a playback, what is asked of it, and how its streams are fed.

What always holds: every adapter joins by one entry of `SUBJECTS`; what it is asked and what it heard is taped at the
start of a run from the simulator of its own broker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.servers import Simulator
from tests.trading.brokers.alpaca.alpaca_desk import Desk as AlpacaDesk
from tests.trading.brokers.alpaca.alpaca_desk import bracket as share_bracket
from tests.trading.brokers.alpaca.alpaca_desk import order as share_order
from tests.trading.brokers.fuzz.frames import alpaca_stream, kite_stream, oanda_stream, tape_oanda, tape_sockets
from tests.trading.brokers.fuzz.serving import Playback, Unlimited, play_under
from tests.trading.brokers.fuzz.sockets import SocketPlayback
from tests.trading.brokers.fuzz.tapes import Recorder, Taped
from tests.trading.brokers.simulator_desk import Desk as OandaDesk
from tests.trading.brokers.simulator_desk import order as pair_order
from trading.brokers import alpaca_client, kite, kite_client
from trading.brokers.registry import Connection, open_broker
from trading.brokers.simulator_control import SimulatorControl
from trading.brokers.transport import BrokerSession
from trading.domain.bars import Bar
from trading.domain.broker import Accepted, Broker, OrderRequest, OrderType, ProtectiveLeg, Side

# Nobody listens there, and nothing is sent: the playback takes the place of the sockets.
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True)
class Tape:
    """What was taped of one adapter, and the account that it is about."""

    subject: str
    account: str
    calls: tuple[Taped, ...]
    streams: tuple[Taped, ...]


@dataclass(slots=True)
class Opened:
    """An adapter over a playback."""

    broker: Broker
    playback: Playback | SocketPlayback
    fresh: Callable[[], None]
    stream: Callable[[str, Sequence[bytes]], Iterator[Any]]


@dataclass(frozen=True, slots=True)
class Subject:
    """One adapter: how it is taped and opened, and which numbers of its results it makes by itself.

    It is opened for the account of its tape, over a playback in this process or over a server that listens.
    `derived` names (dataclass, field) whose numbers are sums or constants, not numbers of an answer.
    `derived_in_streams` names those of which that is so in messages of streams only.
    """

    name: str
    record: Callable[[Simulator, SimulatorControl], Tape]
    open: Callable[[str, SocketPlayback | None], Opened]
    derived: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    derived_in_streams: frozenset[tuple[str, str]] = field(default_factory=frozenset)


def subject(name: str) -> Subject:
    """The subject of that name."""
    return next(each for each in SUBJECTS if each.name == name)


def _over(session: BrokerSession, server: SocketPlayback | None) -> Playback | SocketPlayback:
    if server is None:
        return play_under(session)
    session._budget = Unlimited()
    return server


def _bars(control: SimulatorControl, instrument: str, price: str, half: str) -> Any:
    start = control.clock()[0].replace(second=0, microsecond=0) + timedelta(minutes=1)
    level = Decimal(price)
    up, down = level * Decimal("1.001"), level * Decimal("0.999")
    times = [start + timedelta(minutes=minute) for minute in range(3)]
    bars = [Bar(instrument, at, 60, level, up, down, level, Decimal(7)) for at in times]
    control.play_bars(instrument, bars, half_spread=Decimal(half))
    return start


def _record_oanda(running: Simulator, control: SimulatorControl) -> Tape:
    control.set_price("EUR_USD", Decimal("1.10000"), Decimal("1.10010"))
    desk = OandaDesk(running, control)
    broker: Any = desk.broker
    began = _bars(control, "EUR_USD", "1.10000", "0.00005")
    recorder = Recorder(broker._client.session)
    tape = recorder.tape
    tape(broker, "identity")
    tape(broker, "now")
    tape(broker, "instruments")
    tape(broker, "prices", instruments=["EUR_USD", "USD_JPY"])
    tape(broker, "candles", instrument="EUR_USD", since=began, interval_seconds=60)
    tape(broker, "candles", instrument="EUR_USD", since=began, until=began + timedelta(minutes=2), interval_seconds=60)
    legs = {
        "stop_loss": ProtectiveLeg("fuzz-s", Decimal("1.09000")),
        "take_profit": ProtectiveLeg("fuzz-t", Decimal("1.12000")),
    }
    tape(broker, "submit", writes=True, request=pair_order("fuzz-entry", **legs))
    tape(broker, "submit", writes=True, request=pair_order("fuzz-sell", side=Side.SELL, quantity=Decimal(300)))
    resting = pair_order("fuzz-limit", type=OrderType.LIMIT, price=Decimal("1.05000"))
    limit = tape(broker, "submit", writes=True, request=resting)
    tape(broker, "submit", writes=True, request=resting)  # the id is taken: it looks for the order
    tape(broker, "submit", writes=True, request=pair_order("fuzz-no", instrument="EUR_XXX"))
    other = broker.submit(pair_order("fuzz-other", type=OrderType.LIMIT, price=Decimal("1.04000")))
    tape(broker, "order_by_client_id", client_id="fuzz-limit")
    tape(broker, "order_by_client_id", client_id="fuzz-entry", since=desk.cursor)
    tape(broker, "order_by_client_id", client_id="fuzz-nothing", since=desk.cursor)
    tape(broker, "snapshot")
    tape(broker, "cancel", writes=True, broker_order_id=limit.broker_order_id, client_id="fuzz-limit")
    tape(broker, "cancel", writes=True, broker_order_id=limit.broker_order_id, client_id="fuzz-limit")
    tape(broker, "cancel", writes=True, broker_order_id="", client_id="fuzz-entry")
    tape(broker, "cancel", writes=True, broker_order_id="", client_id="fuzz-other")
    assert isinstance(other, Accepted)
    changing = broker.submit(pair_order("fuzz-change", type=OrderType.LIMIT, price=Decimal("1.03000")))
    smaller = {"quantity": Decimal(900), "price": Decimal("1.03500")}
    named = {"broker_order_id": changing.broker_order_id, "client_id": "fuzz-change"}
    tape(broker, "replace", writes=True, **named, **smaller)
    tape(broker, "replace", writes=True, **named, **smaller)
    control.external(desk.account, "financing", currency="USD", amount="-1.37")
    control.external(desk.account, "dividend", currency="USD", amount="2.40", instrument="EUR_USD")
    control.external(desk.account, "fee", currency="USD", amount="-0.07")
    control.external(desk.account, "transfer", currency="USD", amount="-500")
    tape(broker, "order_by_client_id", client_id="fuzz-limit", since=desk.cursor)
    broker._currency = ""
    tape(broker, "events_since", cursor="")
    broker._currency = ""
    tape(broker, "events_since", cursor=desk.cursor)
    streams = tape_oanda(broker, control, desk.account)
    broker.close()
    return Tape("oanda", desk.account, tuple(recorder.taped), streams)


def _open_oanda(account: str, server: SocketPlayback | None) -> Opened:
    url = server.url if server is not None else NOWHERE
    broker: Any = open_broker(Connection("oanda", "simulator", url, account, {"token": "sim-token-of-the-fuzzer"}))
    playback = _over(broker._client.session, server)

    def fresh() -> None:
        broker._currency = ""

    return Opened(broker, playback, fresh, lambda name, frames: oanda_stream(account, name, frames))


def _record_alpaca(running: Simulator, control: SimulatorControl) -> Tape:
    control.set_price("AAPL", Decimal("199.99"), Decimal("200.01"))
    desk = AlpacaDesk(running, control)
    broker: Any = desk.broker
    began = _bars(control, "AAPL", "200", "0.01")
    recorder = Recorder(broker._client.session)

    def tape(name: str, *, writes: bool = False, **arguments: Any) -> Any:
        alpaca_client._account_of_key.clear()
        return recorder.tape(broker, name, writes=writes, **arguments)

    tape("identity")
    tape("now")
    tape("instruments")
    tape("prices", instruments=["AAPL", "MSFT"])
    tape("candles", instrument="AAPL", since=began, interval_seconds=60)
    tape("candles", instrument="AAPL", since=began, until=began + timedelta(minutes=2), interval_seconds=60)
    tape("submit", writes=True, request=share_order("fuzz-in"))
    tape("submit", writes=True, request=share_bracket("fuzz-guarded"))
    resting = share_order("fuzz-limit", type=OrderType.LIMIT, price=Decimal("150.00"))
    limit = tape("submit", writes=True, request=resting)
    tape("submit", writes=True, request=resting)  # the id is taken: it looks for the order
    tape("submit", writes=True, request=share_order("fuzz-out", side=Side.SELL, quantity=Decimal(3), reduce_only=True))
    tape("submit", writes=True, request=share_order("fuzz-no", quantity=Decimal(900_000)))
    broker.submit(share_order("fuzz-other", type=OrderType.LIMIT, price=Decimal("140.00")))
    tape("order_by_client_id", client_id="fuzz-limit")
    tape("order_by_client_id", client_id="fuzz-guarded")
    tape("order_by_client_id", client_id="fuzz-nothing")
    tape("snapshot")
    tape("cancel", writes=True, broker_order_id=limit.broker_order_id, client_id="fuzz-limit")
    tape("cancel", writes=True, broker_order_id=limit.broker_order_id, client_id="fuzz-limit")
    tape("cancel", writes=True, broker_order_id="", client_id="fuzz-in")
    tape("cancel", writes=True, broker_order_id="", client_id="fuzz-other")
    control.external(desk.account, "financing", currency="USD", amount="-1.37")
    control.external(desk.account, "dividend", currency="USD", amount="2.40", instrument="AAPL")
    control.external(desk.account, "fee", currency="USD", amount="-0.07")
    control.external(desk.account, "transfer", currency="USD", amount="-500")
    page = tape("events_since", cursor="")
    tape("events_since", cursor=page.cursor)
    broker._cursor = None
    tape("snapshot")
    changing = broker.submit(share_order("fuzz-change", type=OrderType.LIMIT, price=Decimal("130.00")))
    smaller = {"quantity": Decimal(9), "price": Decimal("131.00")}
    named = {"broker_order_id": changing.broker_order_id, "client_id": "fuzz-change"}
    tape("replace", writes=True, **named, **smaller)
    tape("replace", writes=True, **named, **smaller)

    def move() -> None:
        control.set_price("AAPL", Decimal("201.00"), Decimal("201.02"))

    def trade() -> None:
        control.external(desk.account, "trade", instrument="AAPL", quantity="1")

    streams = tape_sockets(broker, "AAPL", move, trade)
    broker.close()
    return Tape("alpaca", desk.account, tuple(recorder.taped), streams)


def _open_alpaca(account: str, server: SocketPlayback | None) -> Opened:
    keys = {"key": "fuzz-key", "secret": "sim-secret-of-the-fuzzer"}
    url = server.url if server is not None else NOWHERE
    broker: Any = open_broker(Connection("alpaca", "simulator", url, account, keys))
    playback = _over(broker._client.session, server)

    def fresh() -> None:
        alpaca_client._account_of_key.clear()
        broker._cursor = None

    return Opened(broker, playback, fresh, lambda name, frames: alpaca_stream(account, name, frames))


def _kite_fresh() -> None:
    kite_client._account_of_token.clear()
    kite_client._refused_until.clear()
    kite._tokens.clear()


def _record_kite(running: Simulator, control: SimulatorControl) -> Tape:
    infy = "NSE:INFY"
    control.set_price(infy, Decimal("1500.00"), Decimal("1500.05"))
    account, told = control.create_account(broker="kite", currency="INR", cash=Decimal(1_000_000))
    keys = {"key": told["api_key"], "access_token": told["access_token"]}
    broker: Any = open_broker(
        Connection("kite", "simulator", f"http://127.0.0.1:{running.ports['kite']}", account, keys)
    )
    began = _bars(control, infy, "1500", "0.05")
    recorder = Recorder(broker._client.session)

    def tape(name: str, *, writes: bool = False, **arguments: Any) -> Any:
        _kite_fresh()
        return recorder.tape(broker, name, writes=writes, **arguments)

    def order(name: str, **more: Any) -> OrderRequest:
        common: dict[str, Any] = {"side": Side.BUY, "quantity": Decimal(10), "type": OrderType.MARKET}
        return OrderRequest(client_id=name, instrument=infy, **{**common, **more})

    tape("identity")
    tape("now")
    tape("instruments")
    tape("prices", instruments=[infy, "NSE:RELIANCE"])
    tape("candles", instrument=infy, since=began, interval_seconds=60)
    tape("submit", writes=True, request=order("fuzzentry"))
    limit = tape("submit", writes=True, request=order("fuzzlimit", type=OrderType.LIMIT, price=Decimal("1450.00")))
    tape("submit", writes=True, request=order("fuzzno", quantity=Decimal(90_000)))
    tape("submit", writes=True, request=order("fuzzout", side=Side.SELL, quantity=Decimal(3), reduce_only=True))
    tape("order_by_client_id", client_id="fuzzlimit")
    tape("order_by_client_id", client_id="fuzznothing")
    tape("snapshot")
    named = {"broker_order_id": limit.broker_order_id, "client_id": "fuzzlimit"}
    tape("replace", writes=True, **named, quantity=Decimal(9), price=Decimal("1451.00"))
    tape("cancel", writes=True, **named)
    tape("cancel", writes=True, **named)
    tape("cancel", writes=True, broker_order_id="", client_id="fuzzentry")
    page = tape("events_since", cursor="")
    tape("events_since", cursor=page.cursor)
    tape("snapshot")
    _kite_fresh()

    def move() -> None:
        control.set_price(infy, Decimal("1501.00"), Decimal("1501.05"))

    def trade() -> None:
        control.external(account, "trade", instrument=infy, quantity="1")

    streams = tape_sockets(broker, infy, move, trade)
    broker.close()
    return Tape("kite", account, tuple(recorder.taped), streams)


def _open_kite(account: str, server: SocketPlayback | None) -> Opened:
    keys = {"key": "fuzz-key", "access_token": "sim-token-of-the-fuzzer"}
    url = server.url if server is not None else NOWHERE
    broker: Any = open_broker(Connection("kite", "simulator", url, account, keys))
    playback = _over(broker._client.session, server)
    broker._client._budgets = {kind: Unlimited() for kind in broker._client._budgets}
    return Opened(broker, playback, _kite_fresh, lambda name, frames: kite_stream(account, name, frames))


SUBJECTS: Sequence[Subject] = (
    Subject(
        "oanda",
        _record_oanda,
        _open_oanda,
        frozenset(
            {
                ("FillData", "commission"),
                ("BrokerInstrument", "pip_size"),
                ("BrokerInstrument", "tick_size"),
                ("BrokerOrder", "filled"),
            }
        ),
    ),
    Subject(
        "alpaca",
        _record_alpaca,
        _open_alpaca,
        frozenset(
            {
                ("BrokerInstrument", "pip_size"),
                ("BrokerInstrument", "tick_size"),
                ("BrokerInstrument", "minimum_units"),
                ("BrokerInstrument", "maximum_units"),
                ("BrokerInstrument", "margin_rate"),
            }
        ),
    ),
    Subject(
        "kite",
        _record_kite,
        _open_kite,
        frozenset(
            {
                ("BrokerInstrument", "maximum_units"),
                ("BrokerInstrument", "margin_rate"),
                # Shares of the holdings and of the day are one position here, and cash now is the day's balance less
                # what was paid since.
                ("BrokerPosition", "quantity"),
                ("BrokerPosition", "average_price"),
                ("BrokerSnapshot", "cash"),
            }
        ),
        # Binary packets carry whole numbers of the smallest step of a price.
        frozenset({("BrokerPrice", "bid"), ("BrokerPrice", "ask")}),
    ),
)
