"""What every source of market data offers: closed bars of known symbols.

What always holds here: bars are validated before they leave a feed, rise strictly in time and are closed; a feed that
cannot deliver raises `FeedError` with a sentence for people, it never returns less in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from trading.domain.bars import Bar


class FeedError(Exception):
    """Market data cannot be had. The message says which, why, and what to do."""


class Feed(Protocol):
    """A source of bars. `name` is what people and the status block call it."""

    name: str

    def bars(
        self, symbol: str, interval_seconds: int, *, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[Bar]:
        """Closed bars that start at or after `since` and end at or before `until`, in order.

        Raises `FeedError`.
        """
        ...
