"""The books are read page by page while others write: what is read is the books of one moment, whole."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from tests.trading.ledger.world import Books, adjust, make_books
from trading.domain.beancount import LedgerName
from trading.models import Entry
from trading.selectors.journal import journal
from trading.selectors.statement import Period, statement

D = Decimal


@pytest.fixture
def books(db: None) -> Books:
    return make_books()


@pytest.mark.scenario("S-81")
def test_a_year_that_is_exported_while_others_post_has_the_entries_of_its_cut_once_and_their_totals(
    books: Books,
) -> None:
    wanted = list(
        Entry.objects.filter(trading_day__year=2026).order_by("trading_day", "id").values_list("id", flat=True)
    )
    whole = journal(2026)
    adjust(books.margin, "USD", D(5))
    entries = [next(entry := whole.entries)]
    for number in range(3):
        adjust(books.margin, "USD", D(number + 1))
        entries.append(next(entry))
    entries.extend(entry)
    assert [entry.number for entry in entries] == wanted
    moved: dict[tuple[LedgerName, str], Decimal] = {(row.of, row.commodity): row.amount for row in whole.opening}
    for one in entries:
        for part in one.movements:
            for name, sign in ((part.debit, 1), (part.credit, -1)):
                key = (name, part.commodity)
                moved[key] = moved.get(key, D(0)) + sign * part.amount
    closing = {(row.of, row.commodity): row.amount for row in whole.closing}
    assert {key: amount for key, amount in moved.items() if amount} == {k: v for k, v in closing.items() if v}


@pytest.mark.scenario("S-81")
@pytest.mark.parametrize("size", [2, 3, 7])
def test_pages_of_a_statement_as_it_was_known_at_a_moment_do_not_move_when_more_is_posted(
    books: Books, size: int
) -> None:
    cash = books.margin.ledger_accounts.get(kind="CASH", commodity="USD")
    known = Period(known_at=timezone.now())
    before = statement(cash, known, size=10_000)
    seen = []
    for page in range(1, statement(cash, known, size=size).pages + 1):
        adjust(books.margin, "USD", D(page))
        seen.extend(statement(cash, known, page=page, size=size).lines)
    assert tuple(seen) == before.lines and seen[-1].balance == before.closing
    assert statement(cash, Period(known_at=timezone.now() + timedelta(days=1))).closing != before.closing
