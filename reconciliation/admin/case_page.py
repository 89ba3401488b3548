"""What the page of one discrepancy shows, and what the person in front of it may do there."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.safestring import SafeString

from reconciliation.models import Discrepancy, DiscrepancyEvent
from reconciliation.selectors.discrepancies import age, application_of, due
from reconciliation.services import notes
from trading.admin import values
from trading.admin.approvals import VERDICT_COLUMNS, verdict_rows
from trading.admin.happened import entries_panel
from trading.admin.intent import orders_table
from trading.admin.pages import Panel, Raw, Table
from trading.clock import now
from trading.models import Entry, Proposal, User

from .linked import broker_words, linked_panels
from .offers import choices, live_proposal, rows_table
from .side_by_side import rows
from .titles import kind_of, term, title_of_case, with_labels
from .work import forms

STATE = Discrepancy.State
WAITING_STATES = (STATE.PROPOSED, STATE.APPROVED)
NOTHING_TO_DO = {
    STATE.SUSPECTED: "It was seen too recently to act on. It opens when further runs confirm it, or clears by itself.",
    STATE.APPLIED: "A resolution was carried out. The next complete run closes the case if books and broker agree.",
    STATE.CLOSED: "Closed: books and broker agree.",
    STATE.CLEARED: "It went away by itself before anybody had to decide.",
}
STEPS = {
    "SEEN": "First seen", "OPENED": "Confirmed by a later run", "CHANGED": "The difference changed",
    "CLEARED": "Gone by itself", "REOPENED": "Came back", "CLOSED": "Closed: books and broker agree",
    "ACCEPTED": "Closed: the accepted difference stands", "ACCEPTANCE_ENDED": "The accepted difference changed",
    "NOT_CURED": "Still there after the resolution", "NOT_FLATTENED": "The closing order did not fill",
    "PROPOSED": "Resolution proposed", "APPROVED": "Approved", "APPLIED": "Carried out", "REJECTED": "Rejected",
    "ASSIGNED": "Given to", "LABELLED": "Labelled", "COMMENTED": "Comment", "RELATED": "Related to",
    "REOPENED_BY_PERSON": "Reopened by a person",
    "WITHDRAWN": "Withdrawn", "EXPIRED": "The proposal expired", "NOT_APPLIED": "Could not be carried out",
}  # fmt: skip
TONES = {"CLOSED": "good", "CLEARED": "good", "ACCEPTED": "good", "APPROVED": "good", "APPLIED": "good",
         "PROPOSED": "info", "REJECTED": "bad", "NOT_CURED": "bad", "NOT_FLATTENED": "bad", "NOT_APPLIED": "bad",
         "EXPIRED": "bad", "REOPENED_BY_PERSON": "info"}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One step in the life of a case, as the timeline shows it."""

    name: str
    tone: str
    at: SafeString
    who: str
    reason: str
    state: SafeString
    source: SafeString
    details: SafeString


def facts(case: Discrepancy) -> list[tuple[str, SafeString]]:
    """Where it stands and since when."""
    shown: list[tuple[str, Any]] = [
        ("State", values.pill(case.state)),
        ("Severity", values.pill(case.severity)),
        ("Account", case.account),
        ("Instrument", case.instrument),
        ("Owner", case.owner.get_username() if case.owner is not None else "nobody"),
        ("Decision due", term(case, now(case.account)) if due(case) is not None else None),
        ("Labels", with_labels(case, SafeString("")) if case.labels else None),
        ("Age", age(case)),
        ("First seen (UTC)", case.first_seen_at),
        ("Confirmed (UTC)", case.opened_at),
        ("Last seen (UTC)", case.last_seen_at),
        ("Closed (UTC)", case.closed_at),
        ("Times seen", f"{case.times_seen}{f', reopened {case.times_reopened}' if case.times_reopened else ''}"),
        ("Runs", values.joined(*(values.link(r, f"run {r.pk}") for r in (case.first_run, case.last_run)))),
        ("Kind", kind_of(case)),
        ("Key", values.code(case.key) if case.key != str(case.instrument) else None),
        ("Version", str(case.version)),
    ]
    return [(name, values.show(value)) for name, value in shown if value is not None]


def panels(case: Discrepancy) -> list[Panel]:
    """What was carried out, orders and fills it may be about, verdicts, evidence."""
    shown: list[Panel] = []
    application = application_of(case)
    if application is not None:
        entries = Entry.objects.filter(application=application).order_by("id")
        orders = application.orders.select_related("instrument", "account")
        posted = entries_panel(entries)
        shown.append(Table("Entries it posted", posted.columns, posted.rows, "It posted nothing."))
        if orders:
            shown.append(orders_table("Orders it placed", orders))
    proposals = Proposal.objects.filter(subject_type=case._meta.label, subject_id=case.pk).order_by("id")
    verdicts = [
        (values.link(proposal, f"proposal {proposal.pk}"), *row)
        for proposal in proposals.select_related("proposer__person")
        for row in verdict_rows(proposal)
    ]
    if verdicts:
        shown.append(Table("Verdicts", ("Proposal", *VERDICT_COLUMNS), verdicts))
    evidence = case.evidence.get("evidence", {})
    fills = [fill for fill in evidence.get("fills", []) if isinstance(fill, dict)]
    if fills:
        shown.append(rows_table("The broker's fills behind it", fills, "None."))
    return [*shown, *linked_panels(case), *broker_words(case), Raw("Evidence, word for word", case.evidence)]


def timeline(case: Discrepancy) -> list[Step]:
    """Every step, the newest first, with who and why."""
    events = case.events.select_related("actor", "run", "proposal").order_by("-sequence")
    return [_step(event, case.cause) for event in events]


def _step(event: DiscrepancyEvent, cause: str) -> Step:
    is_work = event.kind in notes.STEPS
    return Step(
        name=_name(event),
        tone=TONES.get(event.kind, "plain"),
        at=values.show(event.at),
        who=event.actor.get_username() if event.actor else "the desk",
        reason="" if event.actor is None and event.reason == cause else event.details.get("comment", event.reason),
        state=SafeString("") if event.from_state == event.to_state and is_work else values.pill(event.to_state),
        source=SafeString("") if is_work else _source(event),
        details=SafeString("") if is_work else values.raw(event.details, "numbers"),
    )


def _name(event: DiscrepancyEvent) -> str:
    """The step in words; of those that people take beside deciding, with what they say."""
    name = STEPS.get(event.kind, event.kind.replace("_", " ").capitalize())
    if event.kind == notes.ASSIGNED:
        if event.details["owner"] is None:
            return "Released: nobody's case"
        return f"{'Taken by' if event.actor_id == event.details['owner'] else name} {event.details['owner_name']}"
    if event.kind == notes.LABELLED:
        return f"{name}: {', '.join(event.details['labels']) or 'no more'}"
    return f"{name} case {event.details['related']}" if event.kind == notes.RELATED else name


def _source(event: DiscrepancyEvent) -> SafeString:
    """The run or proposal that a step comes from, by its number."""
    if event.run is not None:
        return values.link(event.run, f"run {event.run.pk}")
    return values.link(event.proposal, f"proposal {event.proposal_id}")


def decision(request: HttpRequest, case: Discrepancy) -> dict[str, Any]:
    """Context of the decision: the live proposal with the buttons of this person, or the form to make one."""
    user = request.user
    assert isinstance(user, User)  # the admin's views are behind its login
    context: dict[str, Any] = {
        "ended": case.state in (STATE.CLOSED, STATE.CLEARED),
        "compared": rows(case),
        **forms(request, case),
        "timeline": timeline(case),
        "called": title_of_case(case),
        "was": "When it was last seen: " if case.state in (STATE.CLOSED, STATE.CLEARED) else "",
        "is_demo": settings.BACKOFFICE_DEMO,
        "moves_by_itself": case.state in (STATE.SUSPECTED, STATE.PROPOSED, STATE.APPROVED, STATE.APPLIED),
    }
    if case.proposal is not None and case.state in WAITING_STATES:
        return {**context, "live": live_proposal(case, case.proposal, user)}
    if case.state != STATE.OPEN:
        return {**context, "nothing_to_do": NOTHING_TO_DO.get(STATE(case.state), "")}
    if not user.has_perm("trading.propose"):
        return {**context, "nothing_to_do": "It waits for somebody with the right to propose a resolution."}
    return {**context, **choices(case)}
