"""What comes late: fills after an end, orders that rest for too long, decisions without an order at the broker."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciliation.domain.kinds import Action, Kind, Severity
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.snapshots import LateOrder, UnmappedTrade
from tests.reconciliation.domain.sides import AT, D, books, broker, kinds, one, order, working
from trading.domain.orders import OrderState, Tag

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def late(**more: Any) -> LateOrder:
    """An entry that was refused, and filled."""
    made = LateOrder(
        order_id=5,
        client_id="ours",
        instrument="EURUSD",
        side="BUY",
        tag=Tag.ENTRY,
        quantity=D(1000),
        filled=D(1000),
        ended=OrderState.REJECTED,
        ended_at=AT - 5 * MINUTE,
        ended_by_broker=True,
        filled_at=AT - 4 * MINUTE,
    )
    return replace(made, **more)


def unmapped(number: int = 3, **more: Any) -> UnmappedTrade:
    """A decision whose trade is open and whose order here waits."""
    made = UnmappedTrade(number, number + 50, f"entry-{number}", "EURUSD", OrderState.PLANNED, AT - 5 * MINUTE)
    return replace(made, **more)


@pytest.mark.parametrize(
    ("age", "severity"), [(MINUTE, Severity.MEDIUM), (2 * HOUR, Severity.HIGH), (2 * DAY, Severity.CRITICAL)]
)
def test_an_order_that_filled_after_it_had_ended_is_late_and_graver_with_age(
    age: timedelta, severity: Severity
) -> None:
    finding = one(broker(), books(late=(late(filled_at=AT - age),)))
    assert (finding.kind, finding.key, finding.severity) == (Kind.LATE_ACK, "order:ours", severity)
    assert "had ended REJECTED here" in finding.cause and finding.actions == (Action.ACCEPT,)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"ended": OrderState.CANCELLED}, [Kind.LATE_ACK]),
        ({"ended": OrderState.CANCELLED, "filled_at": AT - 5 * MINUTE}, []),
        ({"ended": OrderState.EXPIRED, "filled_at": AT - 6 * MINUTE}, []),
        ({"ended": OrderState.CANCELLED, "filled_at": AT - 6 * MINUTE, "ended_by_broker": False}, [Kind.LATE_ACK]),
        ({"ended": OrderState.REJECTED, "filled_at": AT - 6 * MINUTE}, [Kind.LATE_ACK]),
    ],
)
def test_a_fill_from_before_the_end_that_the_broker_only_told_afterwards_is_not_late(
    told: dict[str, Any], found: list[Kind]
) -> None:
    assert kinds(broker(), books(late=(late(**told),))) == found


def test_an_order_that_people_gave_up_and_that_rests_after_all_is_late_and_no_drift() -> None:
    ours = order(state=OrderState.CANCELLED, tag=Tag.ENTRY, side="SELL", given_up=True)
    finding = one(broker(orders=[working()]), books(orders=(ours,)))
    assert (finding.kind, finding.key) == (Kind.LATE_ACK, "order:ours") and "was given up" in finding.cause


RESTING = {"tag": Tag.ENTRY, "news_at": AT - 61 * MINUTE}


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({}, [Kind.STALE_ORDER]),
        ({"state": OrderState.PARTIAL, "tag": Tag.CLOSE}, [Kind.STALE_ORDER]),
        ({"news_at": AT - 60 * MINUTE}, []),
        ({"news_at": None}, []),
        ({"good_till": AT + MINUTE}, []),
        ({"good_till": AT}, []),
        ({"good_till": AT - MINUTE}, [Kind.STALE_ORDER]),
        ({"good_till": AT - MINUTE, "news_at": AT - 59 * MINUTE}, []),
        ({"tag": Tag.STOP}, []),
        ({"tag": Tag.TP1}, []),
    ],
)
def test_an_order_is_stale_without_news_for_too_long_and_beyond_its_time(
    how: dict[str, Any], found: list[Kind]
) -> None:
    assert kinds(broker(orders=[working()]), books(orders=(order(**{**RESTING, **how}),))) == found


def test_an_order_that_the_broker_does_not_show_is_unconfirmed_and_not_also_stale() -> None:
    assert kinds(broker(), books(orders=(order(**RESTING),))) == [Kind.ORDER_UNCONFIRMED]


def test_how_long_is_too_long_is_said_by_the_policy() -> None:
    sides = broker(orders=[working()]), books(orders=(order(**RESTING),))
    assert kinds(*sides, ReconciliationPolicy(stale_order_minutes=61)) == []


@pytest.mark.parametrize(
    ("since", "severity"), [(61 * MINUTE, Severity.MEDIUM), (3 * HOUR, Severity.HIGH), (2 * DAY, Severity.CRITICAL)]
)
def test_a_stale_order_is_graver_with_the_time_since_it_should_have_gone(since: timedelta, severity: Severity) -> None:
    ours = books(orders=(order(**{**RESTING, "news_at": AT - since}),))
    assert one(broker(orders=[working()]), ours).severity is severity


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({}, [Kind.UNMAPPED_TRADE]),
        ({"since": AT - timedelta(seconds=59)}, []),
        ({"state": OrderState.SENDING}, []),
        ({"state": OrderState.UNKNOWN}, []),
    ],
)
def test_an_open_decision_without_an_order_at_the_broker_is_unmapped(how: dict[str, Any], found: list[Kind]) -> None:
    assert kinds(broker(), books(unmapped=(unmapped(**how),))) == found


def test_more_unmapped_decisions_than_the_policy_allows_are_graver() -> None:
    few, many = (tuple(unmapped(n) for n in range(count)) for count in (3, 4))
    assert kinds(broker(), books(unmapped=few)) == [Kind.UNMAPPED_TRADE] * 3
    assert one(broker(), books(unmapped=few[:1])).severity is Severity.MEDIUM
    some = [unmapped(n, state=OrderState.UNKNOWN) for n in range(1, 4)]
    finding = one(broker(), books(unmapped=(unmapped(), *some[:2], unmapped(9, state=OrderState.SENDING))))
    assert finding.severity is Severity.HIGH and "one of 4" in finding.cause
    assert kinds(broker(), books(unmapped=many)) == [Kind.UNMAPPED_TRADE] * 4
