"""Exits that waited while the desk was down: read about before they leave, and never held for ever.

Their books may have come back from a backup, and the broker may have had them long ago: its history says so, whoever
sends them. A history that cannot be read holds only them, only for a while, and nothing else of the account.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from reconciliation.engine.startup import block_entries_until_reconciled
from tests.faults.standing import state
from tests.faults.test_survivors import exit_of
from tests.faults.world import World
from trading.brokers.oanda import OandaBroker
from trading.domain.broker import BrokerNeedsLogin, BrokerUnreachable
from trading.engine import sender
from trading.engine.oco import send_and_cover
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import Order

pytestmark = pytest.mark.faults

Unread = Callable[[type[Exception]], None]


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Unread:
    """A verb: from now on reading the broker's history fails so; orders are taken as ever."""

    def fails(error: type[Exception]) -> None:
        def events_since(*_: Any) -> None:
            raise error("the history cannot be read")

        monkeypatch.setattr(OandaBroker, "events_since", events_since)

    return fails


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(scope="")


def waiting(world: World) -> Order:
    """An exit that was planned and not sent before the desk started again."""
    entry = world.plan()
    send_order(order_id=entry.pk)
    return exit_of(world, entry)


def restarted(world: World) -> tuple[Order, Order]:
    """Two trades whose exits are planned, one before and one after the start of the desk."""
    before, entry = waiting(world), world.plan()
    send_order(order_id=entry.pk)
    assert block_entries_until_reconciled() == 1
    return before, exit_of(world, entry)


def by_the_task(world: World) -> None:
    """As the task `orders.send` does for a planned order; it fails aloud where what filled cannot be booked."""
    with suppress(ValueError):
        send_and_cover(account_id=world.account.pk)


def by_the_round(world: World) -> None:
    """As the watcher does."""
    assert world.account.is_active
    watch_once()


WAYS = pytest.mark.parametrize("sent", [by_the_task, by_the_round])


@WAYS
@pytest.mark.parametrize("error", [BrokerUnreachable, ValueError])
def test_a_history_that_cannot_be_read_holds_the_exits_of_before_the_start_and_nothing_else(
    world: World, unread: Unread, sent: Callable[[World], None], error: type[Exception]
) -> None:
    before, after = restarted(world)
    unread(error)
    sent(world)
    assert world.posts(before) == [] and state(before) == "PLANNED"
    assert len(world.posts(after)) == 1, "an exit is always possible"


@WAYS
def test_an_exit_of_before_the_start_is_not_held_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, unread: Unread, sent: Callable[[World], None]
) -> None:
    before, _ = restarted(world)
    unread(BrokerUnreachable)
    monkeypatch.setattr(sender, "LONGEST_HOLD", timedelta(0))
    sent(world)
    assert len(world.posts(before)) == 1


def test_an_account_that_needs_a_login_holds_them_too(world: World, unread: Unread) -> None:
    before, _ = restarted(world)
    unread(BrokerNeedsLogin)
    by_the_task(world)
    assert world.posts(before) == []
