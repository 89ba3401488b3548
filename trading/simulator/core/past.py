"""Each account as it was before its last change, for pages that are older than they should be.

What always holds here: it is kept in memory only, nothing but such a page looks at it, and remembering costs what an
account has open and pending, at most fifty things, not what it has ever had.
"""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, fields
from itertools import islice

from .model import Account

_GROWING = ("history", "orders", "trades")
_OTHERS = tuple(one.name for one in fields(Account) if one.name not in _GROWING)
_MOST = 50


@dataclass(slots=True)
class _Before:
    """An account before a change: the lengths of what only grows, and what can change, packed until it is wanted."""

    account: Account
    version: tuple[int, int]
    lengths: dict[str, int]
    packed: bytes


class Past:
    """The accounts of one world before their last change."""

    def __init__(self) -> None:
        self._changes: dict[str, int] = {}
        self._last: dict[str, _Before] = {}
        self._earlier: dict[str, _Before] = {}

    def touch(self, account: str) -> None:
        """Something has happened in this account."""
        self._changes[account] = self._changes.get(account, 0) + 1

    def _version(self, account: Account) -> tuple[int, int]:
        return self._changes.get(account.id, 0), len(account.history)

    def remember(self, account: Account) -> None:
        """The account may change now. One with more than fifty open and pending things is not remembered."""
        last, version = self._last.get(account.id), self._version(account)
        if last is not None and last.account is account and last.version == version:
            return
        if last is not None:
            self._earlier[account.id] = last
        if len(account.pending_ids) + len(account.open_ids) > _MOST:
            self._last.pop(account.id, None)
            return
        self._last[account.id] = _Before(
            account,
            version,
            {name: len(getattr(account, name)) for name in _GROWING},
            pickle.dumps(
                (
                    {name: getattr(account, name) for name in _OTHERS},
                    {key: account.orders[key] for key in account.pending_ids},
                    {key: account.trades[key] for key in account.open_ids},
                ),
                pickle.HIGHEST_PROTOCOL,
            ),
        )

    def of(self, account: Account) -> Account:
        """The account before its last change; as it is when that is not remembered."""
        before = self._last.get(account.id)
        if before is not None and before.version == self._version(account):
            before = self._earlier.get(account.id)
        if before is None or before.account is not account:
            return account
        others, orders, trades = pickle.loads(before.packed)
        found = copy.copy(account)
        for name, value in others.items():
            setattr(found, name, value)
        found.history = account.history[: before.lengths["history"]]
        found.orders = dict(islice(account.orders.items(), before.lengths["orders"]))
        found.orders.update(orders)
        found.trades = dict(islice(account.trades.items(), before.lengths["trades"]))
        found.trades.update(trades)
        return found
