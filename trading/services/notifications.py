"""Messages to people, once per key: who may send one, and what came of it.

What always holds: whoever sends has claimed the row first, in a transaction of its own that is committed before a
byte leaves; a row is claimed by one sender alone. What may have been delivered (SENDING that never ended, UNKNOWN) is
never sent again: at most once. What surely was not delivered waits, longer each time, and is given up in the end.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from trading.clock import wall_now
from trading.models import Notification

from . import audit
from .audit import Actor

State = Notification.State

LEFT_BEHIND = timedelta(minutes=3)
"""After this long a claim without a result was made by a sender that died: nobody knows whether it was delivered."""
MOST_ATTEMPTS = 5
FIRST_WAIT = timedelta(minutes=1)


@transaction.atomic
def note(*, key: str, text: str, channel: str = "", level: str = "INFO") -> Notification:
    """The notification of that key, made on first use; one that stands keeps its text."""
    row, _ = Notification.objects.get_or_create(
        key=key, defaults={"text": text, "channel": channel, "level": level, "at": wall_now()}
    )
    return row


@transaction.atomic
def claim(*, key: str, by_hand: bool = False) -> bool:
    """Take the right to send it now; False when it was sent, may have been, is being sent, or has to wait.

    By hand it need not wait, and one that was given up is tried once more.
    """
    row = Notification.objects.select_for_update(no_key=True).get(key=key)
    if row.state == State.SENDING and row.claimed_at is not None and row.claimed_at < wall_now() - LEFT_BEHIND:
        row.state, row.error = State.UNKNOWN, "its sender ended before it knew; it is not sent again"
        row.save(update_fields=["state", "error"])
        audit.record(
            kind="notification.unknown",
            actor=Actor.system("notifications"),
            obj=row,
            before={"state": str(State.SENDING)},
            after={"state": str(State.UNKNOWN), "attempts": row.attempts},
            reason=row.error,
        )
        return False
    allowed = row.state == State.PLANNED and (by_hand or is_due(row))
    if not allowed and not (by_hand and row.state == State.REFUSED):
        return False
    row.state, row.claimed_at, row.attempts = State.SENDING, wall_now(), row.attempts + 1
    row.save(update_fields=["state", "claimed_at", "attempts"])
    return True


@transaction.atomic
def settle(*, key: str, state: str, error: str = "", actor: Actor) -> Notification:
    """Write down what came of a claim: SENT, UNKNOWN, or PLANNED for "surely not delivered, try again later"."""
    row = Notification.objects.select_for_update(no_key=True).get(key=key)
    if state == State.PLANNED and row.attempts >= MOST_ATTEMPTS:
        state = State.REFUSED
    before = str(row.state)
    row.state, row.error = State(state), error[:300]
    row.sent_at = wall_now() if state == State.SENT else None
    row.save(update_fields=["state", "error", "sent_at"])
    audit.record(
        kind=f"notification.{row.state.lower()}",
        actor=actor,
        obj=row,
        before={"state": before},
        after={"state": str(row.state), "attempts": row.attempts},
        reason=row.error,
        level="INFO" if state == State.SENT else "WARNING",
    )
    return row


def is_due(row: Notification, moment: datetime | None = None) -> bool:
    """Whether a planned one may be tried now: at once, then after 1, 2, 4 … minutes."""
    if row.state != State.PLANNED:
        return False
    if row.claimed_at is None:
        return True
    wait = FIRST_WAIT * 2 ** max(row.attempts - 1, 0)
    return bool((moment or wall_now()) >= row.claimed_at + wait)
