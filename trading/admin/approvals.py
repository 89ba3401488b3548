"""Proposals with their verdicts and application: the record of what two people decided. Deciding is done on the page
of what the proposal is about."""

import json
from datetime import datetime
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from trading.clock import wall_now
from trading.models import Application, Approval, Entry, Proposal
from trading.services.approvals import need_in_words, standing

from . import columns, values
from .intent import orders_table
from .pages import Panel, Raw, ReadOnlyAdmin, Table, audit_panel

VERDICT_COLUMNS = ("At (UTC)", "Who", "Person", "Verdict", "Reason", "Payload hash", "Version")


def verdict_rows(proposal: Proposal) -> list[tuple[Any, ...]]:
    """Each verdict, with what the person saw."""
    return [
        (
            verdict.at,
            verdict.approver.get_username(),
            verdict.approver.person.name,
            values.pill(verdict.verdict),
            verdict.reason,
            values.short_code(verdict.payload_sha256),
            verdict.subject_version,
        )
        for verdict in proposal.approvals.select_related("approver__person").order_by("id")
    ]


def _standing(row: Any, moment: datetime) -> str:
    if row.is_applied:
        return "APPLIED"
    for verdict, word in ((Approval.Verdict.REJECT, "REJECTED"), (Approval.Verdict.WITHDRAW, "WITHDRAWN")):
        if any(approval.verdict == verdict for approval in row.approvals.all()):
            return word
    if moment >= row.expires_at:
        return "EXPIRED"
    people = {approval.approver.person_id for approval in row.approvals.all()} - {row.proposer.person_id}
    return "APPROVED" if len(people) >= row.approvals_required else "WAITING"


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    """What was proposed, and where it stands."""

    list_display = (
        "id",
        columns.moment("at", "proposed"),
        columns.link("account"),
        "kind",
        "proposer",
        columns.brief("reason"),
        "state",
        columns.moment("expires_at", "expires"),
    )
    list_filter = ("kind", "account", "proposer")
    list_select_related = ("account", "proposer__person")
    search_fields = ("reason", "kind", "payload_sha256")
    date_hierarchy = "recorded_at"
    hidden = ("payload",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Proposal]:
        """With verdicts, and whether it was applied."""
        applied = Exists(Application.objects.filter(proposal=OuterRef("pk")))
        proposals = super().get_queryset(request).annotate(is_applied=applied)
        annotated: QuerySet[Proposal] = proposals.prefetch_related("approvals__approver")
        return annotated

    @admin.display(description="stands")
    def state(self, proposal: Proposal) -> SafeString:
        """Where it stands now."""
        return values.pill(_standing(proposal, wall_now()))

    def facts(self, subject: Proposal) -> list[tuple[str, SafeString]]:
        """Its standing first."""
        stands = standing(subject)
        needs = need_in_words(subject) if stands == "WAITING" else ""
        about = values.link(subject_of(subject))
        shown = [("Stands", values.pill(stands)), ("Still needs", values.show(needs)), ("About", about)]
        return [*shown, *super().facts(subject)]

    def tools(self, request: HttpRequest, subject: Proposal) -> list[tuple[str, str]]:
        """The page on which it is decided."""
        shown = super().tools(request, subject)
        if subject.kind == "REVERSAL":
            return [*shown, ("Decide on its page", reverse("admin:trading_entry_reverse", args=[subject.subject_id]))]
        if subject.kind == "POLICY":
            return [*shown, ("Decide on its page", reverse("admin:trading_account_policy", args=[subject.subject_id]))]
        if subject.kind == "SIGN_OFF":
            place = [subject.subject_id, json.loads(subject.payload)["day"]]
            return [*shown, ("Review on its page", reverse("admin:reconciliation_signoff_day", args=place))]
        return shown

    def panels(self, request: HttpRequest, subject: Proposal) -> list[Panel]:
        """The payload word for word, the verdicts, and what its application did."""
        application = Application.objects.filter(proposal=subject).first()
        panels: list[Panel] = [
            Raw("Payload", subject.payload, is_open=True),
            Table("Verdicts", VERDICT_COLUMNS, verdict_rows(subject), "Nobody has decided yet."),
        ]
        if application is not None:
            panels += applied_panels(application)
        return [*panels, audit_panel(subject)]


def subject_of(proposal: Proposal) -> Model | None:
    """What a proposal is about, where it still can be shown."""
    try:
        model = apps.get_model(proposal.subject_type)
    except (LookupError, ValueError):
        return None
    found: Model | None = model._default_manager.filter(pk=proposal.subject_id).first()
    return found


def applied_panels(application: Application) -> list[Panel]:
    """What an application did: orders and entries."""
    orders = application.orders.select_related("instrument", "account")
    entries = Entry.objects.filter(application=application)
    rows = [(values.link(e, f"entry {e.pk}"), values.words(e.kind), e.memo, e.recorded_at) for e in entries]
    return [
        orders_table("Orders it placed", orders),
        Table("Entries it posted", ("Entry", "Kind", "Memo", "Recorded (UTC)"), rows),
        Raw("Result", application.result),
    ]


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    """Every verdict."""

    list_display = (
        columns.moment("recorded_at", "at"),
        columns.link("proposal"),
        "approver",
        columns.pill("verdict"),
        columns.brief("reason"),
    )
    list_display_links = (list_display[0],)
    list_filter = ("verdict", "approver")
    list_select_related = ("proposal", "approver")
    date_hierarchy = "recorded_at"


@admin.register(Application)
class ApplicationAdmin(ReadOnlyAdmin):
    """Every application of an approved proposal."""

    list_display = (columns.moment("recorded_at", "at"), columns.link("proposal"), "applied_by")
    list_display_links = (list_display[0],)
    list_select_related = ("proposal", "applied_by")
    date_hierarchy = "recorded_at"

    def panels(self, request: HttpRequest, subject: Application) -> list[Panel]:
        """What it did."""
        return [*applied_panels(subject), audit_panel(subject)]
