"""The life of an order."""

from decimal import Decimal

import pytest

from trading.domain.broker import BrokerOrderStatus
from trading.domain.orders import (
    ALLOWED,
    MAY_LIVE_AT_BROKER,
    TERMINAL,
    OrderState,
    is_late,
    may_move,
    state_after_fill,
    state_from_broker,
)

S = OrderState


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (S.PLANNED, S.SENDING),
        (S.SENDING, S.WORKING),
        (S.SENDING, S.UNKNOWN),
        (S.CANCELLING, S.UNKNOWN),
        (S.CANCELLING, S.FILLED),
        (S.UNKNOWN, S.PLANNED),
        (S.PLANNED, S.WORKING),
        (S.PLANNED, S.FILLED),
        (S.PLANNED, S.CANCELLED),
        (S.PARTIAL, S.PARTIAL),
    ],
)
def test_the_moves_of_an_order_are_allowed(source: OrderState, target: OrderState) -> None:
    assert may_move(source, target)
    assert not is_late(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (S.PLANNED, S.REJECTED),
        (S.PLANNED, S.UNKNOWN),
        (S.WORKING, S.PLANNED),
        (S.FILLED, S.CANCELLED),
        (S.CANCELLED, S.WORKING),
        (S.REJECTED, S.PLANNED),
        (S.UNKNOWN, S.SENDING),
        (S.EXPIRED, S.CANCELLED),
    ],
)
def test_other_moves_are_not(source: OrderState, target: OrderState) -> None:
    assert not may_move(source, target)


def test_unknown_is_entered_only_from_sending_and_cancelling() -> None:
    assert {source for source, target in ALLOWED if target is S.UNKNOWN} == {S.SENDING, S.CANCELLING}


def test_only_an_unknown_order_or_one_without_a_login_is_planned_again() -> None:
    assert {source for source, target in ALLOWED if target is S.PLANNED} == {S.UNKNOWN, S.SENDING}


def test_an_ended_order_is_left_only_by_a_fill_and_that_row_says_late() -> None:
    from_ended = {pair: move for pair, move in ALLOWED.items() if pair[0] in TERMINAL}
    assert from_ended
    for (_, target), move in from_ended.items():
        assert move.late
        assert target in {S.PARTIAL, S.FILLED}
        assert move.reason
    assert not any(move.late for pair, move in ALLOWED.items() if pair[0] not in TERMINAL)


def test_every_state_can_be_reached_and_every_living_one_can_end() -> None:
    assert {target for _, target in ALLOWED} == set(OrderState)
    for state in set(OrderState) - TERMINAL:
        assert any(may_move(state, ended) for ended in TERMINAL)
    assert set(OrderState) == TERMINAL | MAY_LIVE_AT_BROKER | {S.PLANNED}


def test_a_fill_ends_the_order_only_when_everything_is_filled() -> None:
    ordered = Decimal(10)
    assert state_after_fill(S.WORKING, ordered=ordered, filled=Decimal(4)) is S.PARTIAL
    assert state_after_fill(S.PARTIAL, ordered=ordered, filled=Decimal(10)) is S.FILLED
    assert state_after_fill(S.CANCELLING, ordered=ordered, filled=Decimal(4)) is S.CANCELLING
    assert state_after_fill(S.CANCELLED, ordered=ordered, filled=Decimal(4)) is S.PARTIAL
    for state in OrderState:
        if state in (S.PLANNED, S.FILLED):
            continue
        for filled in (Decimal(4), Decimal(10), Decimal(12)):
            assert may_move(state, state_after_fill(state, ordered=ordered, filled=filled))


def test_every_word_of_the_port_has_a_state_or_says_that_it_changes_none() -> None:
    states = {status: state_from_broker(status) for status in BrokerOrderStatus}
    assert states.pop(BrokerOrderStatus.OTHER) is None
    assert all(state is not None and state.value == status.value for status, state in states.items())
