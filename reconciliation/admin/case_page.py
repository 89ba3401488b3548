"""What the page of one discrepancy shows, and what the person in front of it may do there."""

from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString

from reconciliation.models import Discrepancy
from trading.admin import values
from trading.admin.approvals import VERDICT_COLUMNS, applied_panels, verdict_rows
from trading.admin.pages import Panel, Raw, Table, audit_panel
from trading.clock import now
from trading.models import Application, User

STATE = Discrepancy.State
PROPOSABLE = (STATE.SUSPECTED, STATE.OPEN)


def age(case: Discrepancy, moment: datetime) -> timedelta:
    """How long it has stood, on the account's clock."""
    ended = case.closed_at if case.state in (STATE.CLOSED, STATE.CLEARED) else None
    return (ended or moment) - case.first_seen_at


def facts(case: Discrepancy) -> list[tuple[str, SafeString]]:
    """Where it stands and since when."""
    shown: list[tuple[str, Any]] = [
        ("Severity", values.pill(case.severity)),
        ("State", values.pill(case.state)),
        ("Account", case.account),
        ("Instrument", case.instrument),
        ("Age", age(case, now(case.account))),
        ("First seen (UTC, account's clock)", case.first_seen_at),
        ("Confirmed (UTC, account's clock)", case.opened_at),
        ("Last seen (UTC, account's clock)", case.last_seen_at),
        ("Closed (UTC, account's clock)", case.closed_at),
        ("Times seen", f"{case.times_seen}, reopened {case.times_reopened}"),
        ("First run", values.link(case.first_run)),
        ("Last run", values.link(case.last_run)),
        ("Version", str(case.version)),
    ]
    return [(name, values.show(value)) for name, value in shown]


def panels(case: Discrepancy) -> list[Panel]:
    """Earlier and present proposals with their verdicts, what was applied, evidence, timeline, audit."""
    shown: list[Panel] = []
    if case.proposal is not None:
        names = VERDICT_COLUMNS
        shown.append(Table("Verdicts on the proposal", names, verdict_rows(case.proposal), "Nobody has decided yet."))
        application = Application.objects.filter(proposal=case.proposal).first()
        if application is not None:
            shown += applied_panels(application)
    return [*shown, Raw("Evidence", case.evidence), timeline(case), audit_panel(case)]


def timeline(case: Discrepancy) -> Table:
    """Every step, with who and why."""
    rows = [
        (
            event.sequence,
            event.at,
            event.kind,
            values.pill(event.to_state),
            event.actor.get_username() if event.actor else "the system",
            event.reason,
            values.link(event.run) if event.run else values.link(event.proposal) if event.proposal else None,
            event.details,
        )
        for event in case.events.select_related("actor", "run", "proposal").order_by("sequence")
    ]
    names = ("#", "At (UTC, account's clock)", "Step", "State", "Who", "Reason", "Because of", "Details")
    return Table("Timeline", names, rows)


def decision(request: HttpRequest, case: Discrepancy) -> dict[str, Any]:
    """Context of the decision: the live proposal with the buttons of this person, or the form to make one."""
    user = request.user
    assert isinstance(user, User)
    comparison = [("Our books", case.books_value), ("The broker", case.broker_value)]
    context: dict[str, Any] = {
        "compared": [(name, values.show(value)) for name, value in comparison],
        "difference": values.signed_number(case.difference) if case.difference is not None else "",
    }
    if case.proposal is not None and case.state in (STATE.PROPOSED, STATE.APPROVED):
        context["live"] = live_proposal(case.proposal, user)
    elif case.state in PROPOSABLE and user.has_perm("trading.propose"):
        context["options"] = options(case)
    return context
