"""Where messages go in tests: real servers in the place of Discord and of a mail server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.backoffice.digest.receiving import MailServer, Webhook


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    """A server in Discord's place, named by the environment."""
    server = Webhook()
    monkeypatch.setenv("DISCORD_WEBHOOK_URL", server.url)
    yield server
    server.stop()


@pytest.fixture
def mail_server(settings: Any) -> Iterator[MailServer]:
    """A mail server that the settings name, with one address to send to."""
    server = MailServer()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = server.address
    settings.EMAIL_TO = ["desk@example.org"]
    yield server
    server.stop()
