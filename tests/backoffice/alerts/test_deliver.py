"""What people must know leaves once for every channel, together, the gravest first."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

import pytest

from backoffice.alerts.deliver import MOST, deliver
from tests.backoffice.digest.receiving import MailServer, Webhook
from trading.models import Account, Notification
from trading.services.notifications import note
from trading.services.setup import ensure_account

pytestmark = pytest.mark.django_db
State = Notification.State


@pytest.fixture(autouse=True)
def nowhere(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages go nowhere unless the test says where."""
    settings.EMAIL_TO = []
    monkeypatch.delenv("DISCORD_WEBHOOK_URL", raising=False)


def tell(number: int, level: str = "WARNING", text: str = "") -> None:
    """Something that people are to know."""
    note(key=f"thing:{number}", text=text or f"thing {number}", level=level)


def said(webhook: Webhook) -> list[list[str]]:
    """The lines of every message that Discord got, as it shows them."""
    return [post.payload["content"].replace("\\", "").splitlines() for post in webhook.posts]


def test_what_is_new_leaves_in_one_message_the_gravest_first_and_never_again(webhook: Webhook) -> None:
    tell(1)
    tell(2, "CRITICAL")
    assert deliver(os.environ) == {"log": 1, "discord": 1}
    assert deliver(os.environ) == {"log": 0, "discord": 0}
    assert said(webhook) == [["CRITICAL: thing 2", "WARNING: thing 1"]]
    tell(3)
    deliver(os.environ)
    assert said(webhook)[1:] == [["WARNING: thing 3"]]


def test_a_flood_is_one_message_that_counts_the_rest(webhook: Webhook) -> None:
    for number in range(500):
        tell(number)
    tell(500, "CRITICAL")
    deliver(os.environ)
    (lines,) = said(webhook)
    assert len(lines) == MOST + 1 and lines[0] == "CRITICAL: thing 500"
    assert lines[-1].startswith(f"… and {501 - MOST} more")


def test_the_log_has_it_without_any_other_channel(caplog: pytest.LogCaptureFixture) -> None:
    tell(1, "CRITICAL")
    with caplog.at_level(logging.WARNING):
        assert deliver({}) == {"log": 1}
    assert "alert: CRITICAL: thing 1" in caplog.text


def test_what_surely_did_not_leave_is_tried_again_later_and_new_things_do_not_wait_for_it(webhook: Webhook) -> None:
    webhook.status = 404
    tell(1)
    assert deliver(os.environ)["discord"] == 0
    webhook.status = 204
    tell(2)
    assert deliver(os.environ)["discord"] == 1, "the second; the first has to wait"
    Notification.objects.filter(channel="discord", state=State.PLANNED).update(
        claimed_at=Notification.objects.latest("pk").at - timedelta(hours=2)
    )
    assert deliver(os.environ)["discord"] == 1
    assert said(webhook) == [["WARNING: thing 1"], ["WARNING: thing 2"], ["WARNING: thing 1"]]


def test_what_may_have_arrived_is_not_sent_again(webhook: Webhook) -> None:
    webhook.cut = True
    tell(1)
    deliver(os.environ)
    deliver(os.environ)
    assert len(webhook.posts) == 1
    assert Notification.objects.get(channel="discord").state == State.UNKNOWN


def test_a_channel_that_is_configured_later_is_not_told_the_past(webhook: Webhook) -> None:
    tell(1)
    Notification.objects.update(at=Notification.objects.get().at - timedelta(days=2))
    assert deliver(os.environ) == {"log": 0, "discord": 0}


def test_what_was_to_be_told_before_a_long_standstill_is_told_after_it(webhook: Webhook) -> None:
    tell(1)
    deliver(os.environ)
    tell(2, "CRITICAL")
    Notification.objects.filter(key="thing:2").update(at=Notification.objects.latest("pk").at - timedelta(days=3))
    assert deliver(os.environ) == {"log": 1, "discord": 1}
    assert said(webhook)[1:] == [["CRITICAL: thing 2"]]


def test_account_numbers_stay_at_home(webhook: Webhook, mail_server: MailServer) -> None:
    account = ensure_account(
        name="live",
        broker=Account.Broker.OANDA,
        environment=Account.Environment.SIMULATOR,
        external_id="101-004-7654321-001",
        currency="USD",
    )
    tell(1, text=f"{account.name} ({account.external_id}) is not flat")
    assert deliver(os.environ) == {"log": 1, "discord": 1, "email": 1}
    assert account.external_id not in str(webhook.posts[0].payload)
    assert account.external_id not in str(mail_server.mails[0])
