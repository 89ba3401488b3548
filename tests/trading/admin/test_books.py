"""The books to read: trial balance, statements, entries with their story, files, and the way down to the evidence."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.trading.admin.world import START, World, grow
from tests.trading.selectors.corrected import correct
from tests.trading.selectors.postings import Move, book
from trading.admin import moments
from trading.admin.figures import Figures
from trading.models import Anchor, AuditEvent, Entry, LedgerAccount, Person, Position, Trade, User
from trading.selectors.trial_balance import trial_balance

SignIn = Callable[[str], Client]
TRIAL_BALANCE = "admin:trading_ledgeraccount_trial_balance"


def cash_of(world: World) -> LedgerAccount:
    return LedgerAccount.objects.get(account=world.account, kind="CASH")


def page_of(row: Any, page: str = "change") -> str:
    return reverse(f"admin:trading_{row._meta.model_name}_{page}", args=[row.pk])


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def rows_of(answer: Any) -> list[dict[str, str]]:
    body = b"".join(answer.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(body)))


def test_the_trial_balance_shows_every_balance_and_says_that_debits_equal_credits(
    signed_in: SignIn, world: World
) -> None:
    page = text(signed_in("charlie"), reverse(TRIAL_BALANCE))
    assert "Debits equal credits in every currency and contract." in page
    for words in ("99,999.50", "100,000.00", "Commission", "Total USD", "Contracts", "10,000"):
        assert words in page, words
    assert "CASH" not in page and "COMMISSION" not in page, "no raw constants"


def test_a_balance_leads_to_the_statement_that_ends_with_it(signed_in: SignIn, world: World) -> None:
    client, cash = signed_in("charlie"), cash_of(world)
    deposit = Entry.objects.get(kind="TRANSFER")
    asked: dict[str, Any] = {"as_of": "2026-03-31T23:59:59", "known_at": moments.written(deposit.recorded_at)}
    shown = client.get(reverse(TRIAL_BALANCE), {"account": world.account.pk, **asked})
    (line,) = [
        line for module in shown.context["modules"] for line in module.lines if page_of(cash) in "".join(line.cells)
    ]
    address = "".join(line.cells).split('href="')[1].split('"')[0].replace("&amp;", "&")
    statement = client.get(address).context["statement"]
    assert statement.closing == Decimal(100000), "the fill was not known yet"
    assert statement.period.as_of == datetime(2026, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)
    assert statement.period.known_at == deposit.recorded_at


def test_a_moment_that_is_not_understood_shows_no_figures(signed_in: SignIn, world: World) -> None:
    client, cash = signed_in("charlie"), cash_of(world)
    for address in (reverse(TRIAL_BALANCE), page_of(cash), page_of(cash, "origin")):
        page = text(client, f"{address}?as_of=yesterday")
        assert "Write a moment as 2026-03-31T23:59:59" in page and "99,999.5" not in page
    for file in ("trial_balance_csv", "statement_csv"):
        arguments = [cash.pk] if file == "statement_csv" else []
        answer = client.get(reverse(f"admin:trading_ledgeraccount_{file}", args=arguments) + "?as_of=yesterday")
        assert answer.status_code == 400
    assert not AuditEvent.objects.filter(kind="books.exported").exists()


def test_moments_survive_the_way_through_an_address() -> None:
    form = moments.MomentField()
    for moment in (START, START - timedelta(microseconds=1), START + timedelta(microseconds=123)):
        assert form.clean(moments.written(moment)) == moment
        assert moments.BeginField().clean(moments.written_begin(moment)) == moment
    assert form.clean("2026-03-02T08:00:00") == START + timedelta(microseconds=999_999), "the whole of that second"
    assert moments.BeginField().clean("2026-03-02T08:00") == START - timedelta(microseconds=1)
    field = moments.MomentInput()
    assert field.format_value("2026-03-02T08:00:00.000123") == "2026-03-02T08:00:00.001"
    assert field.format_value("2026-03-02T08:00") == "2026-03-02T08:00:00"
    assert field.format_value("what") == "what" and field.format_value("2026-13-45T99:00") == "2026-13-45T99:00"


def test_two_periods_of_the_presets_meet(world: World) -> None:
    offered = {name: (since, until) for name, since, until in moments.periods(world.account)}
    assert offered["Yesterday"][1] == offered["Today"][0]
    assert offered["Last month"][1] == offered["This month"][0]
    assert dict(moments.ends(world.account))["End of last month"] == offered["This month"][0]
    assert [name for name, moment in moments.ends(None) if moment is None] == ["Now"]


def test_the_trial_balance_is_downloaded_as_plain_numbers_and_the_trail_says_who_took_it(
    signed_in: SignIn, world: World
) -> None:
    answer = signed_in("charlie").get(
        reverse("admin:trading_ledgeraccount_trial_balance_csv"), {"account": world.account.pk}
    )
    rows = rows_of(answer)
    shown = trial_balance(world.account)
    assert [
        (row["commodity"], row["ledger_account"], Decimal(row["debit_balance"]), Decimal(row["credit_balance"]))
        for row in rows
    ] == [(row.commodity, row.kind, row.columns.debit, row.columns.credit) for p in shown.commodities for row in p.rows]
    assert next(row for row in rows if row["ledger_account"] == "CASH")["debit_balance"] == "99999.5"
    event = AuditEvent.objects.get(kind="books.exported")
    assert (event.actor, event.account) == (world.people["charlie"], world.account)
    assert event.after["file"] == "trial-balance.csv" and "as of now" in event.reason


def test_a_statement_is_downloaded_whole_between_its_balances(signed_in: SignIn, world: World) -> None:
    cash = cash_of(world)
    rows = rows_of(signed_in("charlie").get(page_of(cash, "statement_csv")))
    assert [row["kind"] for row in rows] == ["opening balance", "TRANSFER", "FILL", "closing balance"]
    assert [row["balance"] for row in rows] == ["0", "100000", "99999.5", "99999.5"]
    assert (rows[1]["debit"], rows[1]["credit"], rows[2]["debit"], rows[2]["credit"]) == ("100000", "", "", "0.5")
    assert rows[1]["other_side"] == "CAPITAL" and rows[1]["at"] == "2026-03-02T08:00:00+00:00"
    assert AuditEvent.objects.get(kind="books.exported").object_id == str(cash.pk)


def test_a_statement_of_many_postings_has_pages_that_carry_the_balance(signed_in: SignIn, world: World) -> None:
    account, _ = book([Move(0, "TRANSFER", "USD", Decimal(number), Decimal(0), 0) for number in range(1, 106)])
    client, cash = signed_in("charlie"), account.ledger_accounts.get(kind="CASH")
    last = client.get(page_of(cash))
    assert last.context["statement"].pages == 2 and "Brought forward" in last.content.decode()
    first = client.get(page_of(cash) + "?page=1")
    assert first.context["statement"].carried_forward == last.context["statement"].brought_forward
    assert "Carried forward" in first.content.decode()
    assert client.get(page_of(cash) + "?page=x").context["statement"].page == 2


def test_an_entry_tells_its_story_down_to_the_brokers_words_and_its_seal(signed_in: SignIn, world: World) -> None:
    entry = world.entry.fills.get().entries.get()
    answer = signed_in("charlie").get(page_of(entry))
    (story,) = [panel for panel in answer.context["panels"] if panel.title == "Where this comes from"]
    assert [step.name for step in story.steps] == [
        "Fill", "The broker told of it", "Order", "Sent and answered", "Decision", "Signal", "Configuration",
    ]  # fmt: skip
    page = answer.content.decode()
    for words in ("ORDER_FILL", "&quot;units&quot;: &quot;10000&quot;", "daily_stop", "sealed in", "not anchored yet"):
        assert words in page, words
    Anchor.objects.create(at=START, number=10**6, hash=bytes(32), sink="a file", seal="0" * 64)
    assert "anchored outside the database" in text(signed_in("charlie"), page_of(entry))


def test_a_corrected_entry_names_its_reversal_and_its_replacement_and_they_name_it(
    signed_in: SignIn, world: World
) -> None:
    deposit = Entry.objects.get(kind="TRANSFER")
    back, again = correct(deposit, Decimal(90000), world.people["ada"], world.people["bob"])
    client = signed_in("charlie")
    facts = [dict(client.get(page_of(entry)).context["facts"]) for entry in (deposit, back, again)]
    assert page_of(back) in facts[0]["Reversed by"] and page_of(again) in facts[0]["Replaced by"]
    assert page_of(deposit) in facts[1]["Reverses"] and page_of(deposit) in facts[2]["Replaces"]
    page = text(client, page_of(back))
    assert "ada proposed" in page and "bob (Bob): seen on the bank&#x27;s statement" in page


def test_a_balance_leads_posting_by_posting_to_its_evidence(signed_in: SignIn, world: World) -> None:
    cash = cash_of(world)
    answer = signed_in("charlie").get(page_of(cash, "origin"))
    assert [part.kind for part in answer.context["parts"]] == ["Fill", "Transfer"], "the newest first"
    page = answer.content.decode()
    assert "99,999.50" in page and "at the begin" in page and "TRANSFER_FUNDS" in page and "daily_stop" in page
    then = moments.written(START)
    old = signed_in("charlie").get(page_of(cash, "origin") + f"?as_of={then}")
    assert [part.kind for part in old.context["parts"]] == ["Transfer"]
    assert reverse(TRIAL_BALANCE) in text(signed_in("charlie"), page_of(world.account))


def test_a_trade_and_a_position_lead_to_the_entries_they_are_made_of(signed_in: SignIn, world: World) -> None:
    client = signed_in("charlie")
    trade, position = Trade.objects.get(), Position.objects.get()
    assert page_of(trade, "origin") in text(client, page_of(trade))
    answer = client.get(page_of(trade, "origin"))
    assert [part.entry.fill for part in answer.context["parts"]] == [world.entry.fills.get()]
    assert answer.context["agrees"] and "-0.50" in answer.content.decode()
    units = LedgerAccount.objects.get(account=world.account, kind="POSITION")
    assert page_of(units, "origin") in text(client, page_of(position))
    assert "10,000" in text(client, page_of(units, "origin"))


def test_whoever_may_not_see_ledger_accounts_sees_none_of_it(world: World) -> None:
    User.objects.create_user("nobody", password="x", is_staff=True, person=Person.objects.create(name="Nobody"))
    client, cash, trade = Client(), cash_of(world), Trade.objects.get()
    addresses = [
        reverse(TRIAL_BALANCE), reverse("admin:trading_ledgeraccount_trial_balance_csv"), page_of(cash),
        page_of(cash, "statement_csv"), page_of(cash, "origin"), page_of(trade, "origin"),
    ]  # fmt: skip
    assert {client.get(address).status_code for address in addresses} == {302}, "to the sign-in"
    client.force_login(User.objects.get(username="nobody"))
    assert {client.get(address).status_code for address in addresses} == {403}
    assert {client.get(address.replace(f"/{cash.pk}/", "/0/")).status_code for address in addresses} == {403}


def test_pages_of_the_books_cost_a_fixed_number_of_queries(signed_in: SignIn, world: World) -> None:
    client, cash = signed_in("charlie"), cash_of(world)
    entry = world.entry.fills.get().entries.get()
    budgets = {
        reverse(TRIAL_BALANCE): 10, page_of(cash): 12, page_of(cash, "origin"): 28, page_of(entry): 38,
    }  # fmt: skip
    for address in budgets:
        client.get(address)
    counts: dict[str, list[int]] = {address: [] for address in budgets}
    for rows in (0, 6):
        grow(world, rows)
        for address, budget in budgets.items():
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address).status_code == 200
            counts[address].append(len(queries))
            assert len(queries) <= budget, "\n".join(query["sql"][:140] for query in queries.captured_queries)
    assert all(first == second for first, second in counts.values()), counts


@pytest.mark.parametrize(
    ("numbers", "is_money", "shown"),
    [
        (["1234.5", "0.125"], True, ["1,234.500", "0.125"]),
        (["1", "-2"], True, ["1.00", "-2.00"]),
        (["1000"], False, ["1,000"]),
        (["0.000000000001", "-0.0"], True, ["0.000000000001", "0.000000000000"]),
    ],
)
def test_figures_of_a_table_have_one_number_of_decimals_and_lose_nothing(
    numbers: list[str], is_money: bool, shown: list[str]
) -> None:
    amounts = [Decimal(number) for number in numbers]
    figures = Figures.for_all(amounts, is_money=is_money)
    assert [figures.text(amount) for amount in amounts] == shown
    assert [Decimal(figures.text(amount).replace(",", "")) for amount in amounts] == amounts
