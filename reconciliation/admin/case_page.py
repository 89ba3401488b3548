"""What the page of one discrepancy shows, and what the person in front of it may do there."""

from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString

from reconciliation.models import Discrepancy
from reconciliation.selectors.discrepancies import age, application_of
from trading.admin import values
from trading.admin.approvals import VERDICT_COLUMNS, applied_panels, verdict_rows
from trading.admin.pages import Panel, Raw, Table, audit_panel
from trading.models import Proposal, User

from .offers import choices, live_proposal, rows_table

STATE = Discrepancy.State
WAITING_STATES = (STATE.PROPOSED, STATE.APPROVED)
NOTHING_TO_DO = {
    STATE.SUSPECTED: "It was seen too recently to act on. It opens when further runs confirm it, or clears by itself.",
    STATE.APPLIED: "A resolution was carried out. The next complete run closes the case if books and broker agree.",
    STATE.CLOSED: "Closed: books and broker agree.",
    STATE.CLEARED: "It went away by itself before anybody had to decide.",
}


def facts(case: Discrepancy) -> list[tuple[str, SafeString]]:
    """Where it stands and since when."""
    shown: list[tuple[str, Any]] = [
        ("Kind", case.kind),
        ("Severity", values.pill(case.severity)),
        ("State", values.pill(case.state)),
        ("Account", case.account),
        ("Instrument", case.instrument),
        ("Age (account's clock)", age(case)),
        ("First seen (UTC)", case.first_seen_at),
        ("Confirmed (UTC)", case.opened_at),
        ("Last seen (UTC)", case.last_seen_at),
        ("Closed (UTC)", case.closed_at),
        ("Times seen", f"{case.times_seen}, reopened {case.times_reopened}"),
        ("First and last run", values.joined(values.link(case.first_run), values.link(case.last_run))),
        ("Version", str(case.version)),
    ]
    return [(name, values.show(value)) for name, value in shown]


def panels(case: Discrepancy) -> list[Panel]:
    """What was applied, earlier proposals with their verdicts, evidence, timeline, audit."""
    shown: list[Panel] = []
    application = application_of(case)
    if application is not None:
        shown += applied_panels(application)
    proposals = Proposal.objects.filter(subject_type=case._meta.label, subject_id=case.pk).order_by("id")
    verdicts = [
        (values.link(proposal), *row)
        for proposal in proposals.select_related("proposer__person")
        for row in verdict_rows(proposal)
    ]
    shown.append(Table("Verdicts", ("Proposal", *VERDICT_COLUMNS), verdicts, "Nobody has decided anything yet."))
    evidence = case.evidence.get("evidence", {})
    fills = [fill for fill in evidence.get("fills", []) if isinstance(fill, dict)]
    if fills:
        shown.append(rows_table("The broker's fills behind it", fills, "None."))
    return [*shown, Raw("Evidence", case.evidence), timeline(case), audit_panel(case)]


def timeline(case: Discrepancy) -> Table:
    """Every step, with who and why."""
    rows = [
        (
            event.sequence,
            event.at,
            event.kind,
            values.pill(event.to_state),
            event.actor.get_username() if event.actor else "the desk",
            event.reason,
            values.link(event.run or event.proposal),
            event.details,
        )
        for event in case.events.select_related("actor", "run", "proposal").order_by("sequence")
    ]
    return Table("Timeline", ("#", "At (UTC)", "Step", "State", "Who", "Reason", "From", "Details"), rows)


def decision(request: HttpRequest, case: Discrepancy) -> dict[str, Any]:
    """Context of the decision: the live proposal with the buttons of this person, or the form to make one."""
    user = request.user
    assert isinstance(user, User)  # the admin's views are behind its login
    compared = (("Our books", case.books_value), ("The broker", case.broker_value))
    context: dict[str, Any] = {
        "ended": case.state in (STATE.CLOSED, STATE.CLEARED),
        "compared": [(name, values.show(value)) for name, value in compared],
        "difference": values.signed_number(case.difference) if case.difference is not None else "",
    }
    if case.proposal is not None and case.state in WAITING_STATES:
        return {**context, "live": live_proposal(case, case.proposal, user)}
    if case.state != STATE.OPEN:
        return {**context, "nothing_to_do": NOTHING_TO_DO.get(STATE(case.state), "")}
    if not user.has_perm("trading.propose"):
        return {**context, "nothing_to_do": "It waits for somebody with the right to propose a resolution."}
    return {**context, **choices(case)}
