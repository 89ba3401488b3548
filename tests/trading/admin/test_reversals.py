"""Taking an entry back on its page: shown first, proposed by one person, approved by another, refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.trading.admin.world import World
from trading.models import Application, Entry, Proposal

SignIn = Callable[[str], Client]


@pytest.fixture
def entry(world: World) -> Entry:
    """The deposit's."""
    return Entry.objects.get(kind="TRANSFER")


def address(entry: Entry) -> str:
    return reverse("admin:trading_entry_reverse", args=[entry.pk])


def said(answer: Any) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


def verdict(client: Client, entry: Entry, word: str, reason: str = "checked") -> str:
    proposal = Proposal.objects.get(kind="REVERSAL")
    form = {
        "verdict": word, "proposal": str(proposal.pk), "payload_sha256": proposal.payload_sha256, "reason": reason,
    }  # fmt: skip
    return said(client.post(address(entry), form, follow=True))


def test_the_page_shows_the_mirror_the_balances_and_the_warning(entry: Entry, signed_in: SignIn) -> None:
    page = signed_in("ada").get(reverse("admin:trading_entry_change", args=[entry.pk])).content.decode()
    assert address(entry) in page and "Propose reversal" in page
    shown = signed_in("ada").get(address(entry)).content.decode()
    assert "Exactly these lines would be posted" in shown and "Capital USD" in shown and "After the reversal" in shown
    assert "history still has it" in shown and 'name="reason"' in shown
    looked_at = signed_in("charlie").get(address(entry)).content.decode()
    assert 'name="reason"' not in looked_at


def test_one_proposes_another_approves_and_it_is_applied_once(entry: Entry, signed_in: SignIn) -> None:
    ada, bob = signed_in("ada"), signed_in("bob")
    assert "Proposed as" in said(ada.post(address(entry), {"reason": "it was booked twice"}, follow=True))
    assert "a second person must approve" in ada.get(address(entry)).content.decode()
    assert "whoever proposed cannot approve" in verdict(signed_in("ada2"), entry, "APPROVE")
    assert "is taken back" in verdict(bob, entry, "APPROVE")
    assert entry.reversals.count() == 1 and Application.objects.filter(proposal__kind="REVERSAL").count() == 1
    assert "does not wait any more" in verdict(bob, entry, "APPROVE")
    page = bob.get(address(entry)).content.decode()
    assert "was reversed already" in page and 'name="reason"' not in page
    assert "is a reversal itself" in bob.get(address(entry.reversals.get())).content.decode()


def test_a_rejected_one_leaves_the_entry_and_may_be_proposed_again(entry: Entry, signed_in: SignIn) -> None:
    signed_in("ada").post(address(entry), {"reason": "it was booked twice"})
    assert "Say why" in verdict(signed_in("bob"), entry, "REJECT", "no")
    assert "the entry stands" in verdict(signed_in("bob"), entry, "REJECT", "it is right")
    assert not entry.reversals.exists() and 'name="reason"' in signed_in("ada").get(address(entry)).content.decode()


def test_whoever_has_no_right_to_it_proposes_and_decides_nothing(entry: Entry, signed_in: SignIn) -> None:
    assert signed_in("charlie").post(address(entry), {"reason": "it was booked twice"}).status_code == 403
    signed_in("ada").post(address(entry), {"reason": "it was booked twice"})
    assert "may not decide" in verdict(signed_in("charlie"), entry, "APPROVE")
    assert Client().get(address(entry)).status_code == 302 and not entry.reversals.exists()
