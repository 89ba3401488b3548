"""Whoever holds the application login and wants an approval that nobody gave, or more out of one than it says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from tests.conftest import CommittedDatabase
from tests.trading.ledger.digest import digest
from tests.trading.ledger.refusals import Victim, knock
from tests.trading.ledger.world import apply, approved, people
from tests.trading.services import making
from trading.clock import wall_now
from trading.models import (
    Account,
    Application,
    Approval,
    CashEvent,
    ClosedDay,
    Entry,
    Fill,
    Lot,
    Person,
    Proposal,
    User,
)
from trading.services import approvals, booking, ledger
from trading.services.errors import RuleBroken
from trading.services.ledger import Draft

pytestmark = pytest.mark.usefixtures("unchanged")
SEVEN = {"entry": "ADJUSTMENT", "currency": "USD", "amount": "7"}


@pytest.fixture
def unchanged(on_rich: None) -> Iterator[None]:
    """Everything happens in one transaction on the rich books and is taken back; nothing may have been changed."""
    with connection.cursor() as cursor:
        before = digest(cursor)
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
    with connection.cursor() as cursor:
        assert digest(cursor) == before


@pytest.fixture
def victim(on_rich: None) -> Victim:
    account, other = Account.objects.get(name="oanda-main"), Account.objects.get(name="alpaca-main")
    for kind in ("CASH", "CAPITAL", "SUSPENSE", "FEE"):
        ledger.ledger_account(account, kind, "USD")
    deposit = CashEvent.objects.filter(account=account, kind="TRANSFER").earliest("id")
    return Victim.of(account, other, deposit)


def refused(match: str) -> Any:
    """The database refuses what is in here, and takes back all of it."""
    return _Refused(match)


class _Refused:
    def __init__(self, match: str) -> None:
        self._raises: Any = pytest.raises(DatabaseError, match=match)
        self._atomic = transaction.atomic()

    def __enter__(self) -> None:
        self._raises.__enter__()
        self._atomic.__enter__()

    def __exit__(self, *error: Any) -> Any:
        self._atomic.__exit__(*error)
        return self._raises.__exit__(*error)


def propose(account: Account, *entries: dict[str, Any], proposer: User | None = None, **more: Any) -> Proposal:
    """A proposal of Ada's that nobody has approved."""
    return approvals.propose(
        kind="test", account=account, subject_type="a test", subject_id=1, subject_version=1,
        payload={"entries": list(entries)}, reason="because of a test", proposer=proposer or people()[0],
        actor=making.TEST, **more,
    )  # fmt: skip


def approve(proposal: Proposal, approver: User, **changes: Any) -> Approval:
    """A raw row, past every service."""
    values = {"payload_sha256": proposal.payload_sha256, "subject_version": 1, "verdict": "APPROVE", **changes}
    return Approval.objects.create(at=making.START, proposal=proposal, approver=approver, **values)


def apply_raw(proposal: Proposal) -> Application:
    """A raw row, past every service."""
    return Application.objects.create(at=making.START, proposal=proposal, result={})


def adjustment(victim: Victim, application_id: int, key: str = "attack", amount: str = "7") -> dict[str, Any]:
    """An adjustment of cash by 7 dollars; its one transfer moves `amount`."""
    event = CashEvent.objects.create(
        at=making.START, account=victim.account, external_id=key, application_id=application_id, kind="ADJUSTMENT",
        currency="USD", amount=Decimal(7),
    )  # fmt: skip
    legs = [victim.leg(amount, out_of="SUSPENSE")]
    return victim.body(
        key=key, kind="ADJUSTMENT", cash_event_id=event.pk, application_id=application_id, transfers=legs
    )


def test_the_adjustment_itself_is_possible_with_two_people(victim: Victim) -> None:
    assert knock(adjustment(victim, apply(approved(victim.account, SEVEN)).pk))


def test_nobody_approves_what_he_proposed_not_even_as_a_superuser_or_a_second_user(victim: Victim) -> None:
    ada, _bob = people()
    second = User.objects.create_user("ada-again", person=ada.person)
    User.objects.filter(pk=ada.pk).update(is_superuser=True, is_staff=True)
    for user in (ada, second):
        with refused("whoever proposed cannot approve"):
            approve(propose(victim.account, SEVEN), user)
    with refused("person of a user is fixed"):
        User.objects.filter(pk=second.pk).update(person=Person.objects.create(name="Somebody else"))


def test_an_approval_is_for_one_payload_and_version_and_its_time(victim: Victim) -> None:
    _ada, bob = people()
    proposal = propose(victim.account, SEVEN)
    with refused("another payload"):
        approve(proposal, bob, payload_sha256="0" * 64)
    with refused("another payload or version"):
        approve(proposal, bob, subject_version=2)
    with refused("a verdict is"):
        approve(proposal, bob, verdict="MAYBE")
    with refused("only the proposer withdraws"):
        approve(proposal, bob, verdict="WITHDRAW")


def raw_proposal(**changes: Any) -> Proposal:
    """A proposal's row like the last one, with something else in it."""
    like = Proposal.objects.latest("id")
    values = {field.attname: getattr(like, field.attname) for field in Proposal._meta.concrete_fields[1:]}
    return Proposal.objects.create(**{**values, **changes})


def test_a_proposal_cannot_lie_about_itself(victim: Victim) -> None:
    propose(victim.account, SEVEN)
    for changes, why in (
        ({"payload": "{}"}, "hash is not that of its payload"),
        ({"approvals_required": 0}, "at least one approval"),
        ({"reason": " "}, "needs a reason"),
        ({"expires_at": wall_now() + timedelta(days=30)}, "expires within 24 hours"),
    ):
        with refused(why):
            raw_proposal(**changes)


def test_after_its_time_a_proposal_is_neither_approved_nor_applied(victim: Victim) -> None:
    _ada, bob = people()
    propose(victim.account, SEVEN)
    late = raw_proposal(expires_at=wall_now() - timedelta(seconds=1))
    with refused("has expired"):
        approve(late, bob)
    with refused("has expired"):
        apply_raw(late)


def test_nothing_is_applied_without_enough_people_or_twice_or_after_a_no(victim: Victim) -> None:
    ada, bob = people()
    with refused("0 of 1 approvals"):
        apply_raw(propose(victim.account, SEVEN))
    two = propose(victim.account, SEVEN, approvals_required=2)
    approve(two, bob)
    with refused("verdict_per_user|duplicate"):
        approve(two, bob)
    approve(two, User.objects.create_user("bob-again", person=bob.person))
    with refused("1 of 2 approvals"):
        apply_raw(two)
    once = approved(victim.account, SEVEN)
    apply_raw(once)
    with refused("duplicate key"):
        apply_raw(once)
    for verdict, user in (("REJECT", bob), ("WITHDRAW", ada)):
        proposal = propose(victim.account, SEVEN)
        approve(proposal, user, verdict=verdict)
        with refused("rejected or withdrawn"):
            apply_raw(proposal)


def test_an_old_application_is_never_used_again(victim: Victim) -> None:
    old = Entry.objects.filter(kind="ADJUSTMENT").earliest("id").application_id
    assert old is not None
    with refused("approval that is not for it"):
        knock({**adjustment(victim, old), "transfers": [victim.leg("0.07", "SUSPENSE", "CASH")]})


def test_an_application_of_this_moment_is_good_for_what_it_says_and_nothing_else(victim: Victim) -> None:
    application = apply(approved(victim.account, SEVEN)).pk
    row = CashEvent.objects.create(
        at=making.START, account=victim.account, external_id="other", application_id=application, kind="ADJUSTMENT",
        currency="USD", amount=Decimal(8),
    )  # fmt: skip
    body = adjustment(victim, application)
    with refused("approval that is not for it"):
        knock({**body, "cash_event_id": row.pk})
    deposit = Entry.objects.get(cash_event=victim.deposit)
    with refused("approval that is not for it"):
        knock(victim.body(kind="REVERSAL", reverses_id=deposit.pk, application_id=application))


def test_an_adjustment_moves_exactly_what_was_approved_once(victim: Victim) -> None:
    application = apply(approved(victim.account, SEVEN)).pk
    for amount in ("6.99", "7000000"):
        with refused("another amount"):
            knock(adjustment(victim, application, amount=amount))
    with refused("approval that is not for it"):
        knock(adjustment(victim, application, "first"), adjustment(victim, application, "second"))
    assert knock(adjustment(victim, application, "first"))
    with refused("approval that is not for it"):
        knock(adjustment(victim, application, "second"))


@pytest.mark.parametrize("kind", ["TRANSFER", "FEE", "TAX", "CONVERSION"])
def test_the_suspense_account_moves_by_approval_only(victim: Victim, kind: str) -> None:
    with refused("suspense account without an approval"):
        knock(victim.body(kind=kind, transfers=[victim.leg(out_of="SUSPENSE")]))


@pytest.mark.parametrize(
    "dates",
    [
        {"trading_day": "2026-03-03"},
        {"trading_day": "1999-12-31"},
        {"trading_day": "infinity"},
        {"at": "infinity", "trading_day": "infinity"},
        {"at": "-infinity", "trading_day": "-infinity"},
        {"value_date": "infinity"},
    ],
)
def test_an_entry_is_dated_by_its_own_moment(victim: Victim, dates: dict[str, str]) -> None:
    """Else a closed day could be gone round by naming another; and what is infinite nobody could ever read."""
    with refused("is not dated by its own moment"):
        knock(victim.body(**dates))


def test_a_closed_day_takes_approved_entries_only(victim: Victim) -> None:
    ClosedDay.objects.create(
        at=making.START, account=victim.account, trading_day=making.START.date(), application=apply(
            approved(victim.account)))  # fmt: skip
    with refused("was signed off"):
        knock(victim.body())
    with refused("is not dated by its own moment"):
        knock(victim.body(trading_day="2026-03-03"))
    assert knock(victim.body(at="2026-03-03T08:00:00Z", trading_day="2026-03-03"))


@pytest.mark.parametrize(
    "change", [{"quantity": "-6"}, {"price": "1.2"}, {"instrument": "GBPUSD"}, {"external_id": "7"}]
)
def test_an_approved_fill_is_the_one_that_was_approved(victim: Victim, change: dict[str, str]) -> None:
    """Another number of units, price, instrument or fill of the broker's than the approval names is not for it."""
    wanted = {"entry": "ADOPTION", "instrument": "EURUSD", "quantity": "-5", "price": "1.1"}
    given: dict[str, Any] = {
        "account": victim.account, "instrument": making.instrument(), "quantity": Decimal(-5), "price": Decimal("1.1"),
        "actor": making.TEST,
    }  # fmt: skip
    with pytest.raises(RuleBroken, match="approval that is not for it"):
        booking.adopt_position(**given, application=apply(approved(victim.account, {**wanted, **change})))
    assert booking.adopt_position(**given, application=apply(approved(victim.account, wanted)))


def test_no_approval_conjures_up_lots(victim: Victim) -> None:
    """An approved entry moves as many units in lots as in positions, whatever it reverses or adopts."""
    dividend = Entry.objects.filter(account=victim.account, kind="DIVIDEND").earliest("id")
    application = apply(approved(victim.account, {"entry": "REVERSAL", "reverses": dividend.pk}))
    draft = ledger.reversal(dividend, application=application, at=making.START, memo="")
    lot = {"instrument_id": str(making.instrument().pk), "side": "1", "quantity": "1000000", "unit_cost": "1"}
    body: dict[str, Any] = victim.body(
        kind="REVERSAL", reverses_id=dividend.pk, application_id=application.pk, cash_event_id=None,
        transfers=draft.transfers,
    )  # fmt: skip
    with refused("other units of EURUSD in lots than in positions"):
        knock({**body, "lots": [lot]})
    standing = Lot.objects.filter(account=victim.account).earliest("id")
    close = {"lot_id": str(standing.pk), "quantity": "1", "unit_price": "1", "profit_quote": "0"}
    with refused("in lots than in positions|more of lot"):
        knock({**body, "lot_closes": [close]})
    assert knock(body)


@pytest.mark.fault("F-107", broker="every")
def test_a_reversal_is_the_exact_mirror_once_and_never_of_a_reversal(victim: Victim) -> None:
    deposit = Entry.objects.get(cash_event=victim.deposit)

    def reversal(of: Entry, **changes: Any) -> Draft:
        application = apply(approved(victim.account, {"entry": "REVERSAL", "reverses": of.pk}))
        draft = ledger.reversal(of, application=application, at=making.START, memo="")
        draft.transfers[0] |= changes
        return draft

    def body(draft: Draft) -> dict[str, Any]:
        assert draft.application is not None and draft.reverses is not None
        return victim.body(
            key=draft.key, kind="REVERSAL", reverses_id=draft.reverses.pk, cash_event_id=None,
            application_id=draft.application.pk, transfers=draft.transfers,
        )  # fmt: skip

    for changes in ({"amount": "99999"}, {"credit": victim.leg(into="FEE")["debit"]}):
        with refused("not the exact mirror"):
            knock(body(reversal(deposit, **changes)))
    (taken,) = knock(body(reversal(deposit)))
    with refused("an_entry_is_reversed_once"):
        knock({**body(reversal(deposit)), "key": "again"})
    with refused("a reversal itself"):
        knock(body(reversal(Entry.objects.get(pk=taken))))


def test_facts_about_money_need_the_brokers_word_or_an_approval(victim: Victim) -> None:
    common: dict[str, Any] = {"at": making.START, "account": victim.account, "external_id": "made-up"}
    with refused("cash_without_the_brokers_event_needs_an_approval"):
        CashEvent.objects.create(**common, kind="TRANSFER", currency="USD", amount=1)
    with refused("needs_an_approval"):
        Fill.objects.create(**common, instrument=making.instrument(), side="BUY", quantity=1, price=1)


def test_people_and_users_are_who_they_were(rich: CommittedDatabase) -> None:
    with psycopg.connect(rich.urls.application) as login:
        for statement in (
            "UPDATE trading_user SET person_id = person_id + 1",
            "UPDATE trading_user SET id = id + 1000",
            "DELETE FROM trading_user",
            "DELETE FROM trading_person",
            "TRUNCATE trading_person CASCADE",
            "MERGE INTO trading_user u USING (SELECT 1) x ON true WHEN MATCHED THEN UPDATE SET person_id = id + 1",
        ):
            with pytest.raises(psycopg.Error, match="fixed|never deleted|permission denied"), login.transaction():
                login.execute(statement)
