"""A statement's balances hold: opening, every line and closing, on either axis, page by page and period by period."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.trading.selectors.postings import Move, book, ledger_accounts, moves
from tests.trading.services import making
from trading.models import Account, Entry, LedgerAccount
from trading.selectors.statement import Axis, Line, Period, all_lines, statement
from trading.selectors.trial_balance import trial_balance

pytestmark = pytest.mark.django_db
each_example_rolls_back = settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ZERO = Decimal(0)


def time_of(line: Line, by: Axis) -> object:
    return line.at if by is Axis.HAPPENED else line.recorded_at


def in_trial_balance(ledger_account: LedgerAccount, period: Period) -> Decimal:
    seen = trial_balance(ledger_account.account, as_of=period.as_of, known_at=period.known_at)
    rows = [row for part in seen.commodities for row in part.rows if row.ledger_account_id == ledger_account.pk]
    return sum((row.columns.balance for row in rows), ZERO)


@each_example_rolls_back
@given(history=st.lists(moves, min_size=1, max_size=14), by=st.sampled_from(Axis))
def test_every_period_adds_up_and_meets_the_next_one(history: list[Move], by: Axis) -> None:
    with transaction.atomic():
        accounts = book(history)
        if by is Axis.HAPPENED:
            cuts = [making.START + timedelta(seconds=second) for second in (0, 1, 3)]
        else:
            cuts = list(Entry.objects.order_by("id").values_list("recorded_at", flat=True)[::4])
        for ledger_account in [found for account in accounts for found in ledger_accounts(account)]:
            before = ZERO
            told: list[Line] = []
            for since, until in zip([None, *cuts], [*cuts, None], strict=True):
                limits = {"as_of": until} if by is Axis.HAPPENED else {"known_at": until}
                period = Period(since=since, by=by, **limits)
                seen = statement(ledger_account, period, page=1)
                assert seen.opening == before, "the closing balance of the period before"
                assert seen.opening + seen.debits - seen.credits == seen.closing
                assert seen.closing == in_trial_balance(ledger_account, period)
                for line in seen.lines:
                    before += line.amount
                    assert line.balance == before
                assert seen.closing == before == seen.carried_forward
                told += seen.lines
            assert [time_of(line, by) for line in told] == sorted(time_of(line, by) for line in told)  # type: ignore[type-var]
            whole = statement(ledger_account, Period(by=by))
            assert list(all_lines(whole)) == told
            assert len(told) == whole.postings
        transaction.set_rollback(True)


@pytest.fixture
def account() -> Account:
    """Seven deposits of 1, 2, 4 … dollars, one a second, booked in the opposite order."""
    history = [Move(0, "TRANSFER", "USD", Decimal(2**n), ZERO, n) for n in reversed(range(7))]
    return book(history)[0]


def test_pages_carry_the_balance_forward(account: Account) -> None:
    cash = account.ledger_accounts.get(kind="CASH")
    pages = [statement(cash, page=number, size=3) for number in (1, 2, 3)]
    assert [[line.balance for line in page.lines] for page in pages] == [[1], [3, 7, 15], [31, 63, 127]]
    assert [page.brought_forward for page in pages] == [0, 1, 15]
    assert [page.carried_forward for page in pages] == [1, 15, 127]
    assert {page.closing for page in pages} == {Decimal(127)} and {page.pages for page in pages} == {3}


def test_without_a_page_it_is_the_last_and_a_page_too_far_is_the_nearest(account: Account) -> None:
    cash = account.ledger_accounts.get(kind="CASH")
    assert statement(cash, size=3).page == statement(cash, page=99, size=3).page == 3
    assert statement(cash, page=-1, size=3).page == 1
    nothing = statement(cash, Period(as_of=making.START - timedelta(1)))
    assert (nothing.page, nothing.pages, nothing.lines, nothing.closing) == (1, 1, (), ZERO)


def test_by_when_we_knew_it_the_lines_stand_in_the_order_of_the_books(account: Account) -> None:
    cash = account.ledger_accounts.get(kind="CASH")
    known = statement(cash, Period(by=Axis.KNOWN))
    assert [line.amount for line in known.lines] == [64, 32, 16, 8, 4, 2, 1]
    third = known.lines[2].recorded_at
    then = statement(cash, Period(known_at=third))
    assert [line.amount for line in then.lines] == [16, 32, 64], "by when it happened, but only what was known"
    late = Period(since=third, as_of=making.START + timedelta(seconds=2), by=Axis.KNOWN)
    later = statement(cash, late)
    assert (later.opening, later.closing) == (ZERO, Decimal(7))


def test_a_page_costs_two_queries_and_names_the_other_side(account: Account) -> None:
    cash = account.ledger_accounts.get(kind="CASH")
    with CaptureQueriesContext(connection) as queries:
        seen = statement(cash, page=2, size=3)
    assert len(queries) == 2
    assert {(line.counter_kind, line.debit, line.credit) for line in seen.lines} == {
        ("CAPITAL", Decimal(2**n), None) for n in (1, 2, 3)
    }
