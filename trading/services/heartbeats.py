"""Heartbeats: when a part of the desk was last alive, in wall time."""

import os
from datetime import timedelta
from typing import Any

from trading.clock import wall_now
from trading.models import Heartbeat


def beat(name: str, **details: Any) -> None:
    """Part `name` is alive; `details` say what people should know of it."""
    told = {"pid": os.getpid(), **details}
    Heartbeat.objects.update_or_create(name=name, defaults={"at": wall_now(), "details": told})


def lately(name: str, *, within: timedelta) -> dict[str, Any] | None:
    """The details of a part that was alive within this time; None when it was not."""
    row = Heartbeat.objects.filter(name=name, at__gt=wall_now() - within).first()
    return dict(row.details) if row is not None else None
