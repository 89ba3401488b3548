"""The beancount file as beancount itself reads it: nothing is lost, nothing is tolerated, every name comes back."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from beancount import loader
from beancount.core import data
from hypothesis import given, settings
from hypothesis import strategies as st

from trading.domain.beancount import (
    OPENING,
    ROOTS,
    Balance,
    Journal,
    JournalEntry,
    LedgerName,
    Movement,
    legal_commodity,
    legal_part,
    lines,
)
from trading.models import LedgerAccount

D = Decimal
CASH, CAPITAL = LedgerName("Ada's book", "CASH"), LedgerName("Ada's book", "CAPITAL")
AT = datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC)


def entry(number: int, amount: str, *, code: str = "USD") -> JournalEntry:
    """Money into cash."""
    movement = Movement(CASH, CAPITAL, code, D(amount))
    return JournalEntry(number, "TRANSFER", f"cash:{number}", AT, AT.date(), "a deposit", (movement,))


def both(amount: str, code: str = "USD") -> list[Balance]:
    """What is in cash came out of capital."""
    return [Balance(CASH, code, D(amount)), Balance(CAPITAL, code, -D(amount))]


def read(journal: Journal, **changes: str) -> tuple[list[data.Directive], list[str]]:
    """What beancount makes of the file, after replacing some of its text; and its complaints."""
    text = "\n".join(lines(journal)) + "\n"
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    entries, errors, _options = loader.load_string(text)
    return entries, [error.message for error in errors]


def sums(entries: list[data.Directive]) -> dict[tuple[str, str], Decimal]:
    """The balances that beancount comes to."""
    found: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for directive in entries:
        if isinstance(directive, data.Transaction):
            for posting in directive.postings:
                found[posting.account, posting.units.currency] += posting.units.number
    return dict(found)


@pytest.fixture
def year() -> Journal:
    entries = [entry(6, "0.000000000001"), entry(7, "12345678901234.25")]
    return Journal(2026, 7, both("100.5"), entries, both("12345678901334.750000000001"))


def test_a_file_is_accepted_and_its_sums_are_ours_to_the_last_digit(year: Journal) -> None:
    entries, complaints = read(year)
    assert complaints == []
    held = {key: value for key, value in sums(entries).items() if key[0] != OPENING}
    assert held == {
        ("Assets:Ada-s-book:Cash", "USD"): D("12345678901334.750000000001"),
        ("Equity:Ada-s-book:Capital", "USD"): D("-12345678901334.750000000001"),
    }


def test_an_entry_keeps_its_number_kind_key_and_moment(year: Journal) -> None:
    entries, _ = read(year)
    told = [each for each in entries if isinstance(each, data.Transaction)][1]
    assert (told.date, told.narration) == (date(2026, 3, 2), "a deposit")
    assert {name: told.meta[name] for name in ("entry", "kind", "key", "at")} == {
        "entry": D(6), "kind": "TRANSFER", "key": "cash:6", "at": "2026-03-02T08:00:00.123456Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("-12345678901234.25 USD", "-12345678901234.250000000001 USD", "does not balance"),
        ("Cash  12345678901334.750000000001 ~", "Cash  12345678901334.750000000002 ~", "Balance failed"),
        ("100.5 USD\n  Equity:Opening-Balances  -", "100.6 USD\n  Equity:Opening-Balances  -", "does not balance"),
        ("2026-03-02 *", "2027-03-02 *", "Balance failed"),
        ("Capital  -12345678901234.25 USD", "Trading  -12345678901234.25 USD", "unknown"),
    ],
)
def test_one_changed_digit_is_found(year: Journal, old: str, new: str, complaint: str) -> None:
    _, complaints = read(year, **{old: new})
    assert any(complaint in each for each in complaints), complaints


def test_every_kind_of_ledger_account_has_its_place() -> None:
    assert set(ROOTS) == set(LedgerAccount.Kind.values)
    used = [Balance(LedgerName("a", kind), "USD", D(0)) for kind in ROOTS]
    assert read(Journal(2026, 0, [], [], used))[1] == []


def test_books_without_anything_are_a_legal_file() -> None:
    assert read(Journal(2026, 0, [], [], []))[1] == []


@pytest.mark.parametrize("code", ["T", "V", "TRUE", "NULL", "NSE:INFY", "eurusd", "6J", "BRK.B", "A-", "-", "10", "ÄÖ"])
def test_every_commodity_gets_a_name_that_beancount_spells(code: str) -> None:
    made = Journal(2026, 1, both("1", code), [entry(1, "1", code=code)], [*both("2", code), *both("0", "USD")])
    entries, complaints = read(made)
    assert complaints == []
    named = {each.currency: each.meta["name"] for each in entries if isinstance(each, data.Commodity)}
    assert named == {legal_commodity(code): code, "USD": "USD"}


memos = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], include_characters='\n\t"\\'), max_size=30
)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(accounts=st.sets(names, min_size=2, max_size=4), codes=st.sets(names, min_size=1, max_size=4), memo=memos)
def test_any_names_are_read_back_and_two_never_become_one(accounts: set[str], codes: set[str], memo: str) -> None:
    ledgers = [(LedgerName(name, "CASH"), LedgerName(name, "FEE")) for name in sorted(accounts)]
    moved, closing = [], []
    for number, ((cash, fee), code) in enumerate([(pair, code) for pair in ledgers for code in sorted(codes)], 1):
        movement = Movement(cash, fee, code, D(number))
        moved.append(JournalEntry(number, "FEE", f"{memo}:{number}", AT, AT.date(), memo, (movement,)))
        closing += [Balance(cash, code, D(number)), Balance(fee, code, D(-number))]
    entries, complaints = read(Journal(2026, len(moved), [], moved, closing))
    assert complaints == []
    found = sorted(value for (account, _), value in sums(entries).items() if account.endswith(":Cash"))
    assert found == [D(number) for number in range(1, len(moved) + 1)]
    assert {e.meta["name"] for e in entries if isinstance(e, data.Commodity)} == codes
    told = [e for e in entries if isinstance(e, data.Transaction)]
    assert [e.narration for e in told] == [memo or "FEE"] * len(moved)
    assert all(before.meta["entry"] < after.meta["entry"] for before, after in pairwise(told))


@pytest.mark.parametrize(
    ("name", "part"),
    [("oanda-main", "Oanda-main"), ("Ada's book!", "Ada-s-book"), ("…", "Account"), ("2nd desk", "2nd-desk")],
)
def test_an_accounts_name_stays_readable(name: str, part: str) -> None:
    assert legal_part(name) == part
