"""What people must know now, on its way to them: to the log always, to Discord and e-mail where these are configured.

What always holds: a notification without a channel is what people are to be told; each channel is given all that it
was not given yet in one message, the gravest first, at most `MOST` of them in full; each leaves at most once, and what
surely did not leave is tried again (see `trading/services/notifications.py`). Nothing is passed over because its
transaction took long.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import OperationalError, connection, transaction

from backoffice.digest.message import LONGEST, Message
from backoffice.digest.send import Sent, channels, send
from backoffice.digest.words import clean, markdown, without_numbers
from trading.clock import wall_now
from trading.models import Account, Notification
from trading.services import notifications
from trading.services.audit import Actor

log = logging.getLogger(__name__)

ACTOR = Actor.system("alerts", via="task")
LOG = "log"
MOST = 10
PREFIX = "alerts:"
# What stood before a channel was configured is history to it.
FRESH = timedelta(days=1)
GRAVITY = {"CRITICAL": 0, "WARNING": 1}
State = Notification.State
UNENDED = (State.PLANNED, State.SENDING)


def deliver(environment: Mapping[str, str]) -> dict[str, int]:
    """Give every channel what it was not given yet, and try again what did not leave; how many left, by channel."""
    left = {}
    for channel in (LOG, *channels(environment)):
        _make(channel)
        waiting = Notification.objects.filter(channel=channel, key__startswith=PREFIX, state__in=UNENDED).order_by("pk")
        left[channel] = sum(_leaves(row, environment) for row in waiting)
    return left


@transaction.atomic
def _make(channel: str) -> None:
    """The message of everything that is new to a channel; nothing while somebody still writes what is to be told."""
    if not _is_whole():
        return
    told = Notification.objects.filter(channel=channel, key__startswith=PREFIX).order_by("-pk").first()
    new = Notification.objects.filter(channel="")
    if told is not None:  # whatever stood still since, nothing that came after it is passed over
        new = new.filter(pk__gt=int(told.key.rsplit(":", 1)[1]))
    else:
        new = new.filter(at__gt=wall_now() - FRESH)
    rows = list(new.exclude(key__startswith="digest:").order_by("pk"))
    if rows:
        notifications.note(
            key=f"{PREFIX}{channel}:{rows[-1].pk}", text=text_of(rows), channel=channel, level=_gravest(rows)
        )


def _is_whole() -> bool:
    """Whether every notification with a number can be seen, until the end of this transaction.

    A channel remembers how far it was told by the last number, and a run that takes long shows its rows after others
    that have drawn theirs later. Who writes one holds the table's lock from before the number is drawn.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            table = connection.ops.quote_name(Notification._meta.db_table)
            cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE NOWAIT")
    except OperationalError:
        log.info("somebody is writing what people are to know; it is told in the next round")
        return False
    return True


def text_of(rows: Sequence[Notification]) -> str:
    """Several notifications as one text: the gravest first, and how many more there are."""
    ranked = sorted(rows, key=lambda row: (GRAVITY.get(row.level, 2), row.pk))
    lines = [f"{row.level}: {row.text}" for row in ranked[:MOST]]
    if len(ranked) > MOST:
        lines.append(f"… and {len(ranked) - MOST} more: they are on the desk's pages.")
    return "\n".join(lines)


def _gravest(rows: Sequence[Notification]) -> str:
    return min((row.level for row in rows), key=lambda level: GRAVITY.get(level, 2))


def _leaves(row: Notification, environment: Mapping[str, str]) -> bool:
    """Whether it left now."""
    if not notifications.claim(key=row.key):
        return False
    sent = _to_log(row) if row.channel == LOG else send(row.channel, _message(row), environment)
    return notifications.settle(key=row.key, state=sent.state, error=sent.error, actor=ACTOR).state == State.SENT


def _to_log(row: Notification) -> Sent:
    for line in row.text.splitlines():
        log.log(logging.CRITICAL if row.level == "CRITICAL" else logging.WARNING, "alert: %s", line)
    return Sent(State.SENT)


def _message(row: Notification) -> Message:
    """As it leaves the house: without the numbers of accounts, and short enough for any channel."""
    numbers = Account.objects.exclude(broker=Account.Broker.PAPER).values_list("external_id", flat=True)
    shown = markdown if row.channel == "discord" else clean
    text = "\n".join(shown(line) for line in without_numbers(row.text, numbers).splitlines())
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return Message(f"Trading back office: {row.level}", cut, None)
