"""The Celery application: workers and beat. A worker without database, key or Redis refuses to start."""

import os
import sys
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_init, worker_ready

from backoffice import context  # noqa: F401 - its hooks carry the context from whoever wakes a worker to the task
from backoffice.demands import demand
from trading.context import begin_process

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backoffice.settings")

app = Celery("backoffice")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Celery would close the database's connection around every task; opening one takes longer than sending an order. How
# long it is kept is Django's to say (`CONN_MAX_AGE`), asked before every task (`backoffice.context.enter`).
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize


@worker_init.connect  # type: ignore[untyped-decorator]
def refuse_half_a_worker(**_: Any) -> None:
    """Refuse to start a worker that could not do its work, or that nobody could reach."""
    begin_process(via="task", name="worker")
    missing = demand("BACKOFFICE_SECRET_KEY", "DATABASE_URL", "REDIS_URL")
    if missing:
        sys.exit(missing)  # Celery logs and ignores any lesser exception of a signal handler


@worker_init.connect  # type: ignore[untyped-decorator]
def block_entries(**_: Any) -> None:
    """A new process epoch: no entries at any broker before a complete reconciliation has found nothing grave."""
    import django
    from django.db import connections

    django.setup()
    from reconciliation.engine.startup import block_entries_until_reconciled
    from trading.services.starts import record_start

    record_start("worker", via="task")
    block_entries_until_reconciled()
    connections.close_all()  # the pool's children must not share this process's connection


@beat_init.connect  # type: ignore[untyped-decorator]
def audit_the_start_of_beat(**_: Any) -> None:
    """Beat belongs to the desk's standing parts; what it asks for gets an id of its own each time."""
    from django.db import connections

    from trading.services.starts import try_to_record_start

    begin_process(via="task", name="beat")
    try_to_record_start("beat", via="task")
    connections.close_all()


@worker_ready.connect  # type: ignore[untyped-decorator]
@beat_init.connect  # type: ignore[untyped-decorator]
def tell_the_desk(**_: Any) -> None:
    """Make the file that the desk waits for, if it asked for one."""
    wanted = os.environ.get("BACKOFFICE_READY_FILE")
    if wanted:
        Path(wanted).touch()
