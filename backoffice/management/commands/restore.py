"""`manage.py restore`: bring the books of a backup back, proven before they take anybody's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice.desk.paths import DeskError
from backoffice.proof.archive import BadBackup
from backoffice.proof.bar import row_bar
from backoffice.proof.programs import ProgramFailed
from backoffice.proof.restore import restore_backup
from trading.services.audit import Actor


class Command(BaseCommand):
    """Parse, one verb, each step in words."""

    help = "Restore a backup. Books that stand there are never overwritten; with --replace they are kept aside."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """From where, and whether what stands there may be moved aside."""
        parser.add_argument("--from", dest="source", required=True, metavar="FILE", help="made by manage.py backup")
        parser.add_argument("--replace", action="store_true", help="keep the present books under another name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Restore; exit code 1 with a sentence when anything is not as it must be."""
        try:
            with row_bar("Restoring") as progress:
                restore_backup(
                    Path(options["source"]).absolute(),
                    replace=options["replace"],
                    actor=Actor.system("restore", via="command"),
                    say=self.stdout.write,
                    progress=progress,
                )
        except (BadBackup, DeskError) as error:
            raise CommandError(str(error)) from error
        except (ProgramFailed, OSError, psycopg.Error) as error:
            raise CommandError(f"The backup was not restored ({error}). What stood there still stands.") from error
