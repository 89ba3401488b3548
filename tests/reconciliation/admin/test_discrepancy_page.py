"""The page on which two people resolve a difference: what it shows, who may do what, and that it happens once."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.reconciliation.admin.still_broker import StillBroker
from tests.trading.admin.world import World, build_world
from trading.models import Application, Approval, AuditEvent, Order, Position, Proposal, Trade

SignIn = Callable[[str], Client]
Compare = Callable[..., None]


def url(case: Discrepancy, page: str = "change") -> str:
    return reverse(f"admin:reconciliation_discrepancy_{page}", args=[case.pk])


def told(answer: Any) -> str:
    """The messages that the next page shows."""
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


def propose(client: Client, case: Discrepancy, **more: str) -> Any:
    data = {"action": "book_fills", "reason": "ticket 12: bought by hand", **more}
    return client.post(url(case, "propose"), data)


def verdict(case: Discrepancy, word: str, **more: str) -> dict[str, str]:
    """What the form of the page posts."""
    case.refresh_from_db()
    assert case.proposal is not None
    return {
        "proposal": str(case.proposal.pk),
        "payload_sha256": case.proposal.payload_sha256,
        "version": str(case.proposal.subject_version),
        "verdict": word,
        "reason": "checked at the broker",
        **more,
    }


def quantity(world: World) -> Decimal:
    return Position.objects.get(account=world.account, instrument=world.instrument).quantity


def test_a_viewer_sees_what_differs_and_why_and_no_button(case: Discrepancy, signed_in: SignIn) -> None:
    page = signed_in("charlie").get(url(case)).content.decode()
    for words in (
        "10,000",
        "10,700",
        "+700",
        "EURUSD",
        "QUANTITY_MISMATCH",
        "the order was not ours",
        "1.0911",
        "Timeline",
    ):
        assert words in page, words
    assert "<button" not in page.split('id="content-main"')[1]
    listed = signed_in("charlie").get(reverse("admin:reconciliation_discrepancy_changelist") + "?standing=review")
    assert [row.pk for row in listed.context["cl"].result_list] == [case.pk]


def test_the_whole_story_ada_proposes_bob_approves_the_books_agree_and_the_next_run_closes_it(
    case: Discrepancy, signed_in: SignIn, world: World, compare: Compare
) -> None:
    ada, bob = signed_in("ada"), signed_in("bob")
    offer = ada.get(url(case)).content.decode()
    assert "Post the fill 900 of somebody else&#x27;s order: BUY 700 EUR_USD at 1.0911" in offer
    assert "Proposed as" in told(propose(ada, case))
    page = bob.get(url(case)).content.decode()
    assert "ada proposed this at" in page
    assert "ticket 12: bought by hand" in page
    assert "EXTERNAL_FILL" in page
    case.refresh_from_db()
    assert case.proposal.payload_sha256 in page
    answer = bob.post(url(case, "decide"), verdict(case, "APPROVE"))
    assert "Approved and applied" in told(answer)
    assert quantity(world) == 10700
    application = Application.objects.get(proposal=case.proposal)
    assert application.applied_by == world.people["bob"]
    compare("10700", price=Decimal("1.090184"))
    case.refresh_from_db()
    assert case.state == "CLOSED"
    after = signed_in("charlie").get(url(case)).content.decode()
    for words in ("PROPOSED", "APPROVED", "APPLIED", "CLOSED", "checked at the broker", "Entries it posted"):
        assert words in after, words
    assert AuditEvent.objects.filter(kind="proposal.approve", actor=world.people["bob"], via="admin").exists()


def test_the_proposer_sees_a_disabled_button_and_a_forged_post_is_refused(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    propose(signed_in("ada"), case)
    second_user_of_ada = signed_in("ada2")
    page = second_user_of_ada.get(url(case)).content.decode()
    assert "ada proposed this; a second person must approve" in page
    assert 'value="APPROVE" disabled' in page
    answer = second_user_of_ada.post(url(case, "decide"), verdict(case, "APPROVE"))
    assert "whoever proposed cannot approve" in told(answer)
    assert signed_in("ada").post(url(case, "decide"), verdict(case, "APPROVE")).status_code == 403
    assert not Approval.objects.filter(proposal=case.proposal).exists()
    assert quantity(world) == 10000


@pytest.mark.scenario("S-73")
def test_a_superuser_who_proposed_cannot_approve_either(case: Discrepancy, signed_in: SignIn, world: World) -> None:
    world.people["ada"].is_superuser = True
    world.people["ada"].save()
    ada = signed_in("ada")
    propose(ada, case)
    assert "whoever proposed cannot approve" in told(ada.post(url(case, "decide"), verdict(case, "APPROVE")))
    assert quantity(world) == 10000


def test_only_those_with_the_right_propose_or_decide(case: Discrepancy, signed_in: SignIn) -> None:
    assert propose(signed_in("charlie"), case).status_code == 403
    assert propose(signed_in("bob"), case).status_code == 403
    propose(signed_in("ada"), case)
    for word in ("APPROVE", "REJECT", "WITHDRAW", ""):
        assert signed_in("charlie").post(url(case, "decide"), verdict(case, word)).status_code == 403
    assert Client().post(url(case, "decide"), verdict(case, "APPROVE")).status_code == 302  # to the login
    assert not Approval.objects.filter(proposal=case.proposal).exists()


def test_nothing_changes_by_get_and_every_form_carries_a_csrf_token(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    ada = signed_in("ada")
    for page in ("propose", "decide"):
        assert ada.get(url(case, page), {"action": "book_fills", "reason": "ticket 12"}).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(world.people["ada"])
    assert propose(strict, case).status_code == 403
    assert not Proposal.objects.filter(subject_id=case.pk, kind="reconciliation.book_fills").exists()


@pytest.mark.parametrize(
    ("forged", "sentence"),
    [
        ({"payload_sha256": "0" * 64}, "another payload or version"),
        ({"version": "999"}, "another payload or version"),
        ({"version": "one"}, "which version was seen"),
        ({"proposal": "0"}, "not this case's any more"),
        ({"verdict": "MAYBE"}, "No verdict was given"),
    ],
)
def test_what_was_not_seen_is_not_approved(
    forged: dict[str, str], sentence: str, case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    propose(signed_in("ada"), case)
    answer = signed_in("bob").post(url(case, "decide"), {**verdict(case, "APPROVE"), **forged})
    assert sentence in told(answer)
    assert quantity(world) == 10000


def test_a_rejection_needs_a_reason_and_gives_the_case_back(case: Discrepancy, signed_in: SignIn) -> None:
    propose(signed_in("ada"), case)
    bob = signed_in("bob")
    assert "at least five characters" in told(bob.post(url(case, "decide"), verdict(case, "REJECT", reason="no")))
    answer = bob.post(url(case, "decide"), verdict(case, "REJECT", reason="it was the other account"))
    assert "Rejected" in told(answer)
    case.refresh_from_db()
    assert (case.state, case.proposal) == ("OPEN", None)
    page = bob.get(url(case)).content.decode()
    assert "it was the other account" in page


def test_the_proposer_withdraws_and_nobody_else(case: Discrepancy, signed_in: SignIn) -> None:
    ada = signed_in("ada")
    propose(ada, case)
    assert 'value="WITHDRAW"' in ada.get(url(case)).content.decode()
    assert 'value="WITHDRAW"' not in signed_in("bob").get(url(case)).content.decode()
    assert signed_in("bob").post(url(case, "decide"), verdict(case, "WITHDRAW")).status_code == 403
    assert "Withdrawn" in told(ada.post(url(case, "decide"), verdict(case, "WITHDRAW")))
    case.refresh_from_db()
    assert case.state == "OPEN"


def test_approving_twice_applies_once_and_says_so(case: Discrepancy, signed_in: SignIn, world: World) -> None:
    propose(signed_in("ada"), case)
    data = verdict(case, "APPROVE")
    bob = signed_in("bob")
    assert "Approved and applied" in told(bob.post(url(case, "decide"), data))
    bob.get(url(case))  # shows the message
    assert "applied already" in told(bob.post(url(case, "decide"), data))
    assert Application.objects.filter(proposal=case.proposal).count() == 1
    assert quantity(world) == 10700


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"reason": "no"}, "at least five characters"),
        ({"action": "close_at_estimate"}, "does not resolve"),
        ({"action": "no_such_thing"}, "does not resolve"),
        ({"action": ""}, "does not resolve"),
        ({"price": "1.1"}, "takes no number"),
        ({"price": "NaN"}, "not understood"),
    ],
)
def test_a_bad_proposal_is_refused_with_a_sentence(
    data: dict[str, str], sentence: str, case: Discrepancy, signed_in: SignIn
) -> None:
    assert sentence in told(propose(signed_in("ada"), case, **data))
    case.refresh_from_db()
    assert case.state == "OPEN"


def test_an_estimate_takes_a_price_from_the_form_and_shows_it_in_the_payload(db: None) -> None:
    world = build_world(with_external_trade=False)
    for _ in range(2):
        broker: Any = StillBroker(world.account, Decimal("4000"))
        run_reconciliation(account=world.account, trigger="MANUAL", broker=broker)
    case = Discrepancy.objects.get(key="EURUSD")
    ada = Client()
    ada.force_login(world.people["ada"])
    page = ada.get(url(case)).content.decode()
    assert 'name="close_at_estimate-price"' in page and 'name="close_at_estimate-realised"' in page
    numbers = {"close_at_estimate-price": "1.0875", "close_at_estimate-realised": "-15.72"}
    assert "more than the 0 USD" in told(propose(ada, case, action="close_at_estimate", **numbers))
    numbers["close_at_estimate-realised"] = "0"
    assert "Proposed as" in told(propose(ada, case, action="close_at_estimate", **numbers))
    case.refresh_from_db()
    entries = json.loads(case.proposal.payload)["entries"]
    assert (entries[0]["price"], entries[0]["realised"]) == ("1.0875", "0")
    assert "1.0875" in ada.get(url(case)).content.decode()


def test_a_proposal_whose_facts_have_moved_says_so_before_anybody_approves(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    propose(signed_in("ada"), case)
    case.refresh_from_db()
    case.evidence = {**case.evidence, "events": []}
    case.save()
    assert "cannot be applied any more" in signed_in("bob").get(url(case)).content.decode()


def test_an_approved_flatten_plans_one_order_and_shows_it(case: Discrepancy, signed_in: SignIn) -> None:
    offered = signed_in("ada").get(url(case)).content.decode()
    assert "SELL 700 EURUSD" not in offered, "beside a trade of ours the broker could close that one instead"
    Trade.objects.filter(account=case.account, instrument=case.instrument).update(state=Trade.State.CLOSED)
    assert "SELL 700 EURUSD" in signed_in("ada").get(url(case)).content.decode()
    propose(signed_in("ada"), case, action="flatten")
    bob = signed_in("bob")
    assert "FLATTEN" in bob.get(url(case)).content.decode().split('id="decide"')[0]
    assert "1 order is on its way to the broker" in told(bob.post(url(case, "decide"), verdict(case, "APPROVE")))
    order = Order.objects.get(application__proposal=case.proposal)
    assert (order.tag, order.side, order.quantity, order.state) == ("FLATTEN", "SELL", 700, "PLANNED")
    assert order.client_order_id in bob.get(url(case)).content.decode()
    story = bob.get(reverse("admin:trading_order_change", args=[order.pk])).content.decode()
    assert "ticket 12: bought by hand" in story, "the order's page names the proposal it comes from"


def test_the_list_costs_a_fixed_number_of_queries(case: Discrepancy, signed_in: SignIn, world: World) -> None:
    client = signed_in("charlie")
    address = reverse("admin:reconciliation_discrepancy_changelist")
    client.get(address)
    counts = []
    for number in (0, 5):
        for copy in range(number):
            case.pk, case.fingerprint, case.key = None, f"{copy:064d}", f"copy {copy}"
            case.save(force_insert=True)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 28, counts


@pytest.mark.parametrize("name", ["run", "snapshot"])
def test_runs_and_snapshots_are_listed_and_cannot_be_edited(name: str, case: Discrepancy, signed_in: SignIn) -> None:
    client = signed_in("charlie")
    listed = client.get(reverse(f"admin:reconciliation_{name}_changelist"))
    assert listed.context["cl"].result_count > 0
    row = listed.context["cl"].result_list[0]
    page = reverse(f"admin:reconciliation_{name}_change", args=[row.pk])
    assert client.get(page).status_code == 200
    assert client.post(page, {}).status_code == 403


def test_reconcile_now_is_a_post_for_operators_and_a_broker_that_is_away_becomes_a_message(
    world: World, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OANDA_API_KEY", "OANDA_ACCOUNT_ID"):
        monkeypatch.delenv(name, raising=False)
    address = reverse("admin:reconciliation_run_reconcile", args=[world.account.pk])
    ada = signed_in("ada")
    account_page = reverse("admin:trading_account_change", args=[world.account.pk])
    assert address in ada.get(account_page).content.decode()
    assert address not in signed_in("charlie").get(account_page).content.decode()
    assert signed_in("charlie").post(address).status_code == 403
    assert ada.get(address).status_code == 405
    answer = ada.post(address)
    assert "OANDA_API_KEY and OANDA_ACCOUNT_ID must be set" in told(answer)
    run = Run.objects.get()
    assert run.status == "FAILED"
    assert answer.url == reverse("admin:reconciliation_run_change", args=[run.pk])
    assert AuditEvent.objects.get(kind="reconciliation.requested").actor == world.people["ada"]
    assert not Discrepancy.objects.exists()
    assert "concludes nothing" in ada.get(answer.url).content.decode()
