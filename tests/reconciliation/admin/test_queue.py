"""The queue: its saved views, ages, bulk decisions through the same services, and the export of what is shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from reconciliation.models import Discrepancy
from reconciliation.services import notes
from tests.trading.admin.world import World
from trading.models import Approval, Position, Proposal
from trading.services.audit import Actor

SignIn = Callable[[str], Client]
QUEUE = "admin:reconciliation_discrepancy_changelist"


def copy_of(case: Discrepancy, number: int, **fields: Any) -> Discrepancy:
    """One more case like it."""
    made = Discrepancy.objects.get(pk=case.pk)
    made.pk, made.fingerprint, made.key = None, f"{number:064d}", f"COPY{number}"
    for name, value in fields.items():
        setattr(made, name, value)
    made.save(force_insert=True)
    return made


def listed(client: Client, query: str = "") -> list[str]:
    return [row.key for row in client.get(reverse(QUEUE) + query).context["cl"].result_list]


def told(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


def act(client: Client, action: str, cases: list[Discrepancy], query: str = "", **more: str) -> Any:
    data = {"action": action, "_selected_action": [case.pk for case in cases], **more}
    return client.post(reverse(QUEUE) + query, data)


def test_the_queue_opens_on_live_cases_the_gravest_and_oldest_first(case: Discrepancy, signed_in: SignIn) -> None:
    copy_of(case, 1, state="CLOSED")
    copy_of(case, 2, severity="CRITICAL")
    copy_of(case, 3, first_seen_at=case.first_seen_at - timedelta(days=2))
    copy_of(case, 4, severity="LOW", state="SUSPECTED")
    client = signed_in("charlie")
    assert listed(client) == ["COPY2", "COPY3", "EURUSD", "COPY4"]
    assert listed(client, "?standing=review") == ["COPY2", "COPY3", "EURUSD"]
    assert listed(client, "?standing=ended") == ["COPY1"]
    assert len(listed(client, "?standing=all")) == 5
    views = client.get(reverse(QUEUE)).context["views"]
    assert {name: number for _, name, number, _ in views}["Live"] == 4
    assert [name for _, name, _, shown in views if shown] == ["Live"]


@pytest.mark.parametrize(
    ("old", "bucket"),
    [(timedelta(minutes=5), "hour"), (timedelta(hours=5), "day"), (timedelta(days=2), "days"), (timedelta(9), "older")],
)
def test_the_age_filter_counts_on_the_accounts_clock(
    old: timedelta, bucket: str, case: Discrepancy, signed_in: SignIn
) -> None:
    Discrepancy.objects.update(first_seen_at=case.last_seen_at - old)
    client = signed_in("charlie")
    for word in ("hour", "day", "days", "older"):
        assert listed(client, f"?age={word}") == (["EURUSD"] if word == bucket else [])


def test_a_difference_is_written_with_its_sign(case: Discrepancy, signed_in: SignIn) -> None:
    copy_of(case, 1, difference=Decimal("-12.5"))
    page = signed_in("charlie").get(reverse(QUEUE)).content.decode()
    assert 'change more">+700<' in page and 'change less">-12.5<' in page


def test_several_are_proposed_with_one_reason_and_refusals_stop_nobody(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    suspected = copy_of(case, 1, state="SUSPECTED")
    ada = signed_in("ada")
    page = act(ada, "propose_selected", [case, suspected])
    assert "1 of 2 selected" in page.content.decode()
    assert "It is suspected, not open." in page.content.decode()
    assert not Proposal.objects.filter(subject_id=case.pk, kind__startswith="reconciliation").exists()
    confirmed = {
        f"action-{case.pk}": "book_fills",
        f"action-{suspected.pk}": "book_fills",
        "reason": "by hand, ticket 12",
    }
    answer = act(ada, "propose_selected", [case, suspected], confirmed="1", **confirmed)
    done = told(answer)
    assert any("EURUSD: proposed to book the broker's fills" in line for line in done), done
    assert any("COPY1" in line and "SUSPECTED" in line for line in done), done
    case.refresh_from_db()
    assert case.state == "PROPOSED"


def test_several_are_approved_each_with_the_hash_that_was_shown(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    ada, bob = signed_in("ada"), signed_in("bob")
    confirmed = {f"action-{case.pk}": "book_fills", "reason": "by hand, ticket 12"}
    act(ada, "propose_selected", [case], confirmed="1", **confirmed)
    case.refresh_from_db()
    assert case.proposal is not None
    page = act(bob, "approve_selected", [case]).content.decode()
    assert case.proposal.payload_sha256 in page and "BUY 700 EUR_USD" in page
    seen = {
        f"approve-{case.pk}": "1",
        f"proposal-{case.pk}": str(case.proposal.pk),
        f"payload-{case.pk}": case.proposal.payload_sha256,
        f"version-{case.pk}": str(case.proposal.subject_version),
    }
    forged = act(bob, "approve_selected", [case], confirmed="1", **{**seen, f"payload-{case.pk}": "0" * 64})
    assert "another payload or version" in " ".join(told(forged))
    assert Position.objects.get(account=world.account).quantity == 10000
    answer = act(bob, "approve_selected", [case], confirmed="1", **seen)
    assert "approved and applied" in " ".join(told(answer))
    assert Position.objects.get(account=world.account).quantity == 10700


def test_nobody_approves_in_bulk_what_they_proposed_or_have_no_right_to(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    act(
        signed_in("ada"),
        "propose_selected",
        [case],
        confirmed="1",
        reason="ticket 12",
        **{f"action-{case.pk}": "accept"},
    )
    case.refresh_from_db()
    assert case.proposal is not None
    seen = {
        f"approve-{case.pk}": "1",
        f"proposal-{case.pk}": str(case.proposal.pk),
        f"payload-{case.pk}": case.proposal.payload_sha256,
        f"version-{case.pk}": str(case.proposal.subject_version),
    }
    page = act(signed_in("ada2"), "approve_selected", [case]).content.decode()
    assert "ada proposed this; a second person must approve." in page
    assert f'name="approve-{case.pk}"' not in page
    refused = act(signed_in("ada2"), "approve_selected", [case], confirmed="1", **seen)
    assert "whoever proposed cannot approve" in " ".join(told(refused))
    for name in ("ada", "charlie"):
        act(signed_in(name), "approve_selected", [case], confirmed="1", **seen)
    act(signed_in("charlie"), "propose_selected", [case], confirmed="1", **seen)
    assert not Approval.objects.filter(proposal=case.proposal).exists()
    assert "propose_selected" not in signed_in("charlie").get(reverse(QUEUE)).content.decode()


def test_the_export_has_the_rows_of_the_filter_and_no_formula(case: Discrepancy, signed_in: SignIn) -> None:
    copy_of(case, 1, state="CLOSED", closed_at=case.last_seen_at)
    copy_of(case, 2, cause='=HYPERLINK("x")', difference=Decimal("-12.500000000000"))
    client = signed_in("charlie")
    address = reverse("admin:reconciliation_discrepancy_export")

    def rows(query: str) -> list[dict[str, str]]:
        answer = client.get(address + query)
        assert answer["Content-Type"].startswith("text/csv")
        return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))

    assert {row["key"] for row in rows("")} == {"EURUSD", "COPY2"}
    assert [row["key"] for row in rows("?standing=ended")] == ["COPY1"]
    two = next(row for row in rows("") if row["key"] == "COPY2")
    assert (two["cause"], two["difference"], two["broker"]) == ('\'=HYPERLINK("x")', "-12.5", "10700")
    assert Client().get(address).status_code == 302, "to the login"


def owned(case: Discrepancy, world: World, name: str) -> None:
    user = world.people[name]
    notes.take(discrepancy_id=case.pk, person=user, actor=Actor.of(user, via="admin"))


def test_the_queue_is_filtered_by_owner_label_state_instrument_and_term(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    copy_of(case, 1, state="CLOSED", closed_at=case.last_seen_at)
    late = copy_of(case, 2, severity="CRITICAL", opened_at=case.last_seen_at - timedelta(minutes=16))
    copy_of(case, 3, instrument=None, commodity="USD", severity="LOW")
    copy_of(case, 4, severity="CRITICAL", state="APPLIED", opened_at=case.last_seen_at - timedelta(days=9))
    owned(late, world, "ada")
    bob = world.people["bob"]
    notes.label(discrepancy_id=late.pk, add=["broker ticket", "fees"], person=bob, actor=Actor.of(bob, via="admin"))
    ada = signed_in("ada")
    everything = {"EURUSD", "COPY2", "COPY3", "COPY4"}
    assert set(listed(ada)) == everything
    for query, wanted in {
        "?owner=me": {"COPY2"},
        "?owner=nobody": everything - {"COPY2"},
        f"?owner={world.people['ada'].pk}": {"COPY2"},
        "?owner=nonsense": everything,
        "?label=fees": {"COPY2"},
        "?label=fee": set(),
        "?term=overdue": {"COPY2"},
        "?term=running": {"EURUSD", "COPY3"},
        "?state__exact=CLOSED": {"COPY1"},
        "?state__exact=CLOSED&standing=live": set(),
        "?instrument=EURUSD": everything - {"COPY3"},
        "?kind=QUANTITY_MISMATCH&severity__exact=LOW": {"COPY3"} if case.kind == "QUANTITY_MISMATCH" else set(),
    }.items():
        assert set(listed(ada, query)) == wanted, query
    assert listed(signed_in("bob"), "?owner=me") == []
    page = ada.get(reverse(QUEUE)).content.decode()
    assert "overdue " in page and "broker ticket, fees" in page and "ada" in page


def test_cases_that_are_alike_stand_in_one_line_that_leads_to_all_of_them(case: Discrepancy, signed_in: SignIn) -> None:
    for number in range(1, 13):
        copy_of(case, number)
    copy_of(case, 20, instrument=None, commodity="USD", severity="CRITICAL")
    copy_of(case, 21, state="CLOSED")
    client = signed_in("charlie")
    address = reverse("admin:reconciliation_discrepancy_groups")
    answer = client.get(address)
    lines = answer.context["lines"]
    assert [(line.number, line.about, len(line.cases), line.more) for line in lines] == [
        (1, "USD", 1, 0), (13, "EURUSD", 10, 3),
    ]  # fmt: skip
    assert "All 13, 3 more than here" in answer.content.decode()
    assert [client.get(line.address).context["cl"].result_count for line in lines] == [1, 13]
    assert [line.number for line in client.get(address + "?instrument=EURUSD").context["lines"]] == [13]
    assert "there is nothing to put together" in client.get(address + "?owner=me").content.decode()
    assert Client().get(address).status_code == 302


def test_several_are_rejected_each_with_what_was_seen_and_refusals_stop_nobody(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    other = copy_of(case, 1)
    ada, bob = signed_in("ada"), signed_in("bob")
    proposals = {f"action-{one.pk}": "accept" for one in (case, other)}
    act(ada, "propose_selected", [case, other], confirmed="1", reason="ticket 12", **proposals)
    idle = copy_of(case, 2, state="OPEN", proposal=None)
    for one in (case, other):
        one.refresh_from_db()
    page = act(bob, "reject_selected", [case, other, idle]).content.decode()
    assert "2 of 3 selected" in page and "It is open: no proposal waits." in page and "ticket 12" in page
    assert "a second person must decide" in act(signed_in("ada2"), "reject_selected", [case]).content.decode()
    seen = {f"do-{one.pk}": "1" for one in (case, other, idle)}
    seen |= {f"proposal-{case.pk}": str(case.proposal_id), f"proposal-{other.pk}": "999999"}
    told_of = told(act(bob, "reject_selected", [case, other, idle], confirmed="1", reason="no", **seen))
    assert sum("five characters" in line for line in told_of) == 1 and len(told_of) == 3, told_of
    told_of = told(act(bob, "reject_selected", [case, other, idle], confirmed="1", reason="it is ours", **seen))[-3:]
    assert any("EURUSD: rejected. The case is open again." in line for line in told_of), told_of
    assert sum("not this case's any more" in line for line in told_of) == 2
    case.refresh_from_db()
    other.refresh_from_db()
    assert (case.state, other.state) == ("OPEN", "PROPOSED")
    assert Approval.objects.get(verdict="REJECT").proposal.subject_id == case.pk
    assert told(act(bob, "reject_selected", [case], confirmed="1", reason="it is ours"))[-1].startswith("No case was")


def test_several_are_withdrawn_by_their_proposer_alone(case: Discrepancy, signed_in: SignIn, world: World) -> None:
    ada = signed_in("ada")
    act(ada, "propose_selected", [case], confirmed="1", reason="ticket 12", **{f"action-{case.pk}": "accept"})
    case.refresh_from_db()
    seen = {f"do-{case.pk}": "1", f"proposal-{case.pk}": str(case.proposal_id), "reason": "wrong ticket"}
    assert "withdraw_selected" not in signed_in("bob").get(reverse(QUEUE)).content.decode()
    act(signed_in("bob"), "withdraw_selected", [case], confirmed="1", **seen)
    case.refresh_from_db()
    assert case.state == "PROPOSED"
    assert "Accept the difference" in act(ada, "withdraw_selected", [case]).content.decode()
    assert "withdrawn" in " ".join(told(act(ada, "withdraw_selected", [case], confirmed="1", **seen)))
    case.refresh_from_db()
    assert (case.state, case.proposal) == ("OPEN", None)


def test_several_are_taken_and_labelled_by_whoever_may_work_on_them(
    case: Discrepancy, signed_in: SignIn, world: World
) -> None:
    mine, others = copy_of(case, 1), copy_of(case, 2)
    owned(mine, world, "bob")
    owned(others, world, "ada")
    cases = [case, mine, others]
    bob = signed_in("bob")
    page = act(bob, "take_selected", cases).content.decode()
    assert "1 of 3 selected" in page and "It is yours already." in page and "ada&#x27;s" in page
    ticked = {f"do-{one.pk}": "1" for one in cases}
    told_of = told(act(bob, "take_selected", cases, confirmed="1", **ticked))
    assert len(told_of) == 3 and sum("yours now" in line for line in told_of) == 1, told_of
    told_of = told(act(bob, "label_selected", cases, confirmed="1", add="Fees, dealing desk", remove="", **ticked))
    assert sum("labelled dealing desk, fees." in line for line in told_of) == 3, told_of
    told_of = told(act(bob, "label_selected", [case], confirmed="1", add="", remove="fees,dealing desk", **ticked))
    assert "has no label any more" in told_of[-1]
    charlie = signed_in("charlie")
    for action in ("take_selected", "label_selected"):
        assert action not in charlie.get(reverse(QUEUE)).content.decode()
        act(charlie, action, cases, confirmed="1", add="x", **ticked)
    owners = {one.key: one.owner.username for one in Discrepancy.objects.exclude(owner=None).select_related("owner")}
    assert owners == {"EURUSD": "bob", "COPY1": "bob", "COPY2": "ada"}
    assert not Discrepancy.objects.filter(labels__contains=["x"]).exists()
