"""Importing a broker's statement and comparing it with the books; and comparing it again while its cases stand.

What always holds: the broker is not asked; a file that cannot be used changes nothing; a statement is compared with the
books that there are now, and what it shows becomes a case like any other, closed only by a later comparison with it.
Comparing holds no lock: both sides are read at one moment, and what was found is recorded, under the account's lock,
only while the books are still those of that moment.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from django.db import connection, transaction

from reconciliation.domain.findings import Finding, Findings
from reconciliation.domain.kinds import Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.severity import severity_of
from reconciliation.engine.run import ACTOR, RunResult
from reconciliation.models import Discrepancy, Run, Statement
from reconciliation.selectors.discrepancies import live
from reconciliation.selectors.matching import LARGE, match_by_size
from reconciliation.selectors.policies import reconciliation_policy
from reconciliation.selectors.statements import (
    Sides,
    books_mark,
    busy_days,
    held_between,
    parts,
    period,
    read_mark,
    replaced_by,
    series,
    sides,
    standing_statements,
)
from reconciliation.services.discrepancies import told_by
from reconciliation.services.runs import Recorded
from reconciliation.services.statements import (
    MARK,
    Imported,
    Progress,
    books_text,
    record_statement_run,
    store,
)
from reconciliation.statements import formats
from reconciliation.statements.compare import compare, end_of, finding
from reconciliation.statements.continuity import Gap, gaps
from reconciliation.statements.document import About, BadStatement
from reconciliation.statements.text import MOST_BYTES, decoded
from trading.clock import now, wall_now
from trading.domain.money import ZERO, plain
from trading.locks import lock_account
from trading.models import Account
from trading.selectors.chain import PATIENCE
from trading.services.audit import Actor

ATTEMPTS = 2
"""How often a comparison is made while the books may go on, before it is made while they may not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An import and the comparison that followed it."""

    imported: Imported
    result: RunResult


def import_file(
    *,
    account: Account,
    path: Path,
    actor: Actor,
    named: str = "",
    days: tuple[str, str] = ("", ""),
    progress: Progress | None = None,
) -> Outcome:
    """Read, store and compare a file. `days` are the first and last day that it covers, where it does not say so.

    Raises `BadStatement` when the file cannot be used; then nothing is stored.
    """
    body = _bytes(path)
    sha256 = hashlib.sha256(body).hexdigest()
    text = decoded(body)
    imported = store(
        account=account,
        document=formats.read(text, _about(account, days), named),
        body=text,
        sha256=sha256,
        file_name=path.name,
        actor=actor,
        days_named=any(days),
        progress=progress,
    )
    if progress is not None:
        progress("Comparing", 0, 0)
    return Outcome(imported, run_statement(imported.statement))


def run_statement(statement: Statement) -> RunResult:
    """Compare a statement that is stored with the books; one that was replaced, by the one that stands."""
    account = statement.account
    policy = reconciliation_policy(account)
    started_at = wall_now()
    tries = (_record(account, _compared_apart(statement), policy, started_at) for _ in range(ATTEMPTS))
    done = next((each for each in tries if each is not None), None)
    findings, recorded = done or _record_held(statement, policy, started_at)
    waiting = [Discrepancy.State.PROPOSED, Discrepancy.State.APPROVED]
    return RunResult(
        account=account.name,
        status=str(recorded.run.status),
        run_id=recorded.run.pk,
        completeness=str(findings.completeness),
        findings=replace(findings, notes=tuple(recorded.run.counts["notes"])),
        observed=recorded.observed,
        live=live(account).count(),
        proposals=live(account).filter(state__in=waiting).count(),
    )


@dataclass(frozen=True, slots=True)
class _Compared:
    """What a comparison saw: `mark` is how far everything that it read had come."""

    statement: Statement
    mark: tuple[int, ...]
    findings: Findings
    books: str
    read_at: datetime


def _compared_apart(statement: Statement) -> _Compared:
    """Both sides as of one moment, while everybody goes on. Raises RuntimeError inside of a transaction."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return _compared(statement)


def _compared(statement: Statement) -> _Compared:
    statement = _standing(statement)  # a corrected one may have come
    _take_time(statement)
    mark = read_mark(statement)
    read_at = wall_now()
    both = sides(statement)
    found = compare(both.told, both.booked, both.steps, matcher=match_by_size)
    findings = _with_gaps(statement, _with_balances(statement, both, found))
    return _Compared(statement, mark, findings, books_text(both), read_at)


@transaction.atomic
def _record(
    account: Account, seen: _Compared, policy: ReconciliationPolicy, started_at: datetime
) -> tuple[Findings, Recorded] | None:
    """Record what a comparison saw; None when it is no longer so."""
    lock_account(account.pk)
    _take_time(seen.statement)
    return _stored(seen, policy, started_at) if read_mark(seen.statement) == seen.mark else None


@transaction.atomic
def _record_held(statement: Statement, policy: ReconciliationPolicy, started_at: datetime) -> tuple[Findings, Recorded]:
    """Compare while nothing can change: the books have gone on faster than they could be compared."""
    lock_account(statement.account_id)
    return _stored(_compared(statement), policy, started_at)


def _take_time(statement: Statement) -> None:
    """A long statement takes longer than other work may."""
    if statement.line_count >= LARGE:
        with connection.cursor() as cursor:
            cursor.execute(PATIENCE)


def _stored(seen: _Compared, policy: ReconciliationPolicy, started_at: datetime) -> tuple[Findings, Recorded]:
    recorded = record_statement_run(
        statement=seen.statement,
        books=seen.books,
        findings=seen.findings,
        concerned=replaced_by(seen.statement),
        started_at=started_at,
        read_at=seen.read_at,
        policy=_confirmed(policy, seen.statement),
        actor=ACTOR,
    )
    return seen.findings, recorded


def look_again(account: Account) -> list[RunResult]:
    """Compare again the statements whose cases may have changed: the books went on, or a case waits for a proof."""
    wanted: dict[int, None] = {}
    moved: dict[int, bool] = {}
    for row in live(account).order_by("pk"):
        told = told_by(row)
        if told is None or told in wanted:
            continue
        if told not in moved:
            moved[told] = _books_have_moved(told)
        if moved[told] or _may_have_changed(row, told):
            wanted[told] = None
    found = {_standing(Statement.objects.get(pk=pk)).pk for pk in wanted}
    return [run_statement(row) for row in Statement.objects.filter(pk__in=found).order_by("pk")]


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadStatement(f"{path} cannot be read: {error.strerror}.") from error
    return body


def _about(account: Account, days: tuple[str, str]) -> About:
    first, last = (_day(text) for text in days)
    return About(account.external_id, account.currency, ZoneInfo(account.time_zone), first, last)


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadStatement(f"{text!r:.40} is not a day like 2026-01-31.") from None


def _standing(statement: Statement) -> Statement:
    """The statement itself, or the last one that was put in its place."""
    found = statement
    while True:
        later = Statement.objects.filter(replaces=found).defer("body").first()
        if later is None:
            return found
        found = later


def _confirmed(policy: ReconciliationPolicy, statement: Statement) -> ReconciliationPolicy:
    """A statement of what is long over needs no second look: neither side of it is on its way."""
    over = now(statement.account) - statement.covers_until >= timedelta(seconds=policy.race_window_seconds)
    return replace(policy, confirm_runs=1) if over else policy


def _with_balances(statement: Statement, both: Sides, findings: Findings) -> Findings:
    """Plus what the closing balance shows that no line explains; the value of an account without positions is one."""
    if both.note:
        findings = replace(findings, notes=(*findings.notes, both.note))
    if both.closing is None:
        return findings
    theirs, ours = both.closing
    currency = statement.currency
    explained = sum((found.explains.get(currency, ZERO) for found in findings.findings), ZERO)
    left = theirs - ours - explained
    if left == 0:
        return findings
    more = finding(
        statement.pk,
        Kind.CASH_UNEXPLAINED,
        key=end_of(period(statement), currency),
        cause=(
            f"{both.told.name} closes with {plain(theirs)} {currency}; our books, with what is to be booked, held "
            f"{plain(ours)} at that moment, and its lines explain {plain(explained)}: {plain(left)} is left over."
        ),
        commodity=currency,
        books=theirs - left,
        broker=theirs,
        evidence={"books": plain(ours), "explained": plain(explained)},
    )
    return replace(findings, findings=(*findings.findings, more))


def _with_gaps(statement: Statement, findings: Findings) -> Findings:
    """Plus every gap between the account's statements of this kind."""
    account = statement.account
    rows = standing_statements(statement)
    busy = busy_days(account, rows[0].first_day, max(row.last_day for row in rows))
    found = tuple(
        _gap(account, series(statement), gap) for gap in gaps(parts(rows), busy=busy, held=held_between(statement))
    )
    return replace(findings, findings=(*findings.findings, *found))


def _gap(account: Account, name: str, gap: Gap) -> Finding:
    made = finding(gap.before.statement, Kind.STATEMENT_GAP, key=f"{name}:{gap.key}", cause=gap.cause, matter=gap.cause)
    age = now(account) - gap.before.known_at
    return replace(made, severity=severity_of(Kind.STATEMENT_GAP, age=age), difference=gap.difference)


def _may_have_changed(row: Discrepancy, told: int) -> bool:
    if row.state in (Discrepancy.State.SUSPECTED, Discrepancy.State.APPLIED):
        return True
    if row.kind == Kind.STATEMENT_GAP:
        age = now(row.account) - Statement.objects.values_list("at", flat=True).get(pk=told)
        if severity_of(Kind.STATEMENT_GAP, age=age) != row.severity:
            return True
    return False


def _books_have_moved(told: int) -> bool:
    last = Run.objects.filter(statement=told).order_by("-id").values_list("counts", flat=True).first()
    statement = Statement.objects.defer("body").select_related("account").get(pk=told)
    return last is None or last.get(MARK) != books_mark(statement)
