"""The verbs of the digest: make it (files and picture), and send it, once per key.

What always holds: files are written before anything is sent, and again by whoever makes the same digest again; a
finished day has one key, and each channel gets one message for it however many workers and people ask.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from trading.services import audit, notifications
from trading.services.audit import Actor

from .content import Digest, daily, intraday, totals
from .files import csv_text, markdown_text, path_of, shown, write_whole
from .message import Attachment, Message, message_of
from .picture import png
from .send import channels, send


@dataclass(frozen=True, slots=True)
class Made:
    """A digest that was made: its files, and what each channel's message came to (a notification's state)."""

    digest: Digest
    files: dict[str, Path]
    sent: dict[str, str] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


def make_daily(*, account: str = "", day: date | None = None, by_hand: bool, actor: Actor) -> Made:
    """Make a trading day's digest and send it unless it was sent. Raises UnknownAccount and OSError."""
    return _make(daily(account=account, day=day), by_hand=by_hand, actor=actor)


def make_intraday(*, hours: int, account: str = "", by_hand: bool, actor: Actor) -> Made:
    """The same of the last hours; without a trade nothing is written or sent.

    Raises UnknownAccount, BadPeriod and OSError.
    """
    return _make(intraday(hours=hours, account=account), by_hand=by_hand, actor=actor)


def block(made: Made) -> dict[str, Any]:
    """The payload of the DIGEST block."""
    digest = made.digest
    png_file = made.files.get("png")
    payload: dict[str, Any] = {
        "ok": True,
        "date": digest.day,
        "png": shown(png_file) if png_file is not None else None,
        "totals": totals(digest),
        "pnl_by_currency": digest.figures.total.pnl,
        "hours": digest.hours,
        "complete": digest.over,
        "accounts": [
            {
                "account": one.account,
                "mirror_of": one.mirror_of or None,
                "currency": one.currency,
                "trades": one.tally.trades,
                "r": one.tally.r,
                "pnl": one.tally.pnl.get(one.currency, 0),
            }
            for one in digest.figures.accounts
        ],
        "files": [shown(path) for path in made.files.values()],
        "sent": made.sent,
        "errors": list(made.errors),
    }
    if digest.figures.warnings:
        payload["warnings"] = digest.figures.warnings
    return payload


def _make(digest: Digest, *, by_hand: bool, actor: Actor) -> Made:
    files = _write(digest)
    if not files:
        return Made(digest, files)
    audit.record(
        kind="digest.made",
        actor=actor,
        after={
            "day": digest.day,
            "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files.values()},
        },
    )
    message = message_of(digest, Attachment.of(files.get("png") or files["md"]))
    sent, errors = _deliver(digest.key, message, by_hand=by_hand, actor=actor)
    return Made(digest, files, sent, tuple(errors))


def _write(digest: Digest) -> dict[str, Path]:
    """A day has its log and its text whatever happened in it; a picture needs a trade."""
    files: dict[str, Path] = {}
    if digest.hours is None:
        files["csv"] = write_whole(path_of(digest, "csv"), csv_text(digest).encode())
        files["md"] = write_whole(path_of(digest, "md"), markdown_text(digest).encode())
    if digest.figures.total.trades:
        files["png"] = write_whole(path_of(digest, "png"), png(digest))
    return files


def _deliver(key: str, message: Message, *, by_hand: bool, actor: Actor) -> tuple[dict[str, str], list[str]]:
    """Send it where it was not sent; the state of each channel's notification, and what went wrong now."""
    environment = dict(os.environ)
    notifications.note(key=key, text=message.text)
    sent: dict[str, str] = {}
    errors: list[str] = []
    for channel in channels(environment):
        own = f"{key}:{channel}"
        row = notifications.note(key=own, text=message.text, channel=channel)
        if notifications.claim(key=own, by_hand=by_hand):
            outcome = send(channel, message, environment)
            notifications.settle(key=own, state=outcome.state, error=outcome.error, actor=actor)
        row.refresh_from_db()
        sent[channel] = str(row.state)
        if row.error:
            errors.append(row.error)
    return sent, errors
