"""`manage.py backup`: the books and their anchors in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice.desk import paths
from backoffice.desk.paths import DeskError
from backoffice.proof.backup import make_backup
from backoffice.proof.bar import row_bar
from backoffice.proof.programs import ProgramFailed
from trading.clock import wall_now
from trading.services.audit import Actor


class Command(BaseCommand):
    """Parse, one verb, where it is and what is not in it."""

    help = "Save the books and their anchors as one file (default: var/backups/). A desk may go on running."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to."""
        parser.add_argument("--to", default="", metavar="FILE", help="a new file (default: var/backups/books-….tar)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Save; exit code 1 with a sentence when it cannot be made."""
        try:
            target = Path(options["to"]).absolute() if options["to"] else _default()
            with row_bar("Saving") as progress:
                made = make_backup(
                    target, actor=Actor.system("backup", via="command"), say=self.stderr.write, progress=progress
                )
        except (DeskError, ProgramFailed) as error:
            raise CommandError(str(error)) from error
        except (OSError, psycopg.Error) as error:
            raise CommandError(f"No backup was made ({error}). The books are as they were.") from error
        self.stdout.write(
            f"Saved: {target} ({target.stat().st_size:,} bytes), up to block {made.head} {made.block_hash}."
        )
        self.stdout.write(
            "It is not encrypted: only this user can read it here; keep it that way where you copy it to. Not in it, "
            f"and to be kept apart: the anchors' key and the passwords, in {paths.var_directory() / 'secrets.json'}."
        )


def _default() -> Path:
    folder = paths.make_private(paths.var_directory() / "backups")
    return folder / f"books-{wall_now():%Y%m%d-%H%M%S}.tar"
