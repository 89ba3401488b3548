"""A fill of ours from before a difference about its instrument was opened: people decide on it, where they asked to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.trading.services.making import TEST, fill_of, instrument, make_account, make_entry, moment, receive
from trading.domain.policy import load_policy
from trading.models import Account, BrokerEvent, Fill
from trading.services import restrictions
from trading.services.setup import ensure_version

pytestmark = pytest.mark.django_db
FILLED_AT = 10


def asking(ask: bool) -> Account:
    """An account whose policy asks, or does not."""
    policy = replace(load_policy("policy: {name: a test's}"), ask_about_late_fills=ask)
    return make_account(policy=ensure_version(kind="POLICY", name=policy.name, body=policy.canonical))


def lock(account: Account, symbol: str, at: int) -> None:
    restrictions.restrict(
        account=account,
        instrument=instrument(symbol),
        level=restrictions.REDUCE_ONLY,
        source=restrictions.RECONCILIATION,
        reason="a difference",
        at=moment(at),
        actor=TEST,
    )


@pytest.mark.parametrize(
    ("ask", "locked", "at", "booked"),
    [
        (True, "EURUSD", FILLED_AT + 1, 0),
        (True, "EURUSD", FILLED_AT, 1),
        (True, "EURUSD", FILLED_AT - 1, 1),
        (True, "GBPUSD", FILLED_AT + 1, 1),
        (True, "", 0, 1),
        (False, "EURUSD", FILLED_AT + 1, 1),
    ],
)
def test_it_is_kept_for_people_only_where_they_asked_and_it_is_from_before_the_difference(
    ask: bool, locked: str, at: int, booked: int
) -> None:
    account = asking(ask)
    order = make_entry(account)
    if locked:
        lock(account, locked, at)
    result = receive(account, fill_of(FILLED_AT, order, "1000"))
    assert (Fill.objects.count(), result.posted_fills, len(result.held)) == (booked, booked, 1 - booked)
    assert BrokerEvent.objects.count() == 1, "the event is kept in any case"
    order.refresh_from_db()
    assert order.state == ("FILLED" if booked else "SENDING")
