"""Any history of shares: the books hold together, `verify` finds nothing, and no way of delivery changes them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from backoffice.verification import INVARIANTS, check
from tests.trading.services import making
from tests.trading.services.histories import Execution, History, histories, left_behind, tell
from tests.trading.services.shares import make_share_account, noon, put_clock
from trading.models import Account, CashEvent, Entry, Fill, Lot
from trading.selectors import books
from trading.services.settlement import settle_due
from trading.services.setup import ensure_instruments

pytestmark = pytest.mark.django_db
each_example_rolls_back = settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SHARES = {"EURUSD": "AAPL", "XAUUSD": "MSFT"}
TOLD_BY = {
    "C-01",
    "C-02",
    "C-03",
    "C-04",
    "I-05",
    "I-06",
    "I-10",
    "I-22",
    "I-24",
    "I-25",
    "P-01",
    "P-02",
    "P-03",
    "R-06",
}
ROUNDING = Decimal("0.000000001")


@pytest.fixture(autouse=True)
def instruments(db: None) -> None:
    """The instruments, once for all examples."""
    ensure_instruments()


def of_shares(history: History) -> History:
    """The same history told of shares: their broker names no realised profit and no financing."""
    legs = tuple(
        replace(leg, symbol=SHARES[leg.symbol], executions=tuple(_paid(part) for part in leg.executions))
        for leg in history.legs
    )
    return replace(history, legs=legs)


def _paid(part: Execution) -> Execution:
    return replace(part, realised=Decimal(0), financing=Decimal(0))


share_histories = histories().map(of_shares)
days = st.lists(st.integers(0, 5), max_size=3).map(sorted)


@each_example_rolls_back
@given(history=share_histories, settled_on=days)
def test_cash_with_what_shares_cost_is_what_came_in_and_was_made(history: History, settled_on: list[int]) -> None:
    with transaction.atomic():
        account = make_share_account()
        making.receive(account, *tell(account, history))
        before = books.cash_balances(account)
        for day in settled_on:
            put_clock(account, noon(making.START.date() + timedelta(days=day)))
            settle_due(account)
            assert books.cash_balances(account) == before, "settling never changes trade-date cash"
        _check_sum(account)
        _check_outstanding(account, max(settled_on, default=0))
        with connection.cursor() as cursor:
            for invariant in INVARIANTS:
                if invariant.id in TOLD_BY:
                    result = check(cursor, invariant, account_id=account.pk)
                    assert result.ok, (invariant.id, result.rows)
        transaction.set_rollback(True)


def _check_sum(account: Account) -> None:
    came_in = sum((row.amount for row in CashEvent.objects.filter(account=account)), Decimal(0))
    fees = sum((fill.commission for fill in Fill.objects.filter(account=account)), Decimal(0))
    realised = -books.balances(account, "REALISED").get("USD", Decimal(0))
    cost = Decimal(0)
    for lot in Lot.objects.filter(account=account):
        left = lot.quantity - sum((close.quantity for close in lot.closes.all()), Decimal(0))
        cost += lot.side * left * lot.unit_cost
    cash = books.cash_balances(account).get("USD", Decimal(0))
    assert abs(cash + cost - realised - fees - came_in) < ROUNDING
    assert abs(books.balances(account, "MARKET").get("USD", Decimal(0)) - cost) < ROUNDING


def _check_outstanding(account: Account, day: int) -> None:
    reached = noon(making.START.date() + timedelta(days=day)).date()
    settled = set(Entry.objects.filter(account=account, kind="SETTLEMENT").values_list("fill__settles_on", flat=True))
    assert all(due is not None and due <= reached for due in settled)
    if settled:
        assert all(row.settles_on > reached for row in books.outstanding(account))


@each_example_rolls_back
@given(history=share_histories, cuts=st.lists(st.integers(0, 30), max_size=4), mixed=st.randoms(use_true_random=False))
def test_shares_told_twice_late_or_mixed_up_leave_the_same_books(history: History, cuts: list[int], mixed: Any) -> None:
    with transaction.atomic():
        straight, crooked = make_share_account("straight"), make_share_account("crooked")
        making.receive(straight, *tell(straight, history))
        events, done = tell(crooked, history), 0
        for end in (*sorted(cuts), len(events)):
            batch = events[max(done - 3, 0) : max(end, done)] * 2
            mixed.shuffle(batch)
            making.receive(crooked, *batch)
            settle_due(crooked)
            done = max(end, done)
        making.receive(crooked, *reversed(events))
        for account in (straight, crooked):
            put_clock(account, noon(making.START.date() + timedelta(days=9)))
            settle_due(account)
        assert left_behind(crooked) == left_behind(straight) and _settled(crooked) == _settled(straight)
        transaction.set_rollback(True)


def _settled(account: Account) -> list[tuple[Any, ...]]:
    rows = Entry.objects.filter(account=account, kind="SETTLEMENT").order_by("fill__broker_event__sequence", "id")
    return list(rows.values_list("fill__external_id", "at", "value_date", "trading_day"))
