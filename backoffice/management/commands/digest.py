"""`manage.py digest`: a trading day's digest as CSV, Markdown and picture; sent once where a channel is configured."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from backoffice.digest import command
from backoffice.digest.making import make_daily
from trading.management.parsing import BlockCommand


class Command(BlockCommand):
    """Parse, one verb, one block."""

    block, not_done = "DIGEST", "No digest was made."
    help = "Make a trading day's digest (reports/pnl_YYYYMMDD.csv, .md, .png). Prints the DIGEST block."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which day, which account."""
        parser.add_argument("--date", default="", metavar="D", help="the accounts' trading day (default: the present)")
        parser.add_argument("--account", default="", metavar="A", help="only this account (default: all of the desk's)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it; exit code 1 with a block that says why when it cannot."""
        day = command.parse_day(options["date"])
        command.run(lambda: make_daily(account=options["account"], day=day, by_hand=True, actor=command.ACTOR))
