"""What people are told of an account's cases, as notifications of the transaction that writes the run.

What always holds: callers hold the account's lock and have written the steps; a key says what was told, so that the
same is told once: a case in its version and severity, that it is late, that what was approved was not carried out, and
that it has ended; more of one kind of news than the policy's cap is one message; of a mass of differences people hear
when it begins and when it is over, and of the cases that come beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Severity
from reconciliation.domain.lifecycle import State, Step, StepKind
from reconciliation.domain.severity import SLA
from reconciliation.domain.telling import (
    AT_ONCE,
    CONFIRMED,
    News,
    Stood,
    Told,
    counted,
    ends,
    gravest,
    is_urgent,
    lasted,
    named,
    news_of,
)
from reconciliation.models import Discrepancy, DiscrepancyEvent, Run
from reconciliation.selectors.discrepancies import age
from trading.clock import wall_now
from trading.models import Account, Notification, Restriction

from .mass import Mass, Phase

CASE, LATE, ENDED, UNDONE = "discrepancy", "late-discrepancy", "ended-discrepancy", "undone-resolution"
MASS, MASS_OVER = "mass", "mass-over"
UNDECIDED = (State.OPEN, State.PROPOSED)
TOLD_BY_MASS = (News.CONFIRMED, News.CHANGED)
_HOW = {
    StepKind.CLEARED: "gone by itself",
    StepKind.CLOSED: "resolved",
    StepKind.ACCEPTED: "accepted as it is",
    StepKind.NOT_FLATTENED: "ended while its position is still held",
}


def stood_before(rows: Mapping[str, Discrepancy]) -> dict[str, Stood]:
    """The cases as they stand; to be asked before the steps of a run are written."""
    return {name: Stood(State(row.state), Severity(row.severity)) for name, row in rows.items()}


def tell(
    *,
    account: Account,
    run: Run,
    steps: Sequence[Step],
    rows: Mapping[str, Discrepancy],
    stood: Mapping[str, Stood],
    cap: int,
    mass: Mass | None = None,
) -> None:
    """Tell people what a run has changed of the cases. `rows` are the cases after it, `stood` what they were before.

    `cap` is how many messages of a kind leave before they become one. Without a `mass` (a statement's run) none is
    begun or ended.
    """
    told = [
        *_news(account, run, steps, stood, cap, mass.restriction if mass is not None else None),
        *_ended(account, run, steps, rows, stood, cap, is_over=mass is not None and mass.phase is Phase.ENDS),
        *(_mass(account, run, steps, stood, cap, mass) if mass is not None else ()),
    ]
    Notification.objects.bulk_create(told, ignore_conflicts=True)


def tell_waiting(*, account: Account, run: Run, cap: int) -> None:
    """Tell people what waits for them: cases that are late, and what they approved in vain.

    A case is late by the account's clock; each is told once as it stands, whenever it was that nobody looked.
    """
    told = [*_late(account, run, cap), *_undone(account)]
    Notification.objects.bulk_create(told, ignore_conflicts=True)


def _late(account: Account, run: Run, cap: int) -> list[Notification]:
    undecided = Discrepancy.objects.filter(account=account, state__in=UNDECIDED)
    late = {
        f"{LATE}:{row.pk}:{row.times_reopened}:{row.opened_at:%Y%m%dT%H%M%S.%f}:{row.severity}": row
        for severity in AT_ONCE
        for row in undecided.filter(severity=severity, opened_at__lte=run.at - SLA[severity]).order_by("pk")
    }
    known = set(Notification.objects.filter(key__in=late).values_list("key", flat=True))
    new = [key for key, row in late.items() if key not in known]
    if new:
        together = _told_together(account, [late[key] for key in new])
        new = [key for key in new if late[key].pk not in together]
    if len(new) <= cap:
        return [_message(key, Severity(late[key].severity), account, _late_text(late[key])) for key in new]
    rows = [late[key] for key in new]
    text = f"{len(rows):,} differences wait for a decision longer than they should: {_list(map(_told, rows), cap)}"
    return [_message(f"{LATE}:{account.name}:run {run.pk}", _gravest(rows), account, text)]


def _told_together(account: Account, rows: Sequence[Discrepancy]) -> set[int]:
    """Those that were late already when many were told in one message, and have not become graver since."""
    many = Notification.objects.filter(key__startswith=f"{LATE}:{account.name}:run ").order_by("-pk").first()
    if many is None:
        return set()
    then = Run.objects.values_list("at", flat=True).get(pk=int(many.key.rpartition(" ")[2]))
    late = {
        f"{CASE}:{row.pk}:{row.times_reopened}:v{row.version}:{row.severity}": row.pk
        for row in rows
        if row.opened_at is not None and row.opened_at + SLA[Severity(row.severity)] <= then
    }
    since = Notification.objects.filter(key__in=late, pk__gt=many.pk).values_list("key", flat=True)
    return set(late.values()) - {late[key] for key in since}


def _undone(account: Account) -> list[Notification]:
    """What two people approved and what then was not carried out, while its case waits for another decision."""
    given_back = DiscrepancyEvent.objects.filter(
        discrepancy__account=account,
        discrepancy__state=State.OPEN,
        from_state=State.APPROVED,
        kind__in=("NOT_APPLIED", "EXPIRED"),
    )
    return [
        _message(
            f"{UNDONE}:{event.pk}",
            gravest([Severity(event.discrepancy.severity), Severity.HIGH]),
            account,
            f"{event.discrepancy.kind} {event.discrepancy.key}: the resolution was approved and could not be carried "
            f"out; the case is open again. {event.reason}",
        )
        for event in given_back.select_related("discrepancy").order_by("pk")
    ]


def _late_text(row: Discrepancy) -> str:
    allowed = lasted(SLA[Severity(row.severity)])
    return (
        f"{row.kind} {row.key} is open since {row.opened_at:%Y-%m-%d %H:%M} and not decided: a {row.severity} case "
        f"should be within {allowed}. Propose a resolution, or approve the one that waits. {row.cause}"
    )


def _news(
    account: Account, run: Run, steps: Sequence[Step], stood: Mapping[str, Stood], cap: int, mass: Restriction | None
) -> list[Notification]:
    news = {step.fingerprint: why for step in steps if (why := news_of(step, stood.get(step.fingerprint)))}
    if mass is not None and len(news) > cap:
        beside = _came_after(account, mass)
        news = {name: why for name, why in news.items() if why not in TOLD_BY_MASS or name in beside}
    if not news:
        return []
    if len(news) > cap:
        found = [step.finding for step in steps if step.fingerprint in news and step.finding is not None]
        text = f"{len(news):,} differences are confirmed, changed or graver in run {run.pk}: "
        text += _list(map(_found, found), cap)
        severity = gravest([finding.severity for finding in found])
        return [_message(f"{CASE}:{account.name}:run {run.pk}", severity, account, text)]
    rows = Discrepancy.objects.filter(fingerprint__in=news).order_by("pk")
    return [
        _message(
            f"{CASE}:{row.pk}:{row.times_reopened}:v{row.version}:{row.severity}",
            Severity(row.severity),
            account,
            _news_text(row, news[row.fingerprint]),
        )
        for row in rows
    ]


def _came_after(account: Account, mass: Restriction) -> set[str]:
    """The cases that were found, or came back, only after the run with which the mass began."""
    began = DiscrepancyEvent.objects.filter(
        discrepancy__account=account, recorded_at__gt=mass.recorded_at, from_state__in=("", State.CLOSED, State.CLEARED)
    )
    return set(began.values_list("discrepancy__fingerprint", flat=True))


def _news_text(row: Discrepancy, why: News) -> str:
    anew = {
        News.CONFIRMED: ".",
        News.GRAVER: f" is graver than before ({row.severity}).",
        News.CHANGED: " has changed: decide on it anew.",
        News.NOT_CURED: " is still there after its resolution was carried out.",
    }
    return f"{row.kind} {row.key}{anew[why]} {row.cause}"


def _ended(
    account: Account,
    run: Run,
    steps: Sequence[Step],
    rows: Mapping[str, Discrepancy],
    stood: Mapping[str, Stood],
    cap: int,
    *,
    is_over: bool,
) -> list[Notification]:
    over = {step.fingerprint: step for step in steps if ends(step, stood.get(step.fingerprint))}
    quiet = [rows[name] for name in over if not is_urgent(stood[name].severity)]
    known = _were_told(quiet)
    told = [name for name in over if is_urgent(stood[name].severity) or rows[name].pk in known]
    if len(told) > cap:
        if is_over:
            return []  # the end of the mass says so
        how = Counter(_HOW[over[name].kind] for name in told)
        oldest = max(age(rows[name]) for name in told)
        text = f"{len(told):,} differences ended in run {run.pk} ({_each(how)}); the oldest stood {lasted(oldest)}."
        return [_message(f"{ENDED}:{account.name}:run {run.pk}", None, account, text)]
    return [
        _message(
            f"{ENDED}:{rows[name].pk}:{rows[name].times_reopened}:{run.pk}",
            None,
            account,
            _ended_text(rows[name], over[name]),
        )
        for name in told
    ]


def _ended_text(row: Discrepancy, step: Step) -> str:
    by = ""
    if row.proposal is not None:
        action = row.proposal.kind.rpartition(".")[2].lower().replace("_", " ")
        by = f" by proposal {row.proposal.pk} ({action})"
    reason = step.reason[:1].upper() + step.reason[1:].rstrip(".")
    return f"over: {row.kind} {row.key} is {_HOW[step.kind]}{by} after {lasted(age(row))}. {reason}."


def _were_told(rows: Iterable[Discrepancy]) -> set[int]:
    """Those of which people were told since they last came back, although they are of little weight now."""
    rows = list(rows)
    by_name = {
        f"{CASE}:{row.pk}:{row.times_reopened}:v{version}:{severity}": row.pk
        for row in rows
        for version in range(1, row.version + 1)
        for severity in AT_ONCE
    }  # a rise of severity alone leaves no step
    said = Notification.objects.filter(key__in=by_name).values_list("key", flat=True)
    steps = DiscrepancyEvent.objects.filter(discrepancy__in=[row.pk for row in rows]).order_by("sequence")
    told: set[int] = set()
    for case, kind, state, severity in steps.values_list("discrepancy", "kind", "to_state", "details__severity"):
        if kind == StepKind.REOPENED:
            told.discard(case)
        elif state in CONFIRMED and severity in AT_ONCE:
            told.add(case)
    return told | {by_name[key] for key in said}


def _mass(
    account: Account, run: Run, steps: Sequence[Step], stood: Mapping[str, Stood], cap: int, mass: Mass
) -> list[Notification]:
    if mass.restriction is None:
        return []
    if mass.phase is Phase.BEGINS:
        found = [step.finding for step in steps if step.finding is not None]
        text = (
            f"{mass.found:,} differences with the broker in run {run.pk} ({mass.limit:,} pause trading): "
            f"{_list(map(_found, found), cap)}. New entries are paused; exits stay possible, and nothing was booked, "
            "closed or ordered because of it. So many at once have one cause as a rule (renamed instruments, a history "
            "that was not read, another account's answer): find it, and do not resolve them one by one. A complete run "
            f"that finds fewer than {mass.limit:,} lets entries go on by itself."
        )
        return [_message(f"{MASS}:{mass.restriction.pk}", Severity.CRITICAL, account, text)]
    if mass.phase is Phase.ENDS:
        ended = sum(ends(step, stood.get(step.fingerprint)) for step in steps)
        left = list(Discrepancy.objects.filter(account=account, state__in=CONFIRMED).order_by("pk"))
        stands = f"{len(left):,} still stand: {_list(map(_told, left), cap)}" if left else "none is left open"
        since = lasted(max(run.at - mass.restriction.at, timedelta(0)))
        text = (
            f"over: run {run.pk} found {mass.found:,} differences, fewer than {mass.limit:,}; entries go on after "
            f"{since}. {ended:,} confirmed cases ended with it; {stands}."
        )
        return [_message(f"{MASS_OVER}:{mass.restriction.pk}", None, account, text)]
    return []


def _message(key: str, severity: Severity | None, account: Account, text: str) -> Notification:
    level = {None: "INFO", Severity.CRITICAL: "CRITICAL"}.get(severity, "WARNING")
    return Notification(key=key[:160], level=level, text=f"{account.name}: {text}", at=wall_now())


def _list(cases: Iterable[Told], cap: int) -> str:
    known = list(cases)
    return f"{counted(known)}. The gravest: {named(known, cap)}"


def _each(numbers: Counter[str]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in numbers.most_common())


def _found(finding: Finding) -> Told:
    return Told(finding.kind, finding.key, finding.severity, finding.difference)


def _told(row: Discrepancy) -> Told:
    return Told(row.kind, row.key, Severity(row.severity), row.difference)


def _gravest(rows: Iterable[Discrepancy]) -> Severity:
    return gravest([Severity(row.severity) for row in rows])
