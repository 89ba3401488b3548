"""What the ledger's door demands of corrections, and how it takes many entries at once, under the application login."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from tests.conftest import CommittedDatabase
from tests.trading.services import making
from trading.models import Account, Application, CashEvent, ChainBlock, ClosedDay, Entry, Proposal, Transfer, User
from trading.selectors import books
from trading.services import approvals
from trading.services.errors import RuleBroken
from trading.services.ledger import Draft, ledger_account, post, post_many, reversal


@pytest.fixture
def account(db: None) -> Account:
    """An account with a deposit of 5000 and a fee of 7."""
    made = making.make_account()
    making.receive(made, making.cash_of(1, "TRANSFER", "5000"), making.cash_of(2, "FEE", "-7"))
    return made


def approve(account: Account, *entries: dict[str, Any]) -> Proposal:
    """Ada proposed these entries and bob approved; nobody has applied them."""
    ada, bob = (User.objects.filter(username=name).first() or User.objects.create_user(name) for name in ("ada", "bob"))
    proposal = approvals.propose(
        kind="test", account=account, subject_type="a test", subject_id=1, subject_version=1,
        payload={"entries": list(entries)}, reason="because of a test", proposer=ada, actor=making.TEST,
    )  # fmt: skip
    approvals.decide(
        proposal=proposal, approver=bob, verdict="APPROVE", payload_sha256=proposal.payload_sha256,
        subject_version=1, actor=making.TEST,
    )  # fmt: skip
    return proposal


def applied(account: Account, *entries: dict[str, Any]) -> Application:
    """The application of an approved proposal, in this transaction."""
    proposal = approve(account, *entries)
    return approvals.record_application(proposal=proposal, applied_by=None, result={}, actor=making.TEST)


def fee_of(account: Account) -> Entry:
    """The entry of the fee."""
    return Entry.objects.get(account=account, kind="FEE")


def names(entry: Entry) -> dict[str, Any]:
    """What an approved proposal says to have an entry reversed."""
    return {"entry": "REVERSAL", "reverses": entry.pk}


def taken_back(account: Account, entry: Entry, application: Application) -> Draft:
    """The reversal of an entry."""
    return reversal(entry, application=application, at=making.moment(60), memo="a mistake")


def refused(draft: Draft, match: str) -> None:
    """The books refuse it and are as before."""
    before = (Entry.objects.count(), Transfer.objects.count(), ChainBlock.objects.count())
    with pytest.raises(RuleBroken, match=match):
        post(draft)
    assert (Entry.objects.count(), Transfer.objects.count(), ChainBlock.objects.count()) == before


def test_a_reversal_takes_back_exactly_what_was_booked_once(account: Account) -> None:
    entry = fee_of(account)
    application = applied(account, names(entry))
    post(taken_back(account, entry, application))
    assert books.cash_balances(account) == {"USD": Decimal(5000)}
    assert books.balances(account, "FEE") == {"USD": Decimal(0)}
    second = taken_back(account, entry, application)
    second.key = "again"
    refused(second, "reversed_once|duplicate key")


def test_a_reversal_needs_an_approval_that_names_its_entry(account: Account) -> None:
    deposit = Entry.objects.get(account=account, kind="TRANSFER")
    for application in (applied(account), applied(account, names(deposit)), applied(account, {"entry": "ADJUSTMENT"})):
        refused(taken_back(account, fee_of(account), application), "cites an approval that is not for it")


def test_a_reversal_that_is_not_the_mirror_is_refused(account: Account) -> None:
    entry = fee_of(account)
    application = applied(account, names(entry))
    for change in ({"amount": "6"}, {"debit": "credit", "credit": "debit"}):
        draft = taken_back(account, entry, application)
        (line,) = draft.transfers
        draft.transfers = [{**line, **{k: line.get(v, v) for k, v in change.items()}}]
        refused(draft, "is not the exact mirror")
    draft = taken_back(account, entry, application)
    draft.transfers *= 2
    refused(draft, "is not the exact mirror")


@pytest.mark.fault("F-107", broker="every")
def test_a_reversal_is_not_reversed(account: Account) -> None:
    entry = fee_of(account)
    first = post(taken_back(account, entry, applied(account, names(entry))))
    refused(taken_back(account, first, applied(account, names(first))), "a reversal itself")


def another_fee(account: Account, **more: Any) -> Draft:
    """A fee of 6 in its place."""
    event = CashEvent.objects.get(account=account, kind="FEE")
    draft = Draft(
        account=account, key="replacement", kind="FEE", at=making.moment(60), cash_event=event, **more
    )  # fmt: skip
    draft.move(commodity="USD", amount=Decimal(6), into="FEE", out_of="CASH")
    return draft


def test_a_replacement_names_the_entry_that_was_reversed(account: Account) -> None:
    entry = fee_of(account)
    application = applied(account, names(entry))
    refused(another_fee(account, replaces=entry, application=application), "was not reversed")
    back, instead = post_many(
        [taken_back(account, entry, application), another_fee(account, replaces=entry, application=application)]
    )
    assert (back.reverses, instead.replaces) == (entry, entry)
    assert books.cash_balances(account) == {"USD": Decimal(4994)}
    unapproved = another_fee(account, replaces=entry)
    unapproved.key = "unapproved"
    refused(unapproved, "a_replacement_needs_an_application")


@pytest.mark.fault("F-107", broker="every")
def test_a_closed_day_takes_approved_entries_only(account: Account) -> None:
    day = making.START.date()
    ClosedDay.objects.create(at=making.moment(60), account=account, trading_day=day, application=applied(account))
    draft = another_fee(account)
    draft.at = making.moment(1)
    refused(draft, f"falls into {day}, which was signed off")
    draft.application = applied(account)
    assert post(draft).trading_day == day
    other = making.make_account("oanda-other")
    making.receive(other, making.cash_of(1, "TRANSFER", "1"))
    assert books.cash_balances(other) == {"USD": Decimal(1)}, "the day of another account is open"


def test_an_approval_of_another_account_or_of_the_past_is_not_accepted(committed_db: CommittedDatabase) -> None:
    with transaction.atomic():
        account, other = making.make_account(), making.make_account("oanda-other")
        making.receive(account, making.cash_of(1, "TRANSFER", "5000"), making.cash_of(2, "FEE", "-7"))
        old = applied(account, names(fee_of(account)))
    with transaction.atomic():
        refused(taken_back(account, fee_of(account), old), "cites an approval that is not for it")
        foreign = applied(other, names(fee_of(account)))
        refused(taken_back(account, fee_of(account), foreign), "cites an approval that is not for it")
        post(taken_back(account, fee_of(account), applied(account, names(fee_of(account)))))


def deposits(account: Account, *amounts: str) -> list[dict[str, Any]]:
    """Payloads of entries, one a amount, each with a key of its own."""
    cash, capital = (str(ledger_account(account, kind, "USD").pk) for kind in ("CASH", "CAPITAL"))
    event = CashEvent.objects.get(account=account, kind="TRANSFER").pk
    common = {
        "kind": "TRANSFER", "account_id": account.pk, "at": "2026-03-02T08:00:00Z", "trading_day": "2026-03-02",
        "value_date": "2026-03-02", "cash_event_id": event,
    }  # fmt: skip
    return [
        {
            **common,
            "key": f"deposit {number}",
            "transfers": [{"debit": cash, "credit": capital, "commodity": "USD", "amount": amount}],
        }
        for number, amount in enumerate(amounts)
    ]


def knock(payloads: list[dict[str, Any]]) -> list[int]:
    """Call the door for many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT ledger_post_many(%s::jsonb)", [json.dumps(payloads)])
        return list(cursor.fetchone()[0])


def test_many_entries_are_two_blocks_and_come_back_in_their_order(account: Account) -> None:
    before = ChainBlock.objects.count()
    numbers = knock(deposits(account, *(str(n) for n in range(1, 101))))
    amounts = [Transfer.objects.get(entry_id=number).amount for number in numbers]
    assert amounts == [Decimal(n) for n in range(1, 101)]
    assert ChainBlock.objects.count() == before + 2


def test_what_stands_already_or_comes_twice_in_one_batch_is_posted_once(account: Account) -> None:
    one, two, three = deposits(account, "1", "2", "3")
    first = knock([one])
    assert knock([two, one, two, three, one])[1::3] == first + first
    assert Entry.objects.filter(idempotency_key__startswith="deposit").count() == 3
    assert books.cash_balances(account) == {"USD": Decimal(5000 - 7 + 6)}


def test_one_bad_entry_of_many_takes_all_back(account: Account) -> None:
    one, two, three = deposits(account, "1", "2", "3")
    for bad in (
        {**two, "transfers": [{**two["transfers"][0], "amount": "-2"}]},
        {**two, "transfers": []},
        {**two, "kind": "GIFT"},
        {**one, "memo": "the same key, another payload"},
    ):
        with pytest.raises(DatabaseError):
            knock([one, bad, three])
        assert not Entry.objects.filter(idempotency_key__startswith="deposit").exists()


def test_nothing_is_nothing(account: Account) -> None:
    assert knock([]) == []


def test_how_lots_are_counted_stays_once_there_is_one(account: Account) -> None:
    Account.objects.filter(pk=account.pk).update(lot_method="AVERAGE")
    order = making.make_entry(account)
    making.receive(account, making.fill_of(3, order, "100"))
    with pytest.raises(DatabaseError, match="the method by which they are counted stays"), transaction.atomic():
        Account.objects.filter(pk=account.pk).update(lot_method="FIFO")
    Account.objects.filter(pk=account.pk).update(endpoint="http://127.0.0.1")


def test_no_other_time_zone_moves_entries_out_of_closed_days(account: Account) -> None:
    with pytest.raises(DatabaseError, match="its time zone stays"), transaction.atomic():
        Account.objects.filter(pk=account.pk).update(time_zone="Etc/GMT+12")
