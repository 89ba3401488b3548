"""`manage.py live_port`: the portfolio engine on the paper book, from files (replay) or live (ws)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from trading.management.live import add_arguments, run
from trading.management.parsing import BlockCommand


class Command(BlockCommand):
    """Parse, one engine verb, blocks."""

    help = "Run the portfolio engine on the paper book: --mode replay over bars from files, or --mode ws live."

    def add_arguments(self, parser: CommandParser) -> None:
        """See DESIGN: the flags of the engine."""
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run; exit code 1 with a block that says why when it cannot."""
        run(options, mirror="none")
