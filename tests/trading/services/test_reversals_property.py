"""Books from which an execution was taken back are those of an account that never had it, to the last digit."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.trading.services import shares
from tests.trading.services.making import TEST, moment, receive
from tests.trading.services.shares import bought, make_share_account
from trading.models import Account, BrokerEvent, Entry, Fill, Position, User
from trading.selectors import books
from trading.selectors.lot_history import standing
from trading.services import booking, reversals
from trading.services.event_facts import fills_in
from trading.services.settlement import settle_due
from trading.services.setup import ensure_instruments

pytestmark = pytest.mark.django_db
D = Decimal
KINDS = ("CASH", "UNSETTLED", "MARKET", "REALISED", "ROUNDING", "POSITION", "COMMISSION")


@st.composite
def executions(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """Purchases and sales of shares at odd prices, so that averages leave something to round."""
    one = st.tuples(
        st.sampled_from(["BUY", "SELL"]), st.sampled_from(["1", "3", "7", "10"]),
        st.sampled_from(["100", "99.99", "101.37", "33.333333"]),
    )  # fmt: skip
    return draw(st.lists(one, min_size=2, max_size=6))


def booked(account: Account, history: Sequence[tuple[int, tuple[str, str, str]]]) -> None:
    """Executions by somebody else's orders, each booked under an approval."""
    for number, (side, quantity, price) in history:
        receive(account, bought(number, None, quantity, price, side=side, commission="-0.1"))
        event = BrokerEvent.objects.get(account=account, external_id=str(number))
        booking.book_fill(
            account=account, event=event, fill=fills_in(event)[0], order=None,
            application=shares.approved(account), actor=TEST,
        )  # fmt: skip


def came_to(account: Account) -> tuple[Any, ...]:
    """Everything that the books of the account say now, without numbers of rows and names."""
    account.refresh_from_db()
    balances = {
        (kind, commodity): amount
        for kind in KINDS
        for commodity, amount in books.balances(account, kind).items()
        if amount
    }
    instrument = shares.making.instrument("AAPL")
    lots = [(lot.side, lot.quantity, lot.price) for lot in standing(account, instrument)]
    held = Position.objects.filter(account=account).exclude(quantity=0).values_list("quantity", "average_price")
    return balances, lots, list(held), [(o.amount, o.fills) for o in books.outstanding(account)]


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=executions(), data=st.data(), method=st.sampled_from(["FIFO", "AVERAGE"]), paid=st.booleans())
def test_an_execution_that_was_taken_back_leaves_what_was_before_and_after_it(
    db: None, history: list[tuple[str, str, str]], data: st.DataObject, method: str, paid: bool
) -> None:
    with transaction.atomic():
        ensure_instruments()
        with_it, without = make_share_account(), make_share_account("never-had-it")
        for account in (with_it, without):
            account.lot_method = method
            account.save(update_fields=["lot_method"])
        numbered = list(enumerate(history, 2))
        gone = data.draw(st.integers(0, len(history) - 1))
        booked(with_it, numbered)
        booked(without, [each for place, each in enumerate(numbered) if place != gone])
        if paid:
            for account in (with_it, without):
                shares.put_clock(account, moment(86400 * 5))
                settle_due(account)
        ada, bob = (User.objects.get(username=name) for name in ("ada", "bob"))
        for user in (ada, bob):
            user.is_superuser = True
            user.save(update_fields=["is_superuser"])
        fill = Fill.objects.get(account=with_it, external_id=str(numbered[gone][0]))
        entry = Entry.objects.get(fill=fill, kind="EXTERNAL_FILL")
        made = reversals.propose(entry_id=entry.pk, reason="it never happened", proposer=ada, actor=TEST)
        reversals.decide(
            proposal_id=made.pk, person=bob, verdict="APPROVE", payload_sha256=made.payload_sha256, actor=TEST
        )
        reversals.apply(proposal_id=made.pk, actor=TEST)
        assert came_to(with_it) == came_to(without)
        transaction.set_rollback(True)
