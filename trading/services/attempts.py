"""How often a piece of work was begun without ending, counted in PostgreSQL before it begins.

What always holds: work that kills its worker three times is dead: it is left alone and a person must look, however
often Celery delivers it.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, transaction

from trading.clock import wall_now
from trading.models import Notification, TaskAttempt

from . import audit
from .audit import Actor

LIMIT = 3
_COUNT = """
    INSERT INTO trading_taskattempt AS known (key, attempts, last_error, updated_at)
    SELECT key, 1, '', %s FROM unnest(%s::text[]) AS key
    ON CONFLICT (key) DO UPDATE SET attempts = known.attempts + 1, updated_at = excluded.updated_at
    WHERE known.dead_at IS NULL AND known.attempts < %s
    RETURNING key
"""


def send_key(order_id: int) -> str:
    """Under which the sends of an order are counted."""
    return f"orders.send:{order_id}"


def begin(*, key: str) -> bool:
    """Count a beginning; False when the work is dead."""
    return bool(begin_all(keys=[key]))


@transaction.atomic(savepoint=False)
def begin_all(*, keys: Sequence[str]) -> set[str]:
    """Count a beginning of each; the keys of those that are not dead."""
    with connection.cursor() as cursor:  # on the way of every order: one statement where nothing is wrong
        cursor.execute(_COUNT, [wall_now(), list(keys), LIMIT])
        begun = {str(key) for (key,) in cursor.fetchall()}
    return begun | {key for key in keys if key not in begun and _begin(key)}


def _begin(key: str) -> bool:
    """The same for work that was begun too often, or was not there to be counted a moment ago."""
    row, _ = TaskAttempt.objects.select_for_update().get_or_create(key=key)
    if row.dead_at is not None:
        return False
    if row.attempts >= LIMIT:
        row.dead_at = wall_now()
        row.save(update_fields=["dead_at", "updated_at"])
        Notification.objects.get_or_create(
            key=f"dead:{key}",
            defaults={
                "level": "CRITICAL",
                "text": f"{key} was begun {row.attempts} times and never ended. It is left alone now: look at the "
                "worker's log, then at the order in the admin.",
                "at": wall_now(),
            },
        )
        audit.record(
            kind="work.given_up",
            actor=Actor.system("attempts"),
            obj=row,
            after={"attempts": row.attempts},
            reason=f"begun {row.attempts} times, never ended",
        )
        return False
    row.attempts += 1
    row.save(update_fields=["attempts", "updated_at"])
    return True


def end(*, key: str) -> None:
    """The work ended (well, or with an error that was handled): forget its beginnings."""
    end_all(keys=[key])


def end_all(*, keys: Sequence[str]) -> None:
    """Several pieces of work ended."""
    TaskAttempt.objects.filter(key__in=keys, dead_at=None).delete()
