"""`manage.py reconcile`: compare the books with the brokers now, and print what was found."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from reconciliation.engine.accounts import UnknownAccount, named, to_reconcile
from reconciliation.engine.run import BUSY, RunResult, run_reconciliation
from reconciliation.engine.statements import import_file
from reconciliation.models import Run
from reconciliation.statements.document import BadStatement
from trading.brokers.registry import BadConnection, MissingCredentials
from trading.domain.broker import BrokerUnreachable
from trading.domain.money import plain
from trading.engine.blocks import print_block
from trading.management.parsing import BlockCommand
from trading.management.simulated import NOT_RUNNING, named_simulator_is_stopped, simulator_is_stopped
from trading.models import Account
from trading.services.audit import Actor

BUSY_SECONDS = 20.0


class Command(BlockCommand):
    """Parse, one engine verb for each account, one block."""

    block, not_done = "RECON", "Nothing was compared."
    help = "Reconcile accounts with their brokers now. Prints a summary, then the RECON block."

    def add_arguments(self, parser: CommandParser) -> None:
        """The flags."""
        parser.add_argument("--account", metavar="A", help="only the account of this name")
        parser.add_argument("--report-only", action="store_true", help="compare and print, write nothing")
        parser.add_argument("--statement", metavar="F", help="compare the account with this statement of its broker")
        parser.add_argument("--json", action="store_true", help="print the findings as JSON lines instead of sentences")

    def handle(self, *args: Any, **options: Any) -> None:
        """Reconcile; exit code 1 when an account could not be compared completely."""
        try:
            accounts = [named(options["account"])] if options["account"] else to_reconcile(os.environ)
        except (MissingCredentials, BadConnection, BrokerUnreachable, UnknownAccount) as error:
            stopped = isinstance(error, BrokerUnreachable) and named_simulator_is_stopped(os.environ)
            print_block("RECON", self.refusal(NOT_RUNNING if stopped else str(error)))
            sys.exit(1)
        try:
            block = _block(list(self._looks(accounts, options)))
        except BadStatement as error:
            print_block("RECON", self.refusal(f"{error} {self.not_done}"))
            sys.exit(1)
        print_block("RECON", block)
        if not block["ok"]:
            sys.exit(1)

    def refusal(self, sentence: str) -> dict[str, Any]:
        """All fields of the block, as of no account at all, and why."""
        return {**_block([]), "ok": False, "error": sentence, "errors": [sentence]}

    def _looks(self, accounts: Sequence[Account], options: dict[str, Any]) -> Iterator[RunResult]:
        """Each account's result, told as it comes, with a bar of them on standard error where there are several.

        Raises BadStatement.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        shown = len(accounts) > 1 and sys.stderr.isatty()
        bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown)
        part = bar.add_task("Reconciling", total=len(accounts))
        for account in accounts:
            bar.update(part, description=f"Reconciling {account.name}")
            with bar:  # gone while the account is told about
                result = _look(account, options)
            bar.advance(part)
            self._tell(result, as_json=options["json"])
            yield result

    def _tell(self, result: RunResult, *, as_json: bool) -> None:
        findings = result.findings.findings if result.findings is not None else ()
        if as_json:
            recorded = json.loads(result.findings.text()) if result.findings is not None else {"findings": []}
            self.stdout.write(json.dumps({"account": result.account, "status": result.status, **recorded}))
            return
        run = f"run {result.run_id}" if result.run_id is not None else "not recorded"
        differences = f"{len(findings)} difference{'' if len(findings) == 1 else 's'}"
        self.stderr.write(f"{result.account}: {result.status} ({run}), {differences}, {result.live} open")
        for finding in findings:
            amount = f" ({plain(finding.difference)})" if finding.difference is not None else ""
            self.stderr.write(f"  {finding.severity:8} {finding.kind} {finding.key}{amount}: {finding.cause}")
        if result.error:
            self.stderr.write(f"  {result.error}")


def _look(account: Account, options: dict[str, Any]) -> RunResult:
    """At the broker, or at the statement that was named. Raises BadStatement."""
    if not options["statement"]:
        return _run(account, report_only=options["report_only"])
    if options["report_only"] or not options["account"]:
        raise BadStatement("--statement needs --account, and stores what it reads: it goes without --report-only.")
    path, actor = Path(options["statement"]), Actor.system("reconcile", via="command")
    return import_file(account=account, path=path, actor=actor).result


def _run(account: Account, *, report_only: bool) -> RunResult:
    """One run; waits for one that is under way."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        result = run_reconciliation(account=account, trigger=Run.Trigger.MANUAL, report_only=report_only)
        if result.status != BUSY or time.monotonic() > end:
            # The run keeps, and the log has told, how the simulator's port refused.
            stopped = not result.ok and simulator_is_stopped(account)
            return replace(result, error=NOT_RUNNING) if stopped else result
        time.sleep(0.5)


def _block(results: Sequence[RunResult]) -> dict[str, Any]:
    """The fields of the RECON block."""
    found = [result.findings for result in results if result.findings is not None]
    seen = [result.observed for result in results if result.observed is not None]
    errors = [f"{result.account}: {result.error or result.status}" for result in results if not result.ok]
    runs = [result.run_id for result in results if result.run_id is not None]
    block: dict[str, Any] = {
        "ok": bool(results) and not errors,
        "broker_positions": sum(findings.broker_positions for findings in found),
        "journal_positions": sum(findings.books_positions for findings in found),
        "flattened": sum(observed.flattened for observed in seen),
        "linked": sum(findings.linked for findings in found),
        "errors": errors,
        "opened": sum(observed.opened for observed in seen),
        "resolved": sum(observed.resolved for observed in seen),
        "proposals": sum(result.proposals for result in results),
        "run_id": runs[-1] if runs else None,
        "completeness": _worst([result.completeness for result in results]),
        "open": sum(result.live for result in results),
        "findings": sum(len(findings.findings) for findings in found),
        "accounts": [
            {
                "account": result.account,
                "status": result.status,
                "run_id": result.run_id,
                "completeness": result.completeness,
                "open": result.live,
            }
            for result in results
        ],
    }
    if errors:
        block["error"] = errors[0] if len(results) > 1 else results[0].error or results[0].status
    return block


def _worst(values: Sequence[str]) -> str:
    """FAILED before PARTIAL before COMPLETE."""
    for value in ("FAILED", "PARTIAL", "COMPLETE"):
        if value in values:
            return value
    return "FAILED"
