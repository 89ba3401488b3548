"""All streams of the desk: an event stream for each account, a price stream for each account that feeds bars.

What always holds: one process streams an account at a time (a lease; the others stand by); new, changed and removed
accounts are noticed within seconds; a thread that has died is started again; losing this process, or stopping it,
costs time only, because polling goes on without it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import Error as DatabaseError
from django.db import connection

from trading.domain.session import BadSettings
from trading.domain.tick_bars import LONGEST_TICK_BAR
from trading.models import Account, Instrument
from trading.selectors.instruments import UnmappedInstrument, broker_symbol
from trading.services import heartbeats, leases

from .desk import live_setups
from .inflow import holder
from .live import LiveSetup
from .stream_bars import PriceListener, prices_name
from .stream_events import EventListener

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
LEASE_SECONDS = 12
STOP_SECONDS = 1.5
FRESH = timedelta(seconds=15)
"""A stream whose heartbeat is older is not connected, whatever it said."""
MID_CANDLES = {Account.Broker.OANDA}
"""Brokers whose candles are made of mids, like ours; elsewhere they are made of trades, and ours would not fit in."""

Listening = EventListener | PriceListener


@dataclass(frozen=True, slots=True)
class Wanted:
    """One stream that there should be; another `endpoint` or other symbols make it another one."""

    name: str
    account_id: int
    endpoint: str
    symbols: tuple[tuple[str, str], ...] = ()
    intervals: frozenset[int] = frozenset()

    def listener(self) -> Listening:
        """A new listener for it."""
        if self.symbols:
            return PriceListener(self.name, self.account_id, dict(self.symbols), self.intervals)
        return EventListener(self.name, self.account_id)


@dataclass(slots=True)
class _Running:
    wanted: Wanted
    token: int
    listener: Listening = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.listener = self.wanted.listener()
        self.listener.start()


def events_name(account: Account) -> str:
    """The heartbeat's and lease's name of the account's event stream."""
    return f"stream.events:{account.name}"


def makes_bars(setup: LiveSetup) -> bool:
    """Whether the bars of a setup are made of streamed prices; otherwise they come from the broker's candles alone."""
    return setup.feed_account.broker in MID_CANDLES and setup.session.interval_seconds <= LONGEST_TICK_BAR


def stream_health(setup: LiveSetup) -> tuple[bool, int]:
    """Whether all streams of a setup's feed account are connected now, and how often they ended unwanted."""
    names = [events_name(setup.feed_account)]
    if makes_bars(setup):
        names.append(prices_name(setup.feed_account))
    told = [heartbeats.lately(name, within=FRESH) for name in names]
    connected = all(details is not None and details.get("connected") for details in told)
    return connected, sum(int(details.get("errors", 0)) for details in told if details is not None)


def desk_accounts() -> list[Account]:
    """The accounts whose events are streamed: active, at a broker, of the desk's own world."""
    return list(Account.objects.filter(is_active=True, scope="").exclude(broker=Account.Broker.PAPER))


class Streams:
    """Keeps the streams of all accounts open, in threads, until it is told to stop."""

    def __init__(
        self,
        *,
        accounts: Callable[[], Sequence[Account]] = desk_accounts,
        setups: Callable[[], Sequence[LiveSetup]] = live_setups,
    ) -> None:
        self._accounts, self._setups = accounts, setups
        self._running: dict[str, _Running] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, *, ready: Callable[[], None] = lambda: None) -> None:
        """Stream until `stop`; `ready` is called once every account has been looked at."""
        looked = False
        try:
            while not self._stopping.is_set():
                try:
                    self._look()
                    if not looked:
                        looked = True
                        ready()
                except DatabaseError as error:
                    log.warning("streams: the database does not answer: %s", error)
                    connection.close()
                except Exception:
                    log.exception("streams: this round has failed, the next one follows")
                self._stopping.wait(LOOK_SECONDS)
        finally:
            self._end(list(self._running))
            connection.close()

    def stop(self) -> None:
        """Let `run` end, within two seconds."""
        self._stopping.set()

    def start(self) -> None:
        """Run in a thread of its own, beside whatever this process does."""
        self._thread = threading.Thread(target=self.run, daemon=True, name="streams")
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of `run` in its own thread."""
        if self._thread is not None:
            self._thread.join(STOP_SECONDS + 1.0)

    def _look(self) -> None:
        """Start, restart and stop streams until they are those that there should be."""
        wanted = {item.name: item for item in self._wanted()}
        lost = [
            name
            for name, running in self._running.items()
            if not leases.renew(key=name, token=running.token, seconds=LEASE_SECONDS)
        ]
        gone = [name for name, running in self._running.items() if wanted.get(name) != running.wanted]
        self._end([*lost, *(name for name in gone if name not in lost)])
        for name, item in wanted.items():
            running = self._running.get(name)
            if running is None:
                token = leases.acquire(key=name, holder=holder(), seconds=LEASE_SECONDS)
                if token is not None:
                    self._running[name] = _Running(item, token)
            elif not running.listener.is_alive():
                log.error("%s: its thread has died and is started again", name)
                running.restart()
        heartbeats.beat("streams", streams=sorted(self._running))

    def _wanted(self) -> list[Wanted]:
        found = [Wanted(events_name(account), account.pk, account.endpoint) for account in self._accounts()]
        try:
            setups = self._setups()
        except (BadSettings, OSError) as error:
            log.warning("streams: the session file cannot be read, so no prices are streamed: %s", error)
            setups = []
        feeds: dict[Account, tuple[set[str], set[int]]] = {}
        for setup in setups:
            if makes_bars(setup):
                symbols, intervals = feeds.setdefault(setup.feed_account, (set(), set()))
                symbols.update(setup.session.symbols)
                intervals.add(setup.session.interval_seconds)
        for account, (symbols, intervals) in feeds.items():
            names = _broker_names(account, symbols)
            if names:
                prices = prices_name(account)
                found.append(Wanted(prices, account.pk, account.endpoint, names, frozenset(intervals)))
        return found

    def _end(self, names: list[str]) -> None:
        """Stop these, all at the same time, and give their leases back."""
        ending = [self._running.pop(name) for name in names]
        for running in ending:
            running.listener.stop()
        for running in ending:
            running.listener.join(STOP_SECONDS / max(1, len(ending)))
        try:
            for running in ending:
                leases.release(key=running.wanted.name, token=running.token)
        except DatabaseError:
            connection.close()  # they run out by themselves


def _broker_names(account: Account, symbols: set[str]) -> tuple[tuple[str, str], ...]:
    names = {}
    for instrument in Instrument.objects.filter(symbol__in=symbols):
        try:
            names[broker_symbol(account, instrument)] = instrument.symbol
        except UnmappedInstrument as error:
            log.warning("streams: %s", error)
    return tuple(sorted(names.items()))
