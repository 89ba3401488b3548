"""Seed and run the demo day: on the desk that is running, or on one that is started for it.

A seeded market at speed, three symbols at OANDA and two at Alpaca, strategies trading; then four planted differences.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from backoffice.desk.join import desk_facts


class Command(BaseCommand):
    """The demo day; what it says goes to standard output, a line at a time."""

    help = __doc__
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """How long to wait for what must happen by itself."""
        parser.add_argument("--patience", type=float, default=900.0, metavar="SECONDS", help="for the first trade")

    def handle(self, *args: Any, **options: Any) -> None:
        """Plant the differences on the running desk; without one start a desk that does so."""
        if not desk_facts():
            from backoffice.desk.run import Desk

            sys.exit(Desk(demo=True).run())
        from backoffice.demo.day import Day, DemoStopped
        from trading.brokers.simulator_control import SimulatorControl
        from trading.domain.broker import BrokerUnreachable

        url = os.environ.get("BACKOFFICE_SIMULATOR_URL") or desk_facts().get("BACKOFFICE_SIMULATOR_URL", "")
        if not url:
            self.stderr.write("The running desk has no simulator of its own, so there is nothing to plant anything at.")
            sys.exit(1)
        control = SimulatorControl(url)
        try:
            Day(control, self._tell, patience_seconds=options["patience"]).run()
        except (DemoStopped, BrokerUnreachable) as error:
            self.stderr.write(str(error))
            sys.exit(1)
        finally:
            control.close()
        self._tell("Everything of the demo day is planted.")

    def _tell(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()
