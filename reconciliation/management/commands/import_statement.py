"""`manage.py import_statement`: store a broker's statement, compare it with the books, and say what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from reconciliation.engine.accounts import UnknownAccount, named
from reconciliation.engine.statements import Outcome, import_file
from reconciliation.statements.document import BadStatement
from reconciliation.statements.formats import FORMATS
from trading.domain.money import plain
from trading.services.audit import Actor


class Command(BaseCommand):
    """Parse, one engine verb, tell. Exit code 1 when the file cannot be used; differences do not change it."""

    help = "Import a broker's statement and compare it with the books. The same file twice changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        """The flags."""
        parser.add_argument("file", metavar="FILE", help="the statement")
        parser.add_argument("--account", metavar="A", required=True, help="the account that it is about")
        parser.add_argument("--format", metavar="F", default="", help=f"one of {', '.join(FORMATS)}")
        parser.add_argument("--first-day", metavar="D", default="", help="the first day it covers, if it does not say")
        parser.add_argument("--last-day", metavar="D", default="", help="the last day it covers, if it does not say")
        parser.add_argument("--json", action="store_true", help="print what came of it as one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import the file."""
        try:
            outcome = _import(options)
        except (BadStatement, UnknownAccount) as error:
            if options["json"]:
                self.stdout.write(json.dumps({"ok": False, "error": str(error)}))
                sys.exit(1)
            raise CommandError(f"{error} Nothing was stored.") from error
        self._tell(outcome, as_json=options["json"])

    def _tell(self, outcome: Outcome, *, as_json: bool) -> None:
        row, result = outcome.imported.statement, outcome.result
        found = result.findings.findings if result.findings is not None else ()
        notes = result.findings.notes if result.findings is not None else ()
        if as_json:
            told = {
                "ok": True,
                "new": outcome.imported.is_new,
                "statement": row.pk,
                "kind": row.kind,
                "format": row.format,
                "first_day": str(row.first_day),
                "last_day": str(row.last_day),
                "lines": row.line_count,
                "replaces": row.replaces_id,
                "run_id": result.run_id,
                "findings": [json.loads(json.dumps(one.recorded(), default=str)) for one in found],
                "notes": list(notes),
                "open": result.live,
            }
            self.stdout.write(json.dumps(told))
            return
        days = f"{row.first_day} to {row.last_day}"
        if not outcome.imported.is_new:
            self.stdout.write(f"This file was imported before, as statement {row.pk} ({days}); nothing new was stored.")
        else:
            instead = f", in place of statement {row.replaces_id}" if row.replaces_id else ""
            self.stdout.write(f"Statement {row.pk}: {row.kind}, {days}, {row.line_count:,} lines{instead}.")
        count = f"{len(found)} difference{'' if len(found) == 1 else 's'}"
        self.stdout.write(f"Run {result.run_id}: {count}, {result.live} open cases on {result.account}.")
        for one in found:
            amount = f" ({plain(one.difference)})" if one.difference is not None else ""
            self.stdout.write(f"  {one.severity:8} {one.kind} {one.key}{amount}: {one.cause}")
        for note in notes:
            self.stdout.write(f"  {note}")


def _import(options: dict[str, Any]) -> Outcome:
    """The import, with a bar of its lines on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        parts = {"Reading": bar.add_task("Reading", total=None)}

        def progress(what: str, done: int, total: int) -> None:
            if what not in parts:
                parts[what] = bar.add_task(what, total=total or None)
            bar.update(parts[what], completed=done)

        return import_file(
            account=named(options["account"]),
            path=Path(options["file"]),
            actor=Actor.system("import_statement", via="command"),
            named=options["format"],
            days=(options["first_day"], options["last_day"]),
            progress=progress,
        )
