"""A notification whose transaction took long is told as well, after others that were written later."""

from __future__ import annotations

import psycopg

from backoffice.alerts.deliver import deliver
from tests.conftest import CommittedDatabase
from trading.models import Notification
from trading.services.notifications import note


def test_what_was_written_first_and_committed_last_is_told_too(committed_db: CommittedDatabase) -> None:
    slow = psycopg.connect(committed_db.urls.application)
    with slow.cursor() as cursor:
        cursor.execute(
            "INSERT INTO trading_notification (key, level, channel, text, at, state, attempts, error) "
            "VALUES ('slow', 'CRITICAL', '', 'written first', now(), 'PLANNED', 0, '')"
        )
        note(key="thing:2", text="thing 2", level="WARNING")
        assert deliver({}) == {"log": 0}, "it waits: a smaller number is still on its way"
        slow.commit()
    slow.close()
    note(key="thing:3", text="thing 3", level="WARNING")
    assert deliver({}) == {"log": 1}
    text = Notification.objects.get(channel="log").text
    assert text.splitlines() == ["CRITICAL: written first", "WARNING: thing 2", "WARNING: thing 3"]
    assert deliver({}) == {"log": 0}
