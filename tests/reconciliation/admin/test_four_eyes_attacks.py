"""Whoever proposed, on every path there is: pages, services, ORM, SQL, tasks and commands; with one sign-in or two."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.contrib import admin
from django.core.management import call_command, get_commands
from django.core.management.base import CommandError
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse

from reconciliation.engine.applications import sweep
from reconciliation.models import Discrepancy
from reconciliation.services import resolutions
from reconciliation.services.applying import apply
from reconciliation.tasks import tick
from tests.reconciliation.admin.test_discrepancy_page import url, verdict
from tests.reconciliation.admin.test_queue import act
from tests.reconciliation.conftest import TEST
from tests.trading.admin.world import World
from trading.clock import wall_now
from trading.models import Application, Approval, AuditEvent, Entry, Person, Proposal, User
from trading.services import approvals
from trading.services.errors import RuleBroken


@dataclass
class Attack:
    """A proposal, and the user who tries to decide on it alone."""

    case: Discrepancy
    proposal: Proposal
    user: User

    @property
    def seen(self) -> dict[str, object]:
        """What an approval must name."""
        return {"payload_sha256": self.proposal.payload_sha256, "subject_version": self.proposal.subject_version}

    def client(self) -> Client:
        """The user, signed in once more."""
        client = Client(raise_request_exception=False)
        client.force_login(self.user)
        return client

    def sql(self, statement: str, *values: str | int | None) -> None:
        """As the application login."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, values)


def by_the_service_of_cases(attack: Attack) -> None:
    resolutions.approve(proposal_id=attack.proposal.pk, approver=attack.user, actor=TEST, **attack.seen)  # type: ignore[arg-type]


def by_the_service_of_approvals(attack: Attack) -> None:
    approvals.decide(
        proposal=attack.proposal,
        approver=attack.user,
        verdict="APPROVE",
        actor=TEST,
        **attack.seen,  # type: ignore[arg-type]
    )


def by_applying_without_an_approval(attack: Attack) -> None:
    apply(proposal_id=attack.proposal.pk, actor=TEST, applied_by=attack.user)


def by_recording_an_application(attack: Attack) -> None:
    approvals.record_application(proposal=attack.proposal, applied_by=attack.user, result={}, actor=TEST)


def by_the_orm(attack: Attack) -> None:
    with transaction.atomic():
        Approval.objects.create(
            at=wall_now(), proposal=attack.proposal, approver=attack.user, verdict="APPROVE", **attack.seen
        )


def by_the_orm_in_bulk(attack: Attack) -> None:
    row = Approval(at=wall_now(), proposal=attack.proposal, approver=attack.user, verdict="APPROVE", **attack.seen)
    with transaction.atomic():
        Approval.objects.bulk_create([row])


def by_an_application_in_the_orm(attack: Attack) -> None:
    with transaction.atomic():
        Application.objects.create(at=wall_now(), proposal=attack.proposal, applied_by=attack.user, result={})


def by_sql(attack: Attack) -> None:
    attack.sql(
        "INSERT INTO trading_approval (at, recorded_at, proposal_id, approver_id, verdict, payload_sha256, "
        "subject_version, reason) VALUES (now(), now(), %s, %s, 'APPROVE', %s, %s, '')",
        attack.proposal.pk, attack.user.pk, attack.proposal.payload_sha256, attack.proposal.subject_version,
    )  # fmt: skip


def by_an_application_in_sql(attack: Attack) -> None:
    attack.sql(
        "INSERT INTO trading_application (at, recorded_at, proposal_id, applied_by_id, result) "
        "VALUES (now(), now(), %s, %s, '{}')",
        attack.proposal.pk, attack.user.pk,
    )  # fmt: skip


def by_becoming_another_person(attack: Attack) -> None:
    with transaction.atomic():
        User.objects.filter(pk=attack.user.pk).update(person=Person.objects.create(name="Somebody else"))


def by_giving_the_proposal_to_another(attack: Attack) -> None:
    attack.sql("UPDATE trading_proposal SET proposer_id = %s WHERE id = %s", attack.user.pk + 1, attack.proposal.pk)


def by_asking_for_no_approval(attack: Attack) -> None:
    attack.sql("UPDATE trading_proposal SET approvals_required = 0 WHERE id = %s", attack.proposal.pk)


def by_switching_the_rule_off(attack: Attack) -> None:
    attack.sql("ALTER TABLE trading_approval DISABLE TRIGGER guard_approval")


def by_the_ledgers_door(attack: Attack) -> None:
    day = "2026-03-02"
    when = {"at": f"{day}T08:00:00Z", "trading_day": day, "value_date": day}
    body = {"key": "attack", "kind": "EXTERNAL_FILL", "account_id": attack.case.account_id, "transfers": [], **when}
    attack.sql("SELECT ledger_post(%s::jsonb)", json.dumps(body))


def by_the_page_of_the_case(attack: Attack) -> None:
    attack.client().post(url(attack.case, "decide"), verdict(attack.case, "APPROVE"))


def by_the_list_of_cases(attack: Attack) -> None:
    number = attack.case.pk
    act(
        attack.client(), "approve_selected", [attack.case], confirmed="1",
        **{f"approve-{number}": "1", f"proposal-{number}": str(attack.proposal.pk),
           f"payload-{number}": attack.proposal.payload_sha256,
           f"version-{number}": str(attack.proposal.subject_version)},
    )  # fmt: skip


def by_the_forms_of_the_admin(attack: Attack) -> None:
    form = {"proposal": attack.proposal.pk, "approver": attack.user.pk, "verdict": "APPROVE", "_save": "1"}
    for model in (Approval, Application):
        answer = attack.client().post(reverse(f"admin:trading_{model._meta.model_name}_add"), form)
        assert answer.status_code == 403
    form = {"form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "form-0-id": str(attack.case.pk),
            "form-0-state": "APPROVED", "_save": "Save"}  # fmt: skip
    attack.client().post(reverse("admin:reconciliation_discrepancy_changelist"), form)


def by_the_tasks(attack: Attack) -> None:
    sweep(attack.case.account)
    tick()


def by_a_command(attack: Attack) -> None:
    ours = {name for name, app in get_commands().items() if app in ("backoffice", "trading", "reconciliation")}
    assert not [name for name in ours if "approve" in name or "apply" in name], "there is no such command"
    with pytest.raises((CommandError, SystemExit)):
        call_command("reconcile", "--approve", str(attack.proposal.pk))


PATHS: tuple[Callable[[Attack], None], ...] = (
    by_the_service_of_cases, by_the_service_of_approvals, by_applying_without_an_approval, by_recording_an_application,
    by_the_orm, by_the_orm_in_bulk, by_an_application_in_the_orm, by_sql, by_an_application_in_sql,
    by_becoming_another_person, by_giving_the_proposal_to_another, by_asking_for_no_approval, by_switching_the_rule_off,
    by_the_ledgers_door, by_the_page_of_the_case, by_the_list_of_cases, by_the_forms_of_the_admin, by_the_tasks,
    by_a_command,
)  # fmt: skip
ANSWERS = (RuleBroken, DatabaseError)


def _cast(world: World) -> list[User]:
    """Ada as she is, her second user, who may approve, and ada as a superuser."""
    root = User.objects.create_superuser("root", password="x", person=world.people["ada"].person)
    return [world.people["ada"], world.people["ada2"], root]


@pytest.mark.scenario("S-73")
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_nobody_decides_alone_whatever_the_path(
    path: Callable[[Attack], None], world: World, case: Discrepancy
) -> None:
    made = resolutions.propose(
        discrepancy_id=case.pk,
        action="book_fills",
        reason="seen at the broker",
        proposer=world.people["ada"],
        actor=TEST,
    )
    before = Entry.objects.count()
    for user in _cast(world):
        try:
            path(Attack(case, made, user))
        except ANSWERS as refusal:
            assert str(refusal), "refused with a reason"
        case.refresh_from_db()
        made.refresh_from_db()
        assert (case.state, case.proposal, made.proposer) == ("PROPOSED", made, world.people["ada"]), user
        assert not made.approvals.exists() and not Application.objects.filter(proposal=made).exists(), user
        assert Entry.objects.count() == before, user
    assert not AuditEvent.objects.filter(kind="proposal.approve", object_id=str(made.pk)).exists()


DECIDING = (by_the_service_of_cases, by_the_service_of_approvals, by_the_orm, by_the_orm_in_bulk, by_sql,
            by_the_page_of_the_case, by_the_list_of_cases)  # fmt: skip
APPLYING = (by_recording_an_application, by_an_application_in_the_orm, by_an_application_in_sql)


@pytest.mark.parametrize("path", [*DECIDING, *APPLYING], ids=lambda path: path.__name__)
def test_the_same_path_is_open_to_a_second_person(
    path: Callable[[Attack], None], world: World, case: Discrepancy
) -> None:
    """Else the refusals above would prove nothing."""
    ada, bob = world.people["ada"], world.people["bob"]
    made = resolutions.propose(
        discrepancy_id=case.pk, action="book_fills", reason="seen at the broker", proposer=ada, actor=TEST
    )
    attack = Attack(case, made, bob)
    if path in APPLYING:
        by_the_orm(attack)
    path(attack)
    assert made.approvals.get().approver == bob
    assert path not in APPLYING or Application.objects.filter(proposal=made).count() == 1


@pytest.mark.scenario("S-73")
def test_nothing_that_two_people_decide_can_be_edited_in_a_list() -> None:
    edited = {model.__name__: model_admin.list_editable for model, model_admin in admin.site._registry.items()}
    assert not [edited[name] for name in ("Discrepancy", "Proposal", "Approval", "Application") if edited.get(name)]
