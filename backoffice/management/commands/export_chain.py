"""`manage.py export_chain`: everything that is sealed, as a bundle that proves itself without this project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice.proof.bar import row_bar
from backoffice.proof.bundle import BundleRefused, export_bundle
from trading.services.audit import Actor


class Command(BaseCommand):
    """Parse, one verb, what to do with it."""

    help = "Export the hash chain with every row it seals, for an auditor: a directory, .zip or .tar.gz."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to."""
        parser.add_argument(
            "--to", required=True, metavar="DIR|FILE", help="a directory, or a name ending in .zip or .tar.gz"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Export; exit code 1 with a sentence when the target is taken or cannot be written."""
        target = Path(options["to"]).absolute()
        try:
            with row_bar("Exporting") as progress:
                manifest = export_bundle(target, actor=Actor.system("export_chain", via="command"), progress=progress)
        except BundleRefused as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{target} cannot be written ({error}). Nothing was exported.") from error
        rows = sum(table["rows"] for table in manifest["tables"].values())
        head = manifest["head"]
        self.stdout.write(f"{rows} rows in {head['number']} blocks, head {head['hash']}: {target}")
        self.stdout.write("It proves itself: python verify_books.py (inside it) and its name.")
