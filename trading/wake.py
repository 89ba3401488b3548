"""Wake a worker after commit. A hint only: whoever is not woken is found by a sweep.

What always holds: nothing is sent before the commit; a dead or slow Redis never fails or delays the caller for long.
"""

import logging
from functools import partial
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)


def wake(task_name: str, *args: Any) -> None:
    """Send the task by name once the transaction has committed (at once outside one)."""
    if not settings.REDIS_URL:
        return
    transaction.on_commit(partial(_send, task_name, args), robust=True)


def _send(task_name: str, args: tuple[Any, ...]) -> None:
    try:
        current_app.send_task(task_name, args=list(args), retry=False)
    except Exception as error:  # noqa: BLE001 - the queue is a hint: the sweep does the work if it is down
        log.warning("could not wake %s: %s; the sweep will find the work", task_name, error)
