"""Heartbeats: when a part of the desk was last alive, in wall time."""

import os

from trading.clock import wall_now
from trading.models import Heartbeat


def beat(name: str) -> None:
    """Part `name` is alive."""
    Heartbeat.objects.update_or_create(name=name, defaults={"at": wall_now(), "details": {"pid": os.getpid()}})
