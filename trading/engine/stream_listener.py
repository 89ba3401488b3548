"""One stream of one account, kept open as long as it is wanted: connect, listen, and again after every end.

What always holds: a stream that ends, falls silent or fails for any reason is opened again, after 1, 2, 4 … 30 seconds
with jitter; `pulse` comes about four times a second whatever the stream does; the heartbeat row says when something was
last heard, and counts connects and errors; `stop` wakes the thread wherever it waits; no transaction is open while it
listens, and a lost database costs a reconnect, not the thread.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from django.db import Error as DatabaseError
from django.db import connection

from trading import context
from trading.brokers.registry import BadConnection, MissingCredentials
from trading.clock import wall_now
from trading.domain.broker import Broker, BrokerUnreachable
from trading.models import Account
from trading.services import heartbeats

from .connections import broker_for

log = logging.getLogger(__name__)

SILENCE_SECONDS = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
BEAT_SECONDS = 1.0
PULSE_SECONDS = 0.25
TOGETHER = 100
"""So many messages are taken at once, where they come faster than they are dealt with."""
GRACE_SECONDS = 5.0
"""How much longer than the adapter's own watchdog this one waits."""
# What can go wrong with a stream without anything being wrong with us.
EXPECTED = (BrokerUnreachable, MissingCredentials, BadConnection, DatabaseError)
Item = TypeVar("Item")


@dataclass(slots=True)
class Health:
    """What the heartbeat row tells of a stream; `errors` are ends of it that we did not want."""

    connected: bool = False
    connects: int = 0
    errors: int = 0
    last_error: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class _End:
    """The reader's last word: what ended the stream, None when it was closed."""

    error: Exception | None


class Listener(ABC, Generic[Item]):
    """What both kinds of streams share. A kind says how to open, what to do first, and what to do with an item."""

    def __init__(self, name: str, account_id: int) -> None:
        self.name, self.account_id = name, account_id
        self.health = Health()
        self._stopping = threading.Event()
        self._stream: Iterator[Item] | None = None
        self._beaten = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)

    def start(self) -> None:
        """Listen from now on, in a thread of its own."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ask it to end; `join` waits for that."""
        self._stopping.set()
        _close(self._stream)

    def join(self, seconds: float) -> None:
        """Wait until it has ended, at most so long."""
        self._thread.join(seconds)

    @abstractmethod
    def open(self, broker: Broker, account: Account) -> Iterator[Item]:
        """The stream, not yet connected."""

    @abstractmethod
    def connected(self, broker: Broker, account: Account) -> None:
        """The broker listens: what has to be done before its first message."""

    @abstractmethod
    def take(self, items: Sequence[Item], broker: Broker, account: Account) -> None:
        """The messages that have come since the last ones were taken, in their order."""

    @abstractmethod
    def broken(self) -> None:
        """The stream has ended."""

    @abstractmethod
    def pulse(self, account: Account, broker: Broker | None) -> None:
        """Time has passed, about a quarter of a second; `broker` is None while there is no stream."""

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                account = self._listen()
                if time.monotonic() - began > LONGEST_PAUSE:
                    failures = 0
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures) * random.uniform(0.75, 1.25)
                failures += 1
                self._wait(pause, account)
        finally:
            connection.close()

    def _listen(self) -> Account | None:
        """Connect once and listen until the end, whatever that is."""
        account = broker = None
        try:
            account = Account.objects.get(pk=self.account_id)
            broker = broker_for(account)
            self._stream = self.open(broker, account)
            if self._stopping.is_set():
                return account
            items: SimpleQueue[Item | _End] = SimpleQueue()
            threading.Thread(target=_pump, args=(self._stream, items), daemon=True, name=f"{self.name} reader").start()
            self._follow(items, broker, account)
        except EXPECTED as error:
            self._failed(error)
        except Exception as error:
            self._failed(error)
            log.exception("%s: the stream is opened again", self.name)
        finally:
            self.health.connected = False
            self.broken()
            _close(self._stream)
            self._stream = None
            if broker is not None:
                broker.close()
        with suppress(DatabaseError):
            self._beat(at_once=True)
        return account

    def _follow(self, items: SimpleQueue[Item | _End], broker: Broker, account: Account) -> None:
        """Take what the reader has read until the stream ends; raises what ended it."""
        heard_at, pulse_at = time.monotonic(), 0.0
        while not self._stopping.is_set():
            with suppress(Empty):
                waiting = [items.get(timeout=PULSE_SECONDS)]
                while not items.empty() and len(waiting) < TOGETHER:
                    waiting.append(items.get_nowait())
                heard_at = time.monotonic()
                with context.entered(via="stream", who=self._who):
                    self._heard([item for item in waiting if not isinstance(item, _End)], broker, account)
                if isinstance(end := waiting[-1], _End):
                    raise end.error or BrokerUnreachable(f"{self.name} has ended without a word")
            if time.monotonic() - heard_at > SILENCE_SECONDS + GRACE_SECONDS:
                raise BrokerUnreachable(f"{self.name}: its reader has said nothing for too long")
            if time.monotonic() >= pulse_at:
                pulse_at = time.monotonic() + PULSE_SECONDS
                with context.entered(via="stream", who=self._who):
                    self.pulse(account, broker)

    def _who(self) -> context.Who:
        return context.Who(self.name)

    def _heard(self, items: Sequence[Item], broker: Broker, account: Account) -> None:
        if items and not self.health.connected:  # the first only says that the broker listens
            self.health.connected, self.health.since = True, wall_now().isoformat()
            self.health.connects += 1
            self._beat(at_once=True)
            self.connected(broker, account)
            items = items[1:]
        if items:
            self.take(items, broker, account)
            self._beat()

    def _failed(self, error: Exception) -> None:
        """Count and say what went wrong, unless we are stopping."""
        if self._stopping.is_set():
            return
        self.health.errors += 1
        self.health.last_error = str(error)[:300]
        log.warning("%s: %s", self.name, self.health.last_error)
        if isinstance(error, DatabaseError):
            connection.close()  # the next use opens a new one

    def _wait(self, pause: float, account: Account | None) -> None:
        until = time.monotonic() + pause
        while (left := until - time.monotonic()) > 0 and not self._stopping.wait(min(PULSE_SECONDS, left)):
            if account is not None:
                try:
                    with context.entered(via="stream", who=self._who):
                        self.pulse(account, None)
                except EXPECTED as error:
                    self._failed(error)

    def _beat(self, *, at_once: bool = False) -> None:
        if at_once or time.monotonic() - self._beaten >= BEAT_SECONDS:
            heartbeats.beat(self.name, **self.details())
            self._beaten = time.monotonic()

    def details(self) -> dict[str, Any]:
        """What the heartbeat row says."""
        return asdict(self.health)


def _pump(stream: Iterator[Item], items: SimpleQueue[Item | _End]) -> None:
    """Read a stream to its end: whoever takes the items never waits on the wire."""
    error: Exception | None = None
    try:
        for item in stream:
            items.put(item)
    except Exception as raised:  # noqa: BLE001 - it is raised again where the items are taken
        error = raised
    items.put(_End(error))


def _close(stream: Any) -> None:
    """Close a stream's connection; a stream that cannot be closed from here ends with its next message."""
    close = getattr(stream, "close", None)
    if close is not None:
        with suppress(ValueError):  # a plain generator that another thread is inside of
            close()
