"""Storing a statement, and the run that compared it.

What always holds: a statement counts whole or not at all: its lines are committed in batches, so that neither the
account nor the append lock waits for all of them, and the statement, which alone makes them count, is stored with the
last; the same bytes are stored once for the same time of an account; a corrected one replaces the one of the same
days, and the same bytes with other days the wrongly labelled ones; replaced rows stay. A run moves only the
cases that statements have told of: one that a look at the broker has found stays as it is, and is not told twice; it
lifts no block and counts as no look at the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid4

from django.db import transaction

from reconciliation.domain.findings import Finding, Findings
from reconciliation.domain.fingerprint import fingerprint
from reconciliation.domain.kinds import Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.rules import RULES_VERSION
from reconciliation.models import Discrepancy, Run, Snapshot, Statement, StatementLine
from reconciliation.selectors.statements import LEDGERS, Sides, books_mark, period, series
from reconciliation.statements.compare import end_of
from reconciliation.statements.document import BadStatement, Document, Line
from trading.clock import now
from trading.domain.broker import Completeness
from trading.domain.canonical import canonical_json, sha256_hex
from trading.locks import lock_account
from trading.models import Account
from trading.services import audit
from trading.services.audit import Actor

from . import alerts
from .cases_bulk import carry_out
from .discrepancies import ACCEPTED, Observed, account_identity, plan_steps, stored, tally, told_by
from .runs import Recorded

BATCH = 2_000
MARK = "books_mark"
Progress = Callable[[str, int, int], None]
"""What is being done, and how much of how many; zero of what nobody can count beforehand."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import. `is_new` is False for bytes that were imported before."""

    statement: Statement
    is_new: bool


def store(
    *,
    account: Account,
    document: Document,
    body: str,
    sha256: str,
    file_name: str,
    actor: Actor,
    days_named: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Store a statement. `days_named`: people said which days it covers, so that these count, not those of before.

    Raises `BadStatement` when it is of days to come; then nothing is stored.
    """
    known = _known(account, document, sha256, _until(document, now(account)), days_named=days_named)
    if known is not None:
        return Imported(known, False)
    batch, many = uuid4(), len(document.lines)
    stored_lines = 0
    while many - stored_lines > BATCH:
        rows = [_row(batch, line) for line in document.lines[stored_lines : stored_lines + BATCH]]
        _store_lines(account, rows, sha256, file_name, actor)
        stored_lines += BATCH
        if progress is not None:
            progress("Storing lines", stored_lines, many)
    rows = [_row(batch, line) for line in document.lines[stored_lines:]]
    imported = _seal(account, document, rows, batch, body, sha256, file_name, actor, days_named=days_named)
    if progress is not None:
        progress("Storing lines", many, many)
    return imported


@transaction.atomic
def _store_lines(account: Account, rows: Sequence[StatementLine], sha256: str, file_name: str, actor: Actor) -> None:
    """Store lines that count for nothing until a statement names their batch."""
    at = now(account)
    StatementLine.objects.bulk_create(rows)
    after = {"rows": len(rows), "sha256": sha256}
    audit.record(
        kind="statement.lines_stored", actor=actor, account=account, after=after, reason=file_name[-200:], at=at
    )


@transaction.atomic
def _seal(
    account: Account,
    document: Document,
    rows: Sequence[StatementLine],
    batch: UUID,
    body: str,
    sha256: str,
    file_name: str,
    actor: Actor,
    *,
    days_named: bool,
) -> Imported:
    """Store the last lines and the statement, unless somebody else has imported the same meanwhile."""
    lock_account(account.pk)
    at = now(account)
    until = _until(document, at)
    known = _known(account, document, sha256, until, days_named=days_named)
    if known is not None:
        return Imported(known, False)
    earlier = _replaced(account, document, sha256, until)
    StatementLine.objects.bulk_create(rows)
    row = Statement.objects.create(
        at=at,
        account=account,
        kind=document.covers,
        format=document.format,
        first_day=document.first_day,
        last_day=document.last_day,
        covers_from=document.covers_from,
        covers_until=until,
        currency=document.currency,
        opening=document.opening,
        closing=document.closing,
        line_count=len(document.lines),
        file_name=file_name[-200:],
        body=body,
        sha256=sha256,
        replaces=earlier,
        batch=batch,
    )
    audit.record(
        kind="statement.imported",
        actor=actor,
        account=account,
        obj=row,
        after={
            "kind": str(document.covers),
            "format": document.format,
            "rows": len(document.lines),
            "sha256": sha256,
            "replaces": earlier.pk if earlier is not None else None,
        },
        reason=f"{file_name[-200:]}: {document.first_day} to {document.last_day}",
        at=at,
    )
    return Imported(row, True)


@transaction.atomic
def record_statement_run(
    *,
    statement: Statement,
    books: str,
    findings: Findings,
    concerned: Collection[int],
    started_at: datetime,
    read_at: datetime,
    policy: ReconciliationPolicy,
    actor: Actor,
) -> Recorded:
    """Store a comparison with a statement. `concerned` are the statement and those it has replaced.

    `books` is our side as `books_text` has it, made beforehand. Whoever calls this holds the account's lock and knows
    that the books are still those.
    """
    account = statement.account
    lock_account(account.pk)
    at = now(account)
    new, left = _without_known(statement, findings.findings)
    notes = (*findings.notes, *left)
    findings = replace(findings, findings=new, notes=notes)

    def concerns(row: Discrepancy) -> bool:
        told = told_by(row)
        gap = row.kind == Kind.STATEMENT_GAP and row.key.startswith(f"{series(statement)}:")
        return told is not None and (gap or told in concerned)

    steps, rows = plan_steps(
        account=account, findings=new, complete=True, at=at, read_at=read_at, policy=policy, concerns=concerns
    )
    observed = tally(steps, rows)
    stood = alerts.stood_before(rows)
    said = canonical_json({"statement": statement.sha256, "kind": statement.kind})
    theirs = _snapshot(account, Snapshot.Side.BROKER, at, said)
    ours = _snapshot(account, Snapshot.Side.BOOKS, at, books)
    counts = _counts(findings, observed, policy, books_mark(statement))
    recorded = stored([finding.recorded() for finding in new])
    proof = stored(findings.proof_recorded())
    sha256 = sha256_hex(canonical_json([theirs.sha256, ours.sha256, RULES_VERSION, policy.recorded(), findings.text()]))
    theirs.save(force_insert=True)  # from here on everybody's facts wait for ours
    ours.save(force_insert=True)
    run = Run.objects.create(
        at=at,
        account=account,
        trigger=Run.Trigger.STATEMENT,
        started_at=started_at,
        status=Run.Status.COMPLETE,
        completeness=Completeness.COMPLETE,
        broker_snapshot=theirs,
        books_snapshot=ours,
        policy_id=account.policy_id,
        counts=counts,
        findings=recorded,
        proof=proof,
        sha256=sha256,
        statement=statement,
        rules_version=RULES_VERSION,
    )
    carry_out(account=account, run=run, steps=steps, rows=rows, actor=actor)
    alerts.tell(account=account, run=run, steps=steps, rows=rows, stood=stood, cap=policy.alert_cap)
    audit.record(
        kind="reconciliation.run",
        actor=actor,
        account=account,
        obj=run,
        after={"status": run.status, "trigger": run.trigger, **{k: v for k, v in run.counts.items() if k != MARK}},
        at=at,
    )
    return Recorded(run, observed)


def books_text(sides: Sides) -> str:
    """Our side by its hash: the facts themselves are rows that never change, and there may be very many of them."""
    facts = sides.booked.facts
    return canonical_json(
        {"facts": len(facts), "sha256": sha256_hex(canonical_json(facts)), "held": sides.booked.positions}
    )


def _row(batch: UUID, line: Line) -> StatementLine:
    return StatementLine(
        at=line.at,
        batch=batch,
        number=line.number,
        external_id=line.external_id,
        order_id=line.order_id,
        instrument=line.instrument,
        side=line.side,
        product=line.product,
        quantity=line.quantity,
        price=line.price,
        amount=line.amount,
        currency=line.currency,
        day=line.day,
        raw=dict(line.raw),
    )


def _until(document: Document, at: datetime) -> datetime:
    """Until when the statement is whole: of a day that is not over it is up to its last line."""
    if document.covers_until <= at:
        return document.covers_until
    last = max((line.at for line in document.lines), default=document.covers_from)
    if last > at:
        raise BadStatement(f"It has a line of {last:%Y-%m-%d %H:%M:%S} UTC, which is still to come.")
    if document.covers_from > at:
        raise BadStatement(f"It is of {document.first_day} and later, which is still to come.")
    return last


def _known(account: Account, document: Document, sha256: str, until: datetime, *, days_named: bool) -> Statement | None:
    """The statement that was made of these bytes before: of the same time or, where nobody names days, of more."""
    same = Statement.objects.filter(account=account, sha256=sha256).defer("body").order_by("-id")
    exactly = same.filter(covers_from=document.covers_from, covers_until=until).first()
    if exactly is not None or days_named:
        return exactly
    return same.filter(covers_from__lte=document.covers_from, covers_until__gte=until).first()


def _replaced(account: Account, document: Document, sha256: str, until: datetime) -> Statement | None:
    """The statement that this one corrects: the same lines under other days, or else one of the same kind and days.

    Such a one has nothing that this one leaves out. Of a file without lines every stretch of days is one of its own.
    """
    if document.lines:
        label = Statement.objects.filter(
            account=account, kind=document.covers, format=document.format, sha256=sha256, replaced_by=None
        )
        mislabelled = label.defer("body").order_by("-id").first()
        if mislabelled is not None:
            return mislabelled
    same = Statement.objects.filter(
        account=account,
        kind=document.covers,
        first_day=document.first_day,
        last_day=document.last_day,
        replaced_by=None,
        covers_from__gte=document.covers_from,
        covers_until__lte=until,
    )
    ledgers = same.filter(format__in=LEDGERS)
    same = ledgers if document.format in LEDGERS else same.exclude(pk__in=ledgers)
    return same.defer("body").order_by("-id").first()


def _without_known(statement: Statement, findings: tuple[Finding, ...]) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """The findings that no case of a look at the broker stands for already; and a sentence for each of the others.

    Such a case stands for the same difference only: another one is a case of the statement's own, whatever a look finds
    or people accept of today. Raises ValueError when two findings have one name.
    """
    account = statement.account
    asked = [(found, [_named(account, found, key) for key in _looked_for(statement, found)]) for found in findings]
    if len({names[0] for _, names in asked}) != len(asked):
        raise ValueError("two findings of a statement have one name")
    known = _seen_at_the_broker(account, [name for _, names in asked for name in names])
    new: list[Finding] = []
    left: list[str] = []
    for found, names in asked:
        row = next((known[name] for name in names if name in known), None)
        if row is None:
            new.append(found)
        elif found.difference is None or row.difference in (None, round(found.difference, 12)):
            left.append(f"{row.kind} {row.key} is case {row.pk} already.")
        else:
            own = names[0] in known
            new.append(replace(found, key=end_of(period(statement), found.key)) if own else found)
    return tuple(new), tuple(left)


def _looked_for(statement: Statement, found: Finding) -> list[str]:
    """What the case is called: here and, of what is left over at the end of a statement, by a look at the broker."""
    return [found.key, *([found.commodity] if found.key == end_of(period(statement), found.commodity) else [])]


def _named(account: Account, found: Finding, key: str) -> str:
    return fingerprint(account=account_identity(account), kind=found.kind, key=key)


def _seen_at_the_broker(account: Account, names: Collection[str]) -> dict[str, Discrepancy]:
    """The cases of these names that looks at the broker have found and that stand, or were accepted."""
    rows = Discrepancy.objects.filter(account=account, fingerprint__in=names).select_related("proposal")
    return {
        row.fingerprint: row
        for row in rows.order_by("pk")
        if told_by(row) is None
        and (row.state in Discrepancy.LIVE or (row.proposal is not None and row.proposal.kind == ACCEPTED))
    }


def _snapshot(account: Account, side: str, at: datetime, body: str) -> Snapshot:
    return Snapshot(
        at=at, account=account, side=side, completeness=Completeness.COMPLETE, body=body, sha256=sha256_hex(body)
    )


def _counts(findings: Findings, observed: Observed, policy: ReconciliationPolicy, mark: int) -> dict[str, object]:
    counts: dict[str, object] = stored(
        {
            "findings": len(findings.findings),
            "suspected": observed.suspected,
            "opened": observed.opened,
            "reopened": observed.reopened,
            "closed": observed.closed,
            "cleared": observed.cleared,
            "accepted": observed.accepted,
            "flattened": observed.flattened,
            "linked": findings.linked,
            "broker_positions": findings.broker_positions,
            "books_positions": findings.books_positions,
            "notes": list(findings.notes),
            "tolerances": policy.recorded(),
            MARK: mark,
        }
    )
    return counts
