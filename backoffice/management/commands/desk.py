"""Run everything in one terminal: servers, simulator, web, workers, beat. Ctrl-C stops it."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from backoffice.desk.run import Desk


class Command(BaseCommand):
    """The desk; it runs until it is stopped."""

    help = __doc__
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(Desk().run())
