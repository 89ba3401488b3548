"""Run everything in one terminal: servers, simulator, web, workers, beat. Ctrl-C stops it."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from backoffice.desk.run import Desk


class Command(BaseCommand):
    """The desk; it runs until it is stopped."""

    help = __doc__
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Whether the demo day is a part of it."""
        parser.add_argument("--demo", action="store_true", help="run the demo day, too")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until somebody stops it."""
        sys.exit(Desk(demo=options["demo"]).run())
