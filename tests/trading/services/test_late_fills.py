"""A fill of ours that comes when a difference about its instrument is open: where people want to be asked, they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.trading.services.making import TEST, fill_of, instrument, make_account, make_entry, receive
from trading.domain.policy import load_policy
from trading.models import Account, BrokerEvent, Fill
from trading.services import restrictions
from trading.services.setup import ensure_version

pytestmark = pytest.mark.django_db


def asking(ask: bool) -> Account:
    """An account whose policy asks, or does not."""
    policy = replace(load_policy("policy: {name: a test's}"), ask_about_late_fills=ask)
    return make_account(policy=ensure_version(kind="POLICY", name=policy.name, body=policy.canonical))


def lock(account: Account, symbol: str) -> None:
    restrictions.restrict(
        account=account,
        instrument=instrument(symbol),
        level=restrictions.REDUCE_ONLY,
        source=restrictions.RECONCILIATION,
        reason="a difference",
        actor=TEST,
    )


@pytest.mark.parametrize(
    ("ask", "locked", "booked"),
    [(True, "EURUSD", 0), (True, "GBPUSD", 1), (True, "", 1), (False, "EURUSD", 1)],
)
def test_it_is_kept_for_people_only_where_they_asked_and_a_difference_is_open(
    ask: bool, locked: str, booked: int
) -> None:
    account = asking(ask)
    order = make_entry(account)
    if locked:
        lock(account, locked)
    result = receive(account, fill_of(1, order, "1000"))
    assert (Fill.objects.count(), result.posted_fills, len(result.held)) == (booked, booked, 1 - booked)
    assert BrokerEvent.objects.count() == 1, "the event is kept in any case"
    order.refresh_from_db()
    assert order.state == ("FILLED" if booked else "SENDING")
