"""A message on its way to people: Discord through its webhook, and e-mail. One attempt, and what is known of it.

What always holds: the webhook's address is a secret: it is read when it is used, and neither stored, logged nor shown;
one POST with a total deadline, no redirects, no proxies, mentions off; whatever was not clearly refused or clearly
never sent counts as "may have arrived".
"""

from __future__ import annotations

import ipaddress
import json
import smtplib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from trading.brokers.budget import RateBudget
from trading.brokers.errors import ExchangeFailed
from trading.brokers.transport import BrokerSession
from trading.models import Notification

from .message import Message

WEBHOOK = "DISCORD_WEBHOOK_URL"
DEADLINE_SECONDS = 10.0
DISCORD_HOSTS = ("discord.com", "discordapp.com")
State = Notification.State


class BadWebhook(ValueError):
    """The webhook's address cannot be used. The text does not repeat it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of an attempt: SENT, UNKNOWN (it may have arrived), or PLANNED (it surely did not)."""

    state: str
    error: str = ""


def channels(environment: Mapping[str, str]) -> list[str]:
    """Where messages go, by what is configured."""
    found = ["discord"] if environment.get(WEBHOOK, "").strip() else []
    return [*found, "email"] if settings.EMAIL_TO else found


def send(channel: str, message: Message, environment: Mapping[str, str]) -> Sent:
    """Try once. Raises nothing that the world can cause."""
    if channel == "discord":
        return to_discord(message, environment.get(WEBHOOK, "").strip())
    return to_mail(message)


def to_discord(message: Message, webhook: str) -> Sent:
    """One POST to the webhook, the file attached."""
    try:
        check_webhook(webhook)
    except BadWebhook as error:
        return Sent(State.PLANNED, str(error))
    payload = {"content": message.text, "allowed_mentions": {"parse": []}}
    parts: dict[str, tuple[str | None, str | bytes, str]] = {
        "payload_json": (None, json.dumps(payload), "application/json")
    }
    if message.attachment is not None:
        attached = message.attachment
        parts["files[0]"] = (attached.name, attached.content, attached.media_type)
    session = BrokerSession(
        budget=RateBudget(per_second=1, burst=2, reserve=0),
        headers={"User-Agent": "trading-back-office (digest, 1)"},
        deadline=DEADLINE_SECONDS,
    )
    session.prepare_call("general")
    try:
        answer = session.post(webhook, files=parts, allow_redirects=False)
    except (ExchangeFailed, ValueError):  # its text may hold the address
        exchange = session.last
        if exchange is not None and exchange.sent:
            return Sent(State.UNKNOWN, "Discord gave no complete answer; the message may have arrived.")
        return Sent(State.PLANNED, "Discord could not be reached; nothing was sent.")
    finally:
        session.close()
    return _judged(answer.status_code)


def check_webhook(webhook: str) -> None:
    """Raise BadWebhook unless it is https to Discord, or plain http to this machine itself."""
    try:
        parts = urlsplit(webhook)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise BadWebhook(f"{WEBHOOK} is not an address. Nothing was sent.") from None
    if parts.username is not None or parts.password is not None:
        raise BadWebhook(f"{WEBHOOK} has a user name in it, which no webhook of Discord has. Nothing was sent.")
    if parts.scheme == "http" and _is_loopback(host):
        return
    if parts.scheme != "https":
        raise BadWebhook(f"{WEBHOOK} must begin with https://. Nothing was sent.")
    known = any(host == name or host.endswith(f".{name}") for name in DISCORD_HOSTS)
    if not known or port not in (None, 443) or not parts.path.startswith("/api/"):
        raise BadWebhook(
            f"{WEBHOOK} is not a webhook of Discord (https://discord.com/api/webhooks/…). Nothing was sent."
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _judged(status: int) -> Sent:
    if 200 <= status < 300:
        return Sent(State.SENT)
    if 300 <= status < 400:
        return Sent(State.PLANNED, f"Discord answered {status}, a redirect, which is not followed; nothing was posted.")
    if 400 <= status < 500:
        return Sent(State.PLANNED, f"Discord refused the message ({status}); is {WEBHOOK} still valid?")
    return Sent(State.UNKNOWN, f"Discord failed ({status}); the message may have arrived.")


def to_mail(message: Message) -> Sent:
    """One mail to every address of BACKOFFICE_EMAIL_TO, the file attached."""
    connection = get_connection(fail_silently=False)
    try:
        connection.open()
    except (OSError, smtplib.SMTPException):  # its text may hold names and passwords of the server
        return Sent(State.PLANNED, "The mail server could not be reached or refused to talk; nothing was sent.")
    try:
        mail = EmailMessage(message.subject, message.text, to=list(settings.EMAIL_TO), connection=connection)
        if message.attachment is not None:
            attached = message.attachment
            mail.attach(attached.name, attached.content, attached.media_type.split(";")[0])
        mail.send(fail_silently=False)
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError, smtplib.SMTPHeloError):
        return Sent(State.PLANNED, "The mail server refused the message; are the addresses right?")
    except (OSError, smtplib.SMTPException, ValueError):
        return Sent(State.UNKNOWN, "The mail server gave no clear answer; the mail may have arrived.")
    finally:
        _quietly_close(connection)
    return Sent(State.SENT)


def _quietly_close(connection: object) -> None:
    close = getattr(connection, "close", None)
    if close is None:
        return
    try:
        close()
    except (OSError, smtplib.SMTPException):
        return
