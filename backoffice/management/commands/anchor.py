"""`manage.py anchor`: write the chain's head down outside the database, now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from backoffice.proof.anchoring import anchor_now, anchors_file
from trading.engine.anchors import AnchorRefused
from trading.services.audit import Actor


class Command(BaseCommand):
    """One verb, one line."""

    help = "Append the head of the hash chain, sealed, to the anchors (var/anchors.jsonl)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Anchor; exit code 1 with a sentence when file and books contradict each other or it cannot be written."""
        try:
            line = anchor_now(Actor.system("anchor", via="command"))
        except AnchorRefused as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database does not answer, so nothing was anchored: {error}") from error
        except OSError as error:
            raise CommandError(f"The anchors cannot be written ({error}). The books are as they were.") from error
        if line is None:
            self.stdout.write(f"Nothing was sealed since the last anchor in {anchors_file()}.")
        else:
            self.stdout.write(f"Block {line.number} {line.hash} is anchored in {anchors_file()}.")
