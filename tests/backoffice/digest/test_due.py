"""When a day's digest is due: on the accounts' own clocks, once, and the days of an absence are made up for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from backoffice import schedules
from backoffice.celery import app
from backoffice.digest.due import due_days
from backoffice.tasks import digest
from tests.backoffice.digest.receiving import Webhook
from tests.conftest import CommittedDatabase
from tests.trading.services.making import cash_of, receive
from trading.clock import store_broker_clock
from trading.models import Account, Heartbeat, Notification
from trading.services.setup import ensure_account

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
NEW_YORK, KOLKATA = "America/New_York", "Asia/Kolkata"


def make(name: str, *, zone: str = "UTC", money: bool = True) -> Account:
    """A paper account of the desk, with money since Monday at eight; its row was made much later, in wall time."""
    account = ensure_account(
        name=name,
        broker=Account.Broker.PAPER,
        environment=Account.Environment.IN_PROCESS,
        external_id=name,
        currency="USD",
        time_zone=zone,
        opened_at=MONDAY + timedelta(days=200),
    )
    if money:
        receive(account, cash_of(1, "TRANSFER", "100000"))
    return account


def at(account: Account, moment: datetime) -> None:
    """Let the account's clock stand there."""
    store_broker_clock(account=account, broker_at=moment, speed=Decimal(0))


def days(*numbers: int) -> list[date]:
    return [date(2026, 3, number) for number in numbers]


def test_beat_asks_in_the_slow_queue_and_the_worker_knows_the_tasks() -> None:
    app.loader.import_default_modules()
    entry = next(entry for entry in schedules.SCHEDULE.values() if entry["task"] == "slow.digest")
    assert entry["options"]["queue"] == "slow" and entry["schedule"] <= 60
    assert {"slow.digest", "slow.digest_now"} <= set(app.tasks)
    for name in ("slow.digest", "slow.digest_now"):
        assert app.amqp.router.route({}, name)["queue"].name == "slow"


def test_nothing_is_due_without_accounts_or_before_the_first_day_is_over(committed_db: CommittedDatabase) -> None:
    assert due_days() == [] and digest() == {}
    account = make("desk-paper", money=False)
    at(account, MONDAY + timedelta(days=3))
    assert due_days() == [], "there are no books yet"
    receive(account, cash_of(1, "TRANSFER", "100000"))
    at(account, MONDAY + timedelta(hours=23, minutes=59))
    assert due_days() == []
    assert not Notification.objects.exists() and Heartbeat.objects.filter(name="slow").exists()


def test_a_day_is_due_a_little_after_midnight_and_only_once(committed_db: CommittedDatabase, tmp_path: Any) -> None:
    account = make("desk-paper")
    midnight = MONDAY + timedelta(days=1)
    at(account, midnight + timedelta(minutes=1))
    assert due_days() == []
    at(account, midnight + timedelta(minutes=2))
    assert due_days() == days(2)
    assert set(digest()) == {"2026-03-02"} and digest() == {}
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == ["pnl_20260302.csv", "pnl_20260302.md"]
    assert Notification.objects.get().key == "digest:2026-03-02:desk"
    at(account, midnight + timedelta(hours=23))
    assert due_days() == []
    at(account, midnight + timedelta(days=1, hours=1))
    assert due_days() == days(3)


@pytest.mark.scenario("S-67")
def test_midnight_is_that_of_the_accounts_own_zone_and_the_last_account_decides(
    committed_db: CommittedDatabase,
) -> None:
    zones = {"london": "UTC", "new-york": NEW_YORK, "mumbai": KOLKATA}
    accounts = [make(name, zone=zone) for name, zone in zones.items()]
    for hours, due in ((0, []), (4, []), (6, days(2)), (23, days(2)), (24 + 6, days(3))):
        for account in accounts:
            at(account, MONDAY + timedelta(days=1, hours=hours))
        assert due_days() == due, hours


def test_the_days_of_an_absence_are_made_up_for_and_at_most_a_week(committed_db: CommittedDatabase) -> None:
    account = make("desk-paper")
    at(account, MONDAY + timedelta(days=1, hours=1))
    digest()
    at(account, MONDAY + timedelta(days=4, hours=1))
    assert due_days() == days(3, 4, 5)
    assert list(digest()) == ["2026-03-03", "2026-03-04", "2026-03-05"] and due_days() == []
    at(account, MONDAY + timedelta(days=20, hours=1))
    assert due_days() == days(21), "after more than a week only the last day"


def test_what_a_person_made_of_a_finished_day_is_not_made_again(committed_db: CommittedDatabase) -> None:
    account = make("desk-paper")
    at(account, MONDAY + timedelta(days=1, hours=1))
    digest(day="2026-03-02")
    assert due_days() == []
    digest(day="2026-03-03")
    at(account, MONDAY + timedelta(days=2, hours=1))
    assert due_days() == days(3), "a day that was not over when it was looked at is still due"


def test_a_message_that_was_refused_makes_its_day_due_again(committed_db: CommittedDatabase, webhook: Webhook) -> None:
    account = make("desk-paper")
    at(account, MONDAY + timedelta(days=1, hours=1))
    webhook.status = 403
    assert digest() == {"2026-03-02": {"discord": "PLANNED"}} and due_days() == []
    row = Notification.objects.get(channel="discord")
    row.claimed_at = (row.claimed_at or row.at) - timedelta(minutes=1)
    row.save()
    webhook.status = 204
    assert due_days() == days(2) and digest() == {"2026-03-02": {"discord": "SENT"}}
    assert due_days() == [] and len(webhook.posts) == 2


@pytest.mark.scenario("S-67")
def test_a_day_that_a_clock_of_summer_time_makes_shorter_is_due_at_its_end(committed_db: CommittedDatabase) -> None:
    account = make("new-york", zone=NEW_YORK)
    at(account, datetime(2026, 3, 9, 4, 3, tzinfo=UTC))  # 00:03 in summer time; in winter time it were 23:03
    assert due_days() == days(8)
