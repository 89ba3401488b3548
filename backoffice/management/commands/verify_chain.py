"""`manage.py verify_chain`: prove that nothing in the books was changed, removed, added or rewritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from backoffice.proof.bar import row_bar
from backoffice.proof.checking import prove
from trading.auditor.verify_books import lines


class Command(BaseCommand):
    """Parse, prove, one report."""

    help = "Check the hash chain over every fact, and the anchors. Writes nothing; exit code 1 on any finding."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which anchors, and how to say it."""
        parser.add_argument("--anchor", default="", metavar="F", help="a copy of the anchors that was kept elsewhere")
        parser.add_argument("--json", action="store_true", help="one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prove; exit code 1 when anything is wrong or the anchors cannot be read."""
        try:
            with row_bar("Proving") as progress:
                told = prove(anchors=Path(options["anchor"]) if options["anchor"] else None, progress=progress)
        except OSError as error:
            sentence = f"The anchors cannot be read ({error}); nothing was checked."
            told = {"ok": False, "error": sentence}
            self.stdout.write(json.dumps(told) if options["json"] else sentence)
            raise SystemExit(1) from error
        if options["json"]:
            self.stdout.write(json.dumps(told, separators=(",", ":")))
        else:
            for line in lines(told):
                self.stdout.write(line)
            if not told["ok"]:
                self.stdout.write('What to do: docs/operations.md, "When verify_chain finds something".')
        if not told["ok"]:
            raise SystemExit(1)
