"""`manage.py digest_now`: the digest of the last hours, as a picture; sent once where a channel is configured."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from backoffice.digest import command
from backoffice.digest.making import make_intraday
from trading.management.parsing import BlockCommand


class Command(BlockCommand):
    """Parse, one verb, one block."""

    block, not_done = "DIGEST", "No digest was made."
    help = "Make the digest of the last hours (reports/intraday_pnl_YYYYMMDD.png). Prints the DIGEST block."

    def add_arguments(self, parser: CommandParser) -> None:
        """How many hours, which account."""
        parser.add_argument("--hours", default="6", metavar="N", help="of the accounts' own time (default 6)")
        parser.add_argument("--account", default="", metavar="A", help="only this account (default: all of the desk's)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it; exit code 1 with a block that says why when it cannot."""
        text = str(options["hours"])
        if not (text.isascii() and text.isdigit() and len(text) < 9):
            command.refuse(f"--hours {text[:40]!r} is not a whole number of hours. No digest was made.")
        hours = int(text)
        command.run(lambda: make_intraday(hours=hours, account=options["account"], by_hand=True, actor=command.ACTOR))
