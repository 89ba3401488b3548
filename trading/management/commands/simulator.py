"""`manage.py simulator`: the broker simulator in the foreground. All options are the simulator's own."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from trading.simulator.__main__ import main


class Command(BaseCommand):
    """Runs the simulator; needs no database."""

    help = "Run the broker simulator (see --help of python -m trading.simulator for its options)."
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand every option on untouched."""
        sys.exit(main(argv[2:]))

    def handle(self, *args: Any, **options: Any) -> None:
        """Called from code: the simulator with its defaults."""
        sys.exit(main([]))
