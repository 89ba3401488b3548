"""Two people: whoever proposed a resolution cannot approve it, whatever way is tried, and it is applied once."""

from __future__ import annotations

import threading

import pytest
from django.db import DatabaseError, connection, connections, transaction

from reconciliation.engine.applications import sweep
from reconciliation.models import Discrepancy
from reconciliation.services import resolutions
from reconciliation.services.applying import apply
from reconciliation.services.payloads import preview
from tests.reconciliation.conftest import EURUSD, TEST, Desk, People
from trading.clock import wall_now
from trading.models import Application, Approval, Entry, Proposal, User
from trading.services.errors import RuleBroken


@pytest.fixture
def case(desk: Desk) -> Discrepancy:
    """An open case about somebody else's trade."""
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.reconcile()
    desk.reconcile()
    return desk.case(state="OPEN")


@pytest.fixture
def proposal(case: Discrepancy, desk: Desk, people: People) -> Proposal:
    """Ada's proposal to book the fills."""
    return desk.propose(case, "book_fills", people.ada)


def nothing_was_posted() -> bool:
    """No application, and nothing in the books that needs one."""
    return not Application.objects.exists() and not Entry.objects.filter(kind="EXTERNAL_FILL").exists()


@pytest.mark.parametrize("who", ["ada", "adas_other_user"])
def test_the_proposer_cannot_approve_through_the_service_with_any_of_her_users(
    who: str, desk: Desk, people: People, proposal: Proposal
) -> None:
    with pytest.raises(RuleBroken, match="whoever proposed cannot approve"):
        desk.approve(proposal, getattr(people, who))
    assert sweep(desk.account) == 0 and nothing_was_posted()


@pytest.mark.parametrize("who", ["ada", "adas_other_user"])
def test_the_proposer_cannot_approve_through_the_orm(who: str, people: People, proposal: Proposal) -> None:
    with pytest.raises(DatabaseError, match="four eyes"), transaction.atomic():
        Approval.objects.create(
            at=wall_now(),
            proposal=proposal,
            approver=getattr(people, who),
            verdict="APPROVE",
            payload_sha256=proposal.payload_sha256,
            subject_version=proposal.subject_version,
        )


@pytest.mark.parametrize("who", ["ada", "adas_other_user"])
def test_the_proposer_cannot_approve_in_sql_as_the_application_login(
    who: str, people: People, proposal: Proposal
) -> None:
    with pytest.raises(DatabaseError, match="four eyes"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO trading_approval (at, recorded_at, proposal_id, approver_id, verdict, payload_sha256, "
            "subject_version, reason) VALUES (now(), now(), %s, %s, 'APPROVE', %s, %s, '')",
            [proposal.pk, getattr(people, who).pk, proposal.payload_sha256, proposal.subject_version],
        )


def test_an_application_without_an_approval_is_refused_by_the_database(proposal: Proposal) -> None:
    with pytest.raises(DatabaseError, match="four eyes"), transaction.atomic():
        Application.objects.create(at=wall_now(), proposal=proposal)


def test_a_superuser_who_proposed_cannot_approve_either(desk: Desk, case: Discrepancy) -> None:
    root = User.objects.create_superuser("root", password="x")
    made = desk.propose(case, "accept", root)
    with pytest.raises(RuleBroken, match="whoever proposed cannot approve"):
        desk.approve(made, root)


def test_an_operator_may_not_approve_and_an_approver_may_not_propose(
    desk: Desk, people: People, case: Discrepancy
) -> None:
    with pytest.raises(RuleBroken, match="bob may not propose"):
        desk.propose(case, "book_fills", people.bob)
    eve = User.objects.create_user("eve", password="x")
    made = desk.propose(case, "book_fills", people.ada)
    with pytest.raises(RuleBroken, match="eve may not approve"):
        desk.approve(made, eve)


def test_an_approval_must_name_the_hash_that_was_shown(desk: Desk, people: People, proposal: Proposal) -> None:
    with pytest.raises(RuleBroken, match="another payload"):
        resolutions.approve(
            proposal_id=proposal.pk,
            approver=people.bob,
            payload_sha256="0" * 64,
            subject_version=proposal.subject_version,
            actor=TEST,
        )


def test_a_proposal_shows_exactly_what_is_posted(desk: Desk, people: People, case: Discrepancy) -> None:
    seen = preview(case, "flatten")
    (entry,), (order,) = seen.payload["entries"], seen.payload["orders"]
    assert (entry["entry"], entry["side"], entry["quantity"], entry["price"]) == ("EXTERNAL_FILL", "BUY", "1000", "1.1")
    assert order == {
        "tag": "FLATTEN",
        "instrument": "EURUSD",
        "side": "SELL",
        "quantity": "1000",
        "type": "MARKET",
        "reduce_only": True,
    }
    assert "Send a MARKET order to the broker: SELL 1000 EURUSD" in seen.sentences[1]
    assert desk.propose(case, "flatten", people.ada).payload_sha256 == seen.sha256


def test_a_rejected_proposal_gives_the_case_back_and_is_never_applied(
    desk: Desk, people: People, proposal: Proposal, case: Discrepancy
) -> None:
    resolutions.reject(proposal_id=proposal.pk, approver=people.bob, reason="ask the broker first", actor=TEST)
    case.refresh_from_db()
    assert (case.state, case.proposal) == ("OPEN", None)
    with pytest.raises(RuleBroken, match="REJECTED"):
        apply(proposal_id=proposal.pk, actor=TEST)
    assert desk.propose(case, "accept", people.ada).pk != proposal.pk


def test_only_the_proposer_withdraws(people: People, proposal: Proposal, case: Discrepancy) -> None:
    with pytest.raises(RuleBroken, match="only the proposer"):
        resolutions.withdraw(proposal_id=proposal.pk, proposer=people.bob, reason="not needed", actor=TEST)
    resolutions.withdraw(proposal_id=proposal.pk, proposer=people.ada, reason="not needed", actor=TEST)
    case.refresh_from_db()
    assert case.state == "OPEN"


def test_an_action_that_does_not_fit_is_refused_with_what_fits(desk: Desk, people: People, case: Discrepancy) -> None:
    with pytest.raises(RuleBroken, match="book_fills, flatten, accept"):
        desk.propose(case, "close_at_estimate", people.ada)


def test_a_second_proposal_for_the_same_case_is_refused(
    desk: Desk, people: People, proposal: Proposal, case: Discrepancy
) -> None:
    with pytest.raises(RuleBroken, match="waits already"):
        desk.propose(case, "accept", people.ada)


@pytest.mark.scenario("S-76")
def test_a_crash_between_approval_and_application_is_picked_up_once(
    desk: Desk, people: People, proposal: Proposal
) -> None:
    desk.approve(proposal, people.bob)
    assert nothing_was_posted()
    assert sweep(desk.account) == 1
    assert sweep(desk.account) == 0
    assert apply(proposal_id=proposal.pk, actor=TEST).application is not None
    assert Application.objects.count() == 1 and Entry.objects.filter(kind="EXTERNAL_FILL").count() == 1


@pytest.mark.scenario("S-76")
def test_two_workers_that_apply_at_the_same_moment_apply_once(desk: Desk, people: People, proposal: Proposal) -> None:
    desk.approve(proposal, people.bob)
    answers: list[object] = []

    def work() -> None:
        try:
            answers.append(apply(proposal_id=proposal.pk, actor=TEST).application)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(answers) == 4 and len(set(answers)) == 1
    assert Entry.objects.filter(kind="EXTERNAL_FILL").count() == 1


def test_an_entry_that_the_books_refuse_gives_the_case_back(
    desk: Desk, people: People, proposal: Proposal, case: Discrepancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trading.models import InstrumentAlias

    desk.approve(proposal, people.bob)
    InstrumentAlias.objects.filter(symbol=EURUSD).update(valid_until=wall_now())
    outcome = apply(proposal_id=proposal.pk, actor=TEST)
    assert outcome.application is None and "Nothing was posted" in outcome.refused
    case.refresh_from_db()
    assert (case.state, case.proposal) == ("OPEN", None) and nothing_was_posted()


def test_an_expired_proposal_gives_the_case_back(
    desk: Desk, people: People, proposal: Proposal, case: Discrepancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trading.services.approvals.wall_now", lambda: proposal.expires_at)
    assert resolutions.release_expired(account_id=desk.account.pk, actor=TEST) == 1
    case.refresh_from_db()
    assert case.state == "OPEN"


def test_a_payload_that_no_longer_says_what_would_be_posted_is_not_applied(
    desk: Desk, people: People, proposal: Proposal, case: Discrepancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.approve(proposal, people.bob)
    monkeypatch.setattr("reconciliation.services.payloads._fill_entries", lambda row: [{"entry": "something else"}])
    assert "differs from what was approved" in apply(proposal_id=proposal.pk, actor=TEST).refused
    case.refresh_from_db()
    assert (case.state, case.proposal) == ("OPEN", None) and nothing_was_posted()


@pytest.mark.scenario("S-75")
def test_an_approval_for_an_older_version_of_the_case_is_not_applied(
    desk: Desk, people: People, proposal: Proposal, case: Discrepancy
) -> None:
    desk.approve(proposal, people.bob)
    Discrepancy.objects.filter(pk=case.pk).update(version=case.version + 1)
    assert "has changed since the approval" in apply(proposal_id=proposal.pk, actor=TEST).refused
    assert nothing_was_posted()
