"""The pages on which a day is signed off: what it rests on, who prepares, who reviews, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from reconciliation.models import Discrepancy, Run, SignOff
from tests.trading.admin.world import World
from trading.clock import now, store_broker_clock, trading_day
from trading.models import Account, ClosedDay, Entry, Proposal

SignIn = Callable[[str], Client]


@pytest.fixture
def account(world: World, case: Discrepancy, compare: Callable[..., None]) -> Account:
    """The world's account, two days later, compared again; one difference is open."""
    later = now(world.account) + timedelta(days=2)
    if world.account.environment == Account.Environment.SIMULATOR:
        store_broker_clock(account=world.account, broker_at=later, speed=Decimal(0))
    compare("10700")
    return world.account


def day_of(account: Account) -> Any:
    return Entry.objects.filter(account=account).latest("id").trading_day


def address(account: Account) -> str:
    return reverse("admin:reconciliation_signoff_day", args=[account.pk, str(day_of(account))])


def said(answer: Any) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


def verdict(client: Client, account: Account, word: str) -> str:
    proposal = Proposal.objects.get(kind="SIGN_OFF")
    form = {"verdict": word, "proposal": str(proposal.pk), "payload_sha256": proposal.payload_sha256, "reason": "seen"}
    return said(client.post(address(account), form, follow=True))


def test_a_day_is_prepared_with_its_open_case_reviewed_and_listed(
    account: Account, case: Discrepancy, signed_in: SignIn
) -> None:
    assert day_of(account) < trading_day(account) and Run.objects.filter(status="COMPLETE").exists()
    ada, bob = signed_in("ada"), signed_in("bob")
    listed = ada.get(reverse("admin:reconciliation_signoff_account", args=[account.pk])).content.decode()
    assert address(account) in listed
    page = ada.get(address(account)).content.decode()
    assert f'value="{case.pk}"' in page and "Prepare sign-off" in page and case.cause[:20] in page
    assert "were not accepted" in said(ada.post(address(account), {"reason": "as the statement"}, follow=True))
    answer = ada.post(address(account), {"reason": "as the statement", "accept": [str(case.pk)]}, follow=True)
    assert "Prepared as proposal" in said(answer)
    assert "a second person must approve" in ada.get(address(account)).content.decode()
    assert "whoever proposed cannot approve" in verdict(signed_in("ada2"), account, "APPROVE")
    assert "is signed off and closed" in verdict(bob, account, "APPROVE")
    assert ClosedDay.objects.get().trading_day == SignOff.objects.get().trading_day == day_of(account)
    page = bob.get(reverse("admin:reconciliation_signoff_changelist")).content.decode()
    assert str(day_of(account)) in page and "ada" in page and "bob" in page
    one = bob.get(reverse("admin:reconciliation_signoff_change", args=[SignOff.objects.get().pk]))
    assert one.status_code == 200 and "signed off already" in bob.get(address(account)).content.decode()


def test_a_viewer_looks_and_decides_nothing(account: Account, case: Discrepancy, signed_in: SignIn) -> None:
    charlie = signed_in("charlie")
    assert 'name="reason"' not in charlie.get(address(account)).content.decode()
    assert charlie.post(address(account), {"reason": "as the statement"}).status_code == 403
    bad = reverse("admin:reconciliation_signoff_day", args=[account.pk, "tomorrow"])
    assert charlie.get(bad).status_code == 404


def test_the_pages_of_run_and_account_lead_there(account: Account, signed_in: SignIn) -> None:
    wanted = reverse("admin:reconciliation_signoff_account", args=[account.pk])
    run = Run.objects.latest("id")
    for page in (
        reverse("admin:reconciliation_run_change", args=[run.pk]),
        reverse("admin:trading_account_change", args=[account.pk]),
    ):
        assert wanted in signed_in("bob").get(page).content.decode()
