"""How every process of ours logs: one line a record on stderr, times in UTC; the desk keeps them in `var/log`.

What always holds here: stdout is never touched (it belongs to blocks and JSON); each line names the request, command or
task it belongs to, by the same id as the audit trail.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from trading import context


class UtcFormatter(logging.Formatter):
    """`2026-01-31T09:30:00.123Z WARNING trading.engine [request id] sentence`."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """With the id of the work at hand, unless the record names one."""
        record.__dict__.setdefault("request_id", context.current().request_id)
        return super().format(record)


def configuration(level: str) -> dict[str, Any]:
    """The dictionary for `logging.config`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": UtcFormatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            name: {"handlers": ["stderr"], "level": level, "propagate": False}
            for name in ("backoffice", "trading", "reconciliation", "celery", "django")
        }
        # Beat and workers tell each tick, every two seconds for ever.
        | {name: {"level": "WARNING"} for name in ("celery.beat", "celery.worker.strategy", "celery.app.trace")},
    }
