"""The page of one account's reconciliation: is the proof whole, what is open, when was the last look, what is limited.

What always holds: the page changes nothing; its one button is the run's own.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import mark_safe

from reconciliation.engine.due import due, slot_of
from reconciliation.models import Run
from reconciliation.selectors.overview import Overview, overview
from reconciliation.selectors.policies import reconciliation_policy
from trading.admin import values
from trading.admin.pages import Table
from trading.models import Account

from .counts import PROOF_COLUMNS, counts_text
from .titles import term

NOT_COMPARED = "No run has compared this account yet, so nothing is proven. Reconcile it now, or wait for the schedule."
PROVEN = "In every commodity the broker's balance is what the books say and the cases explain."
HOLDS, BROKEN = mark_safe('<span class="good">yes</span>'), mark_safe('<span class="bad">no</span>')
DAMAGED = "The proof leaves a rest: something differs that no case explains. Do not sign the day off; run it again."


def page(model_admin: Any, request: HttpRequest, account: Account) -> HttpResponse:
    """The page."""
    seen = overview(account)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": f"Reconciliation of {account}",
        "opts": model_admin.opts,
        "account": account,
        "figures": _figures(account, seen),
        "verdict": _verdict(account, seen),
        "is_proven": seen.compared is not None and not seen.rest,
        "tables": [_proof(seen), _cases(seen), _runs(seen), _restrictions(seen)],
        "may_run": request.user.has_perm("trading.propose") and account.is_active and not account.is_paper_book,
    }
    return TemplateResponse(request, "admin/reconciliation/run/overview.html", context)


def _verdict(account: Account, seen: Overview) -> str:
    if account.is_paper_book:
        return "A paper account has no broker: there is nothing to compare its books with."
    if seen.compared is None:
        return NOT_COMPARED
    return f"{DAMAGED} ({', '.join(seen.rest)})" if seen.rest else PROVEN


def _figures(account: Account, seen: Overview) -> list[tuple[str, Any, str, str]]:
    """Name, figure, what is below it, and its tone."""
    last = seen.runs[0] if seen.runs else None
    complete = values.span(seen.since_complete) if seen.since_complete is not None else "never"
    interval = reconciliation_policy(account).interval_seconds
    late = seen.since_complete is None or seen.since_complete.total_seconds() > 2 * interval
    below = "since the last complete run" if seen.complete is not None else "no run was complete yet"
    if last is not None and last.status != Run.Status.COMPLETE:
        below += f"; the last one ended {last.status.lower()}: {last.error[:120]}"
    return [
        ("Last complete run", complete, below, "is-bad" if late and not account.is_paper_book else ""),
        ("Next run", *_next(account, seen.at, interval), ""),
        (
            "Open cases", str(seen.live),
            f"{seen.blocking} of them grave, {seen.overdue} overdue",
            "is-bad" if seen.overdue else "is-waiting" if seen.live else "",
        ),
    ]  # fmt: skip


def _next(account: Account, at: datetime, interval: int) -> tuple[str, str]:
    """When, and why then."""
    if account.is_paper_book or not account.is_active or account.scope:
        return "none", "the desk does not reconcile this account by itself"
    waiting = due(account)
    if waiting is not None:
        return "now", f"due as {values.words(waiting.trigger).lower()}"
    begins = datetime.fromtimestamp(slot_of(at, interval).timestamp() + interval, at.tzinfo)
    return f"in {values.span(begins - at)}", f"at {values.moment(begins)} UTC, every {interval} s"


def _proof(seen: Overview) -> Table:
    rows = []
    if seen.compared is not None:
        for commodity, line in sorted(seen.compared.proof.items()):
            numbers = [values.typed(line.get(name)) for name in ("broker", "books", "explained", "unexplained")]
            rows.append((commodity, *numbers, HOLDS if line.get("holds") else BROKEN))
    note = ""
    if seen.compared is not None:
        run = seen.compared
        note = f"By run {run.pk} at {values.moment(run.at)} UTC, which was {run.status.lower()}."
    title = "Proof: broker − books − explained by cases = 0"
    return Table(title, ("Commodity", *PROOF_COLUMNS[1:4], "Rest", "Holds"), rows, "Nothing was compared yet.", note)


def _cases(seen: Overview) -> Table:
    rows = [
        (
            values.link(case), values.pill(case.severity), values.pill(case.state), term(case, seen.at),
            case.owner.get_username() if case.owner is not None else "nobody", values.difference(case.difference),
            case.cause,
        )
        for case in seen.cases
    ]  # fmt: skip
    columns = ("Case", "Severity", "State", "Decision due", "Owner", "Difference", "Why we think it is there")
    note = f"The {len(rows)} oldest of {seen.live}." if seen.live > len(rows) else ""
    return Table("Open cases", columns, rows, "None: nothing that was compared differs.", note)


def _runs(seen: Overview) -> Table:
    rows = [
        (
            values.link(run, values.moment(run.at)), values.words(run.trigger), values.pill(run.status),
            counts_text(run.counts) if run.status != Run.Status.FAILED else run.error,
            values.whole(f"{(run.recorded_at - run.started_at).total_seconds():.1f} s"),
        )
        for run in seen.runs
    ]  # fmt: skip
    return Table("Last runs", ("At (UTC)", "Trigger", "Status", "Counted", "Took"), rows, "None yet.")


def _restrictions(seen: Overview) -> Table:
    rows = [
        (values.pill(r.level), r.instrument or r.strategy or "everything", values.link(r, r.reason), r.source, r.at)
        for r in seen.restrictions
    ]
    return Table(
        "Restrictions in force", ("Level", "On", "Reason", "Source", "Since (UTC)"), rows, "None: entries may be made."
    )
