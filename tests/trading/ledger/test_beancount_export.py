"""A year of the books, exported: the real bean-check accepts it, and beancount comes to our balances."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest
from beancount import loader
from beancount.core import data
from django.core.management import CommandError, call_command
from django.db import connection

from tests.trading.ledger.world import Books, make_books
from trading.models import AuditEvent, Entry

BEAN_CHECK = Path(sys.executable).parent / "bean-check"


@pytest.fixture
def books(db: None) -> Books:
    return make_books()


def export(to: Path, *more: str, year: int = 2026) -> str:
    """Run the command; the file's text."""
    call_command("export_beancount", "--year", str(year), "--to", str(to), *more)
    return to.read_text(encoding="utf-8")


def bean_check(file: Path) -> subprocess.CompletedProcess[str]:
    """The real program, as an accountant calls it."""
    return subprocess.run([BEAN_CHECK, "--no-cache", file], capture_output=True, text=True, timeout=60, check=False)


def theirs(file: Path) -> dict[tuple[str, str], Decimal]:
    """Sums of all postings by account and commodity, as beancount reads the file; zeros left out."""
    entries, errors, _ = loader.load_file(str(file))
    assert errors == []
    found: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for each in entries:
        if isinstance(each, data.Transaction):
            for posting in each.postings:
                found[posting.account, posting.units.currency] += posting.units.number
    return {key: value for key, value in found.items() if value}


def ours(before: str, account: str = "") -> dict[tuple[str, str], Decimal]:
    """The same from the ledger itself, of all days before one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT a.name, l.kind, p.commodity_id, sum(p.amount) FROM ledger_posting p"
            " JOIN trading_entry e ON e.id = p.entry_id JOIN trading_ledgeraccount l ON l.id = p.ledger_account_id"
            " JOIN trading_account a ON a.id = l.account_id WHERE e.trading_day < %s AND a.name LIKE %s"
            " GROUP BY 1, 2, 3 HAVING sum(p.amount) <> 0",
            [before, account or "%"],
        )
        return {
            (f"{name.capitalize()}:{kind.capitalize()}", commodity): amount
            for name, kind, commodity, amount in cursor.fetchall()
        }


def without_roots(balances: dict[tuple[str, str], Decimal]) -> dict[tuple[str, str], Decimal]:
    """Account names without Assets, Income and so on."""
    return {(account.split(":", 1)[1], commodity): amount for (account, commodity), amount in balances.items()}


@pytest.mark.parametrize("year", [2026, 2027])
def test_bean_check_accepts_a_year_and_its_balances_are_ours_to_the_last_digit(
    books: Books, tmp_path: Path, year: int
) -> None:
    file = tmp_path / "books.beancount"
    text = export(file, year=year)
    checked = bean_check(file)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert without_roots(theirs(file)) == ours(f"{year + 1}-01-01")
    kinds = {entry.kind for entry in Entry.objects.filter(trading_day__year=year)}
    assert kinds and all(f'kind: "{kind}"' in text for kind in kinds)
    assert text.count("\n  entry: ") == Entry.objects.filter(trading_day__year=year).count()
    assert ("Opening balances" in text) == (year == 2027)


def test_one_account_alone_is_whole_too(books: Books, tmp_path: Path) -> None:
    file = tmp_path / "books.beancount"
    export(file, "--account", books.margin.name, year=2027)
    assert bean_check(file).returncode == 0
    assert without_roots(theirs(file)) == ours("2028-01-01", books.margin.name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  Assets:Oanda-main:Cash  70.000000000001 USD", "  Assets:Oanda-main:Cash  70.000000000002 USD"),
        ("balance Assets:Oanda-main:Position  -3 ~", "balance Assets:Oanda-main:Position  -3.000000000001 ~"),
        ("Income:Oanda-main:Dividend  -12.5 USD", "Income:Oanda-main:Financing  -12.5 USD"),
    ],
)
def test_bean_check_refuses_a_file_that_somebody_changed(books: Books, tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "books.beancount"
    text = export(file)
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    assert bean_check(file).returncode != 0


def test_the_same_books_give_the_same_file_and_each_export_is_in_the_audit_trail(books: Books, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert export(first) == export(second)
    told = AuditEvent.objects.filter(kind="books.exported").order_by("id")
    assert [event.after["file"] for event in told] == ["first", "second"]
    assert sorted(tmp_path.iterdir()) == [first, second], "nothing is left beside the files"


def test_what_cannot_be_exported_says_why_and_writes_nothing(books: Books, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"There is no account 'nobody' \(there are: alpaca-main, oanda-main\)"):
        export(tmp_path / "file", "--account", "nobody")
    with pytest.raises(CommandError, match="cannot be written: No such file"):
        export(tmp_path / "nowhere" / "file")
    with pytest.raises(CommandError, match="0 is no year"):
        export(tmp_path / "file", year=0)
    assert list(tmp_path.iterdir()) == []
