"""Messages leave once: a real server in Discord's place, a real mail server, and everything that goes wrong there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from backoffice.digest import send as sending
from backoffice.digest.making import make_daily
from backoffice.digest.send import BadWebhook, check_webhook
from backoffice.tasks import digest, digest_now
from tests.backoffice.digest.receiving import SECRET, MailServer, Webhook
from tests.backoffice.digest.saying import Said, run
from tests.conftest import CommittedDatabase
from trading.models import Account, AuditEvent, Notification, Trade
from trading.services import notifications
from trading.services.audit import Actor

Capture = pytest.CaptureFixture[str]
DAY = "2026-03-05"
TEST = Actor.system("a test", via="command")
State = Notification.State


@pytest.fixture
def send(capfd: Capture, paper: Account) -> Callable[[], Said]:
    """Make the first day's digest by hand."""
    return lambda: run(capfd, "digest", "--date", DAY)


def discord() -> Notification:
    """The one notification on its way to Discord."""
    return Notification.objects.get(channel="discord")


def wait_over() -> None:
    """Let as much time pass as any wait between two attempts lasts."""
    for row in Notification.objects.exclude(claimed_at=None):
        row.claimed_at = (row.claimed_at or row.at) - timedelta(hours=2)
        row.save()


class TestDiscord:
    """One POST to the webhook."""

    def test_one_post_carries_the_text_and_the_picture_and_mentions_nobody(
        self, send: Callable[[], Said], webhook: Webhook, mirror: Account, tmp_path: Path
    ) -> None:
        said = send()
        (post,) = webhook.posts
        assert post.path.endswith(SECRET)
        assert post.payload["allowed_mentions"] == {"parse": []}
        assert "Digest: 5 March 2026" in post.payload["content"] and "By strategy: orb" in post.payload["content"]
        assert mirror.external_id not in str(post.payload)
        name, content = post.file
        assert name == "pnl_20260305.png" and content == (tmp_path / said.block["png"]).read_bytes()
        assert said.block["sent"] == {"discord": "SENT"} and said.block["errors"] == []
        row = discord()
        assert (row.state, row.attempts, row.error) == (State.SENT, 1, "") and row.sent_at is not None
        assert AuditEvent.objects.filter(kind="notification.sent", object_id=str(row.pk)).count() == 1

    def test_a_day_without_trades_sends_its_text(self, capfd: Capture, paper: Account, webhook: Webhook) -> None:
        run(capfd, "digest", "--date", "2026-03-07")
        assert webhook.posts[0].file[0] == "pnl_20260307.md" and "0 trades" in webhook.posts[0].payload["content"]

    def test_whoever_makes_it_again_sends_nothing(self, send: Callable[[], Said], webhook: Webhook) -> None:
        send()
        assert send().block["sent"] == {"discord": "SENT"}
        digest(day=DAY)
        digest(day=DAY)
        assert len(webhook.posts) == 1

    def test_the_last_hours_are_sent_once_although_the_task_runs_twice(self, paper: Account, webhook: Webhook) -> None:
        assert digest_now(hours=6) == digest_now(hours=6) == {"discord": "SENT"}
        assert len(webhook.posts) == 1
        Trade.objects.filter(account=paper, trading_day="2026-03-09").update(pnl=1)
        digest_now(hours=6)
        assert len(webhook.posts) == 2, "other figures are another digest"

    def test_two_workers_at_the_same_moment_send_one(self, paper: Account, webhook: Webhook) -> None:
        webhook.gate.clear()
        ends: list[object] = []

        def work() -> None:
            try:
                ends.append(make_daily(day=date.fromisoformat(DAY), by_hand=False, actor=TEST).sent)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        while len(ends) < 2:  # those that were not first do not wait for the one that sends
            threads[0].join(0.01)
        webhook.gate.set()
        for thread in threads:
            thread.join(20)
        assert len(webhook.posts) == 1 and len(ends) == 3 and discord().state == State.SENT

    @pytest.mark.parametrize("status", [404, 429, 302])
    def test_what_was_refused_is_tried_again_later_and_then_given_up(
        self, send: Callable[[], Said], webhook: Webhook, status: int
    ) -> None:
        webhook.status = status
        webhook.headers = {"Location": webhook.url} if status == 302 else {}
        said = send()
        assert said.code == 0 and said.block["ok"] is True and said.block["sent"] == {"discord": "PLANNED"}
        assert str(status) in said.block["errors"][0]
        digest(day=DAY)
        assert len(webhook.posts) == 1, "not before its wait is over"
        for _ in range(notifications.MOST_ATTEMPTS + 1):
            wait_over()
            digest(day=DAY)
        assert len(webhook.posts) == notifications.MOST_ATTEMPTS and discord().state == State.REFUSED
        webhook.status = 204
        assert send().block["sent"] == {"discord": "SENT"}, "a person who has mended it need not wait"
        assert len(webhook.posts) == notifications.MOST_ATTEMPTS + 1

    @pytest.mark.parametrize("status", [500, 503])
    def test_what_may_have_arrived_is_never_sent_again(
        self, send: Callable[[], Said], webhook: Webhook, status: int
    ) -> None:
        webhook.status = status
        assert send().block["sent"] == {"discord": "UNKNOWN"}
        self._never_again(send, webhook)

    def test_a_connection_that_breaks_after_the_bytes_have_left_is_unknown(
        self, send: Callable[[], Said], webhook: Webhook
    ) -> None:
        webhook.cut = True
        assert send().block["sent"] == {"discord": "UNKNOWN"}
        webhook.cut = False
        self._never_again(send, webhook)

    def test_an_answer_that_does_not_come_in_time_is_unknown(
        self, send: Callable[[], Said], webhook: Webhook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "DEADLINE_SECONDS", 0.3)
        webhook.gate.clear()
        assert send().block["sent"] == {"discord": "UNKNOWN"}
        webhook.gate.set()
        self._never_again(send, webhook)

    def _never_again(self, send: Callable[[], Said], webhook: Webhook) -> None:
        webhook.status = 204
        wait_over()
        digest(day=DAY)
        send()
        assert len(webhook.posts) == 1 and discord().state == State.UNKNOWN and discord().sent_at is None

    def test_what_was_never_sent_goes_when_the_server_is_back(
        self, send: Callable[[], Said], webhook: Webhook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = webhook.url
        monkeypatch.setenv("DISCORD_WEBHOOK_URL", "http://127.0.0.1:1/api/webhooks/1/x")
        said = send()
        assert said.block["sent"] == {"discord": "PLANNED"} and "nothing was sent" in said.block["errors"][0]
        monkeypatch.setenv("DISCORD_WEBHOOK_URL", url)
        wait_over()
        digest(day=DAY)
        assert len(webhook.posts) == 1 and discord().state == State.SENT and discord().attempts == 2

    def test_a_sender_that_died_leaves_it_unknown(self, send: Callable[[], Said], webhook: Webhook) -> None:
        made = make_daily(day=date.fromisoformat(DAY), by_hand=False, actor=TEST)
        Notification.objects.filter(channel="discord").update(state=State.SENDING, sent_at=None)
        assert send().block["sent"] == {"discord": "SENDING"}
        wait_over()
        assert send().block["sent"] == {"discord": "UNKNOWN"} and made.sent == {"discord": "SENT"}
        assert len(webhook.posts) == 1

    def test_proxies_of_the_environment_are_not_asked(
        self, send: Callable[[], Said], webhook: Webhook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        send()
        assert len(webhook.posts) == 1

    @pytest.mark.parametrize("status", [204, 404, 500])
    def test_the_webhooks_address_is_nowhere(
        self,
        send: Callable[[], Said],
        webhook: Webhook,
        caplog: pytest.LogCaptureFixture,
        tmp_path: Path,
        status: int,
    ) -> None:
        webhook.status = status
        with caplog.at_level(logging.INFO):
            said = send()
        port = webhook.url.split(":")[2].split("/")[0]
        seen = said.out + said.err + caplog.text + _everything_stored()
        seen += "".join(path.read_text(errors="replace") for path in (tmp_path / "reports").iterdir())
        assert SECRET not in seen and f"127.0.0.1:{port}" not in seen

    def test_without_a_webhook_nothing_is_sent(self, send: Callable[[], Said]) -> None:
        assert send().block["sent"] == {} and not Notification.objects.exclude(channel="").exists()


def _everything_stored() -> str:
    """Every row of every table of ours, as text."""
    found = []
    with connection.cursor() as cursor:
        for model in apps.get_models():
            cursor.execute(f"SELECT t::text FROM {model._meta.db_table} t")
            found += [row[0] for row in cursor.fetchall()]
    return "\n".join(found)


@pytest.mark.parametrize(
    "address",
    [
        "http://discord.com/api/webhooks/1/x",
        "http://169.254.169.254/api/webhooks/1/x",
        "http://127.0.0.1.example.org/api/webhooks/1/x",
        "http://127.0.0.1@example.org/api/webhooks/1/x",
        "https://discord.com.example.org/api/webhooks/1/x",
        "https://notdiscord.com/api/webhooks/1/x",
        "https://me:pass@discord.com/api/webhooks/1/x",
        "https://discord.com:8443/api/webhooks/1/x",
        "https://discord.com/elsewhere",
        "https://[::1/api",
        "https://discord.com:port/api/webhooks/1/x",
        "ftp://discord.com/api/webhooks/1/x",
        "file:///etc/hosts",
        "discord",
    ],
)
def test_an_address_that_is_no_webhook_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(BadWebhook) as refused:
        check_webhook(address)
    assert address not in str(refused.value) and "DISCORD_WEBHOOK_URL" in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://discord.com/api/webhooks/1/x",
        "https://ptb.discord.com/api/v10/webhooks/1/x",
        "https://discordapp.com/api/webhooks/1/x",
        "http://127.0.0.1:8080/hook",
        "http://[::1]:8080/hook",
        "http://localhost/hook",
    ],
)
def test_a_webhook_is_taken(address: str) -> None:
    check_webhook(address)


class TestMail:
    """The same by e-mail."""

    def test_it_has_the_picture_and_goes_once(
        self, send: Callable[[], Said], mail_server: MailServer, tmp_path: Path
    ) -> None:
        assert send().block["sent"] == {"email": "SENT"}
        send()
        digest(day=DAY)
        (mail,) = mail_server.mails
        assert mail["To"] == "desk@example.org" and mail["Subject"] == "Digest: 5 March 2026"
        (attached,) = mail.iter_attachments()
        assert attached.get_filename() == "pnl_20260305.png"
        assert attached.get_content() == (tmp_path / "reports" / "pnl_20260305.png").read_bytes()

    def test_both_channels_go_their_own_ways(
        self, send: Callable[[], Said], mail_server: MailServer, webhook: Webhook
    ) -> None:
        webhook.status = 500
        assert send().block["sent"] == {"discord": "UNKNOWN", "email": "SENT"}

    def test_a_refused_address_waits(self, send: Callable[[], Said], mail_server: MailServer) -> None:
        mail_server.refuse = True
        assert send().block["sent"] == {"email": "PLANNED"}
        mail_server.refuse = False
        wait_over()
        digest(day=DAY)
        assert len(mail_server.mails) == 1

    def test_a_server_that_hangs_up_after_the_data_may_have_taken_it(
        self, send: Callable[[], Said], mail_server: MailServer
    ) -> None:
        mail_server.hang_up = True
        assert send().block["sent"] == {"email": "UNKNOWN"}
        mail_server.hang_up = False
        wait_over()
        send()
        assert len(mail_server.mails) == 1

    def test_no_server_is_nothing_sent(
        self, send: Callable[[], Said], mail_server: MailServer, settings: Any, history: CommittedDatabase
    ) -> None:
        settings.EMAIL_PORT = 1
        said = send()
        assert said.block["sent"] == {"email": "PLANNED"} and "nothing was sent" in said.block["errors"][0]
