"""`manage.py verify`: check every invariant of the books, orders, approvals, audit trail and database, reading only."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from backoffice.verification import UnknownAccount, lines, run_all
from trading.engine.blocks import compact_json


class Command(BaseCommand):
    """Parse, check, one report."""

    help = "Check the invariants of books, orders, approvals, audit and database. Writes nothing; exit code 1 on a "
    "breach."

    def add_arguments(self, parser: CommandParser) -> None:
        """What to check and how to say it."""
        parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
        parser.add_argument("--account", default="", metavar="A", help="only this account, and what belongs to none")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check; exit code 1 when a rule is broken or the account is unknown."""
        try:
            report = run_all(account=options["account"])
        except UnknownAccount as error:
            told = {"ok": False, "checked": 0, "violations": [], "error": str(error)}
            self.stdout.write(json.dumps(told) if options["json"] else str(error))
            raise SystemExit(1) from error
        if options["json"]:
            self.stdout.write(compact_json(report.as_json()))
        else:
            for line in lines(report):
                self.stdout.write(line)
        if not report.ok:
            raise SystemExit(1)
