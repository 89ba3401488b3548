"""Balance snapshots: at any cut, snapshot plus tail is the full sum to the last digit."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from tests.trading.services.making import cash_of, fill_of, make_account, make_entry, make_exit, receive
from trading.models import Account, BalanceSnapshot, LedgerAccount
from trading.selectors import balances, books
from trading.services import snapshots

pytestmark = pytest.mark.django_db


def trade(account: Account, number: int, price: str) -> None:
    """An entry and its exit, with fees, on one account."""
    entry = make_entry(account, number, quantity="1000")
    leave = make_exit(account, entry, quantity="1000", number=number)
    receive(
        account,
        fill_of(number * 10, entry, "1000", "1.1", commission="-0.12345"),
        fill_of(number * 10 + 1, leave, "1000", price, realised=price, commission="-0.1"),
    )


def amounts(rows: list[balances.LedgerBalance]) -> dict[int, Decimal]:
    """The balance of each ledger account."""
    return {row.ledger_account_id: row.amount for row in rows}


@pytest.mark.parametrize("seed", range(2))
def test_at_random_cuts_snapshot_and_tail_are_the_full_sum(seed: int) -> None:
    rng = random.Random(seed)
    accounts = [make_account("one"), make_account("two")]
    for number in range(1, 9):
        trade(rng.choice(accounts), number, f"{rng.randint(1, 99999)}.{rng.randint(1, 99999)}")
        receive(rng.choice(accounts), cash_of(1000 + number, "TRANSFER", f"{rng.randint(-9999, 9999)}.01"))
        if rng.random() < 0.4:
            snapshots.take_snapshots(rng.choice([None, *accounts]))
    kept = list(BalanceSnapshot.objects.values_list("pk", flat=True))
    BalanceSnapshot.objects.filter(pk__in=rng.sample(kept, len(kept) // 3)).delete()  # a cache: any may be lost
    last = balances.last_transfer()
    first = last - 60
    for cut in [rng.randint(first, last) for _ in range(12)] + [last, balances.NOW]:
        for account in (None, *accounts):
            taken = balances.balances(account=account, cut=cut)
            assert taken == balances.full_balances(account=account, cut=cut)
            assert amounts(taken) == _by_hand(cut, account)
    listed = balances.with_balance(LedgerAccount.objects.all())
    assert {row.pk: row.balance for row in listed} == _by_hand(balances.NOW, None)  # type: ignore[attr-defined]


def _by_hand(cut: int, account: Account | None) -> dict[int, Decimal]:
    """Every posting, added up in Python."""
    found = {
        pk: Decimal(0)
        for pk in LedgerAccount.objects.filter(**({"account": account} if account else {})).values_list("pk", flat=True)
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT ledger_account_id, amount FROM ledger_posting WHERE transfer_id <= %s", [cut])
        for pk, amount in cursor.fetchall():
            if pk in found:
                found[pk] += amount
    return found


def test_all_move_on_together_and_twice_at_once_adds_nothing() -> None:
    one, two = make_account("one"), make_account("two")
    trade(one, 1, "1.2")
    trade(two, 2, "1.3")
    every, of_two = LedgerAccount.objects.count(), LedgerAccount.objects.filter(account=two).count()
    assert snapshots.take_snapshots() == every and snapshots.take_snapshots() == 0
    receive(two, cash_of(99, "TRANSFER", "5"))
    cut = balances.last_transfer()
    assert snapshots.take_snapshots(two) == LedgerAccount.objects.filter(account=two).count() == of_two + 1
    assert snapshots.take_snapshots() == LedgerAccount.objects.filter(account=one).count()
    assert set(BalanceSnapshot.objects.values_list("last_transfer", flat=True)) == {cut}
    assert BalanceSnapshot.objects.count() == every + 1
    assert snapshots.retake_snapshots(two) == of_two + 1 and BalanceSnapshot.objects.count() == every + 1


def test_the_night_takes_them_once_a_day_and_only_when_something_was_posted() -> None:
    account = make_account()
    assert snapshots.take_nightly() == 0, "nothing was ever posted"
    receive(account, cash_of(1, "TRANSFER", "5"))
    assert snapshots.take_nightly() == 2
    receive(account, cash_of(2, "TRANSFER", "6"))
    assert snapshots.take_nightly() == 0, "today has its snapshots"
    BalanceSnapshot.objects.update(made_at=BalanceSnapshot.objects.latest("made_at").made_at - timedelta(days=1))
    assert snapshots.take_nightly() == 2
    BalanceSnapshot.objects.update(made_at=BalanceSnapshot.objects.latest("made_at").made_at - timedelta(days=1))
    assert snapshots.take_nightly() == 0, "nothing was posted since"


def test_what_the_books_say_is_read_from_the_snapshot_and_what_came_after() -> None:
    account = make_account()
    receive(account, cash_of(1, "TRANSFER", "5"))
    snapshots.take_snapshots()
    receive(account, cash_of(2, "TRANSFER", "0.00001"))
    assert books.balances(account, "CASH") == {"USD": Decimal("5.00001")}
    BalanceSnapshot.objects.update(balance=7)
    assert books.cash_balances(account) == {"USD": Decimal("7.00001")}
    assert amounts(balances.full_balances(account=account, kind="CASH")) == amounts(
        [row for row in balances.full_balances(account=account) if row.kind == "CASH"]
    )
