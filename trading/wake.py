"""Wake a worker after commit. A hint only: whoever is not woken is found by a sweep.

What always holds: nothing is sent before the commit; a dead or slow Redis never fails or delays the caller for long,
and people are told of it, at most once an hour.
"""

import logging
from functools import partial
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import DatabaseError, transaction
from kombu import pools

from trading.clock import wall_now
from trading.models import Notification

log = logging.getLogger(__name__)
# Whoever wakes must not wait: a Redis that does not answer is asked twice at once, where Celery would ask it for
# seconds, with pauses.
IMPATIENT = {
    "socket_timeout": 0.5,
    "socket_connect_timeout": 0.5,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
}


def wake(task_name: str, *args: Any) -> None:
    """Send the task by name once the transaction has committed (at once outside one)."""
    if not settings.REDIS_URL:
        return
    transaction.on_commit(partial(_send, task_name, args), robust=True)


def _send(task_name: str, args: tuple[Any, ...]) -> None:
    try:
        line = current_app.connection_for_write()
        line.transport_options = {**line.transport_options, **IMPATIENT}
        with pools.producers[line].acquire(block=True) as producer:
            current_app.send_task(task_name, args=list(args), retry=False, producer=producer)
    except Exception as error:  # noqa: BLE001 - the queue is a hint: the sweep does the work if it is down
        log.warning("could not wake %s: %s; the sweep will find the work", task_name, error)
        _tell(str(error))


def _tell(why: str) -> None:
    """Say that nobody can be woken: what is committed waits for the sweep, which needs the queue as well."""
    text = (
        f"The queue does not take tasks ({why[:200]}). Nothing is lost: what is committed stands in PostgreSQL and "
        "is done as soon as the queue works again. Look at Redis: is it running, full, or another's?"
    )
    try:
        Notification.objects.get_or_create(
            key=f"queue-down:{wall_now():%Y%m%d%H}", defaults={"text": text, "level": "CRITICAL", "at": wall_now()}
        )
    except DatabaseError as error:
        log.warning("nobody could be told of that: %s", error)
