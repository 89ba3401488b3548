"""The trial balance at any moment, by when it happened and by when we knew it, is the plain sum of the postings."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.trading.selectors.postings import Move, book, moves, plain_sums
from tests.trading.services import making
from trading.models import Account, Entry
from trading.selectors.balances import full_balances
from trading.selectors.trial_balance import trial_balance

pytestmark = pytest.mark.django_db
each_example_rolls_back = settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def dollars(amount: str, second: int, kind: str = "TRANSFER") -> Move:
    return Move(0, kind, "USD", Decimal(amount), Decimal(0), second)


@each_example_rolls_back
@given(history=st.lists(moves, min_size=1, max_size=12))
def test_at_any_two_moments_it_is_the_plain_sum_of_the_postings_and_debits_equal_credits(history: list[Move]) -> None:
    with transaction.atomic():
        accounts = book(history)
        known = [None, *Entry.objects.order_by("id").values_list("recorded_at", flat=True)[::3]]
        for account in (None, *accounts):
            for as_of in (None, making.START - timedelta(1), *(making.START + timedelta(seconds=n) for n in (0, 2, 4))):
                for known_at in known:
                    seen = trial_balance(account, as_of=as_of, known_at=known_at)
                    rows = [row for part in seen.commodities for row in part.rows]
                    assert {row.ledger_account_id: (row.debits, row.credits) for row in rows} == plain_sums(
                        account, as_of, known_at
                    )
                    assert seen.is_balanced
                    for row in rows:
                        columns = row.columns
                        assert columns.debit - columns.credit == row.debits - row.credits == columns.balance
                        assert min(columns.debit, columns.credit) == 0
                    for part in seen.commodities:
                        assert (
                            part.columns.debit == part.columns.credit == sum(kind.columns.debit for kind in part.kinds)
                        )
        transaction.set_rollback(True)


def test_what_was_booked_late_is_in_the_past_now_but_was_not_known_then() -> None:
    account, _ = book([dollars("100", 3)])
    then = Entry.objects.get().recorded_at
    late = making.cash_of(7, "TRANSFER", "11.5")
    making.receive(account, late)
    by_now = trial_balance(account, as_of=late.at)
    assert cash(by_now) == Decimal("111.5")
    assert cash(trial_balance(account, as_of=late.at, known_at=then)) == Decimal(100)
    assert cash(trial_balance(account, as_of=making.START, known_at=then)) == Decimal(0)


def cash(seen: Any) -> Decimal:
    rows = [row for part in seen.commodities for row in part.rows if row.kind == "CASH"]
    return sum((row.columns.balance for row in rows), Decimal(0))


def test_it_is_one_query_and_agrees_with_the_balances() -> None:
    accounts = book(
        [dollars("100", 1), dollars("-3.000000000001", 2, "FEE"), Move(1, "FEE", "JPY", Decimal(-7), Decimal(0), 0)]
    )
    for account in (None, *accounts):
        with CaptureQueriesContext(connection) as queries:
            seen = trial_balance(account)
        assert len(queries) == 1
        told = {row.ledger_account_id: row.amount for row in full_balances(account=account) if row.amount}
        assert {row.ledger_account_id: row.columns.balance for part in seen.commodities for row in part.rows} == told


def test_all_accounts_are_those_of_the_desk_and_a_replay_is_read_alone() -> None:
    first, second = book([dollars("100", 1), Move(1, "TRANSFER", "USD", Decimal(50), Decimal(0), 0)])
    Account.objects.filter(pk=second.pk).update(scope="replay-1")
    assert cash(trial_balance()) == Decimal(100)
    assert cash(trial_balance(Account.objects.get(pk=second.pk))) == Decimal(50)
    assert {row.account_name for part in trial_balance().commodities for row in part.rows} == {first.name}


def test_what_came_back_to_zero_is_listed_and_currencies_come_before_contracts() -> None:
    account, _ = book([dollars("100", 1), dollars("-100", 2)])
    entry = making.make_entry(account, quantity="1000")
    making.receive(account, making.fill_of(50, entry, "1000", "1.1", commission="-0.5"))
    seen = trial_balance(account)
    assert [(part.commodity, part.is_currency) for part in seen.commodities] == [("USD", True), ("EURUSD", False)]
    dollar = seen.commodities[0]
    zero = next(row for row in dollar.rows if row.kind == "CAPITAL")
    assert (zero.debits, zero.credits, zero.postings) == (Decimal(100), Decimal(100), 2)
    assert zero.columns.debit == zero.columns.credit == Decimal(0)
    assert [kind.kind for kind in dollar.kinds] == ["CASH", "CAPITAL", "COMMISSION"]
