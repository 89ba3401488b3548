"""A queue that behaves badly on purpose: it delivers twice at once, loses, and shuffles what it was given.

What always holds: the same seed treats the same messages alike; what is not lost really travels through Redis to real
workers; a message is delivered as it was given, never changed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from celery import Celery

Message = tuple[str, tuple[Any, ...], str]


class TaskLayer:
    """Between whoever wakes workers and the queue. Each message is lost with the probability `drop`."""

    def __init__(self, celery: Celery, *, seed: int, twice: bool = False, drop: float = 0.0, shuffle: bool = False):
        self._celery = celery
        self._random = random.Random(seed)
        self._twice, self._drop, self._shuffle = twice, drop, shuffle
        self._held: list[Message] = []
        self.lost: list[Message] = []

    def send(self, name: str, *arguments: Any, queue: str = "orders") -> None:
        """Take a message; it leaves with the next `deliver`."""
        self._held.append((name, arguments, queue))

    def deliver(self) -> Sequence[Message]:
        """Let everything that was taken leave, as badly as was asked for; what really left."""
        leaving = []
        for message in self._held:
            if self._random.random() < self._drop:
                self.lost.append(message)
            else:
                leaving += [message, message] if self._twice else [message]
        self._held = []
        if self._shuffle:
            self._random.shuffle(leaving)
        for name, arguments, queue in leaving:
            self._celery.send_task(name, args=list(arguments), queue=queue)
        return leaving
