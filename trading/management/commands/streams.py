"""`manage.py streams`: the standing process that listens to what the brokers stream, for all accounts of the desk."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from trading.engine.streams import Streams
from trading.services import starts

READY_FILE = "BACKOFFICE_READY_FILE"


class Command(BaseCommand):
    """Listen until somebody stops it; a second one stands by until the first has ended."""

    help = "Listen to the brokers' event and price streams until stopped (part of the desk; polling goes on without)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run in the foreground; SIGTERM and Ctrl-C end it within two seconds."""
        starts.try_to_record_start("streams", via="stream")
        streams = Streams()

        def stop(_signal: int, _frame: FrameType | None) -> None:
            streams.stop()

        for caught in (signal.SIGTERM, signal.SIGINT):
            signal.signal(caught, stop)
        streams.run(ready=_tell_who_waits)


def _tell_who_waits() -> None:
    """Make the file that the desk waits for, if it asked for one."""
    wanted = os.environ.get(READY_FILE)
    if wanted:
        Path(wanted).touch()
