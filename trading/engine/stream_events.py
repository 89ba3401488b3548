"""The event stream of an account: what happens there reaches the inbox at once.

What always holds: after every connect the history is read, because streams do not replay; events go into the inbox
only when they follow the cursor exactly, in every other case the history is read; it is also read every few seconds
while nothing comes and while the stream is down, so a stream that keeps something back costs seconds, never a fill.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from trading.domain.broker import Broker, BrokerUnreachable, Heartbeat, StreamNews
from trading.models import Account
from trading.services.inbox import Received
from trading.wake import wake

from .connections import connected
from .inflow import catch_up, take
from .stream_listener import SILENCE_SECONDS, Listener

# How long the history is not read while the stream says nothing that would need it.
CHECK_SECONDS = 7.0
AGAIN_SECONDS = 2.0
WATCH_TASK, RECONCILE_TASK = "orders.watch", "reconciliation.tick"


class EventListener(Listener[StreamNews | Heartbeat]):
    """Listens to one account."""

    def __init__(self, name: str, account_id: int) -> None:
        super().__init__(name, account_id)
        self._check_at = 0.0
        self._behind = False

    def open(self, broker: Broker, account: Account) -> Iterator[StreamNews | Heartbeat]:
        """The account's event stream."""
        return broker.event_stream(silence_seconds=SILENCE_SECONDS)

    def connected(self, broker: Broker, account: Account) -> None:
        """Read what happened before the stream listened."""
        self._read_history(broker, account)

    def take(self, items: Sequence[StreamNews | Heartbeat], broker: Broker, account: Account) -> None:
        """News go to the inbox; the history is asked about the others, once for all that come together."""
        news = [item for item in items if isinstance(item, StreamNews)]
        if news and not self._taken(news, account):
            self._check_at = 0.0

    def broken(self) -> None:
        """Nothing is lost: the history is read until the next connect, and after it."""

    def pulse(self, account: Account, broker: Broker | None) -> None:
        """The stream may be down, or keep something back: the history tells the same, a little later."""
        if time.monotonic() < self._check_at:
            return
        with connected(account, broker) as port:
            self._read_history(port, account)

    def _taken(self, news: Sequence[StreamNews], account: Account) -> bool:
        if not all(item.events for item in news):
            return False
        try:
            received = take(account=account, events=[event for item in news for event in item.events])
        except BrokerUnreachable:
            return False
        if received is not None:
            _tell(received)
        return received is not None

    def _read_history(self, broker: Broker, account: Account) -> None:
        """Read on from the cursor; when that fails, soon again: the stream itself is not to blame."""
        self._check_at = time.monotonic() + AGAIN_SECONDS
        try:
            received = catch_up(account=account, broker=broker)
        except BrokerUnreachable as error:
            if not self._behind:  # said once, not with every try
                self._failed(error)
            self._behind = True
            return
        self._behind = False
        self._check_at = time.monotonic() + CHECK_SECONDS
        _tell(received)


def _tell(received: Received) -> None:
    """Wake those who act on what has happened; without a queue their sweeps find it."""
    if received.stored:
        wake(WATCH_TASK)
    if received.posted_fills:
        wake(RECONCILE_TASK)
