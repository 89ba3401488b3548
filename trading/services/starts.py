"""That a part of the desk has started, and in which version, in the audit trail.

What always holds: a part that cannot write it down starts all the same where it needs no database to start (the web);
the version is what the source says of itself.
"""

from __future__ import annotations

import logging
import os
import tomllib
from functools import cache
from pathlib import Path

from django.db import DatabaseError

from . import audit
from .audit import Actor

log = logging.getLogger(__name__)
PROJECT = Path(__file__).resolve().parents[2]


@cache
def version() -> str:
    """The project's version, and the commit where the source is a checkout: `0.1.0 3f2a9c1d`."""
    try:
        said = str(tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, KeyError):
        said = "unknown"
    return f"{said} {_commit()[:12]}".strip()


def _commit() -> str:
    git = PROJECT / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        name = head.removeprefix("ref: ")
        return (git / name).read_text(encoding="utf-8").strip() if name != head else head
    except OSError:
        return ""


def record_start(program: str, *, via: str) -> None:
    """Write down that this process has started. Raises DatabaseError."""
    audit.record(
        kind="process.started",
        actor=Actor.system(program, via=via),
        after={"program": program, "version": version(), "pid": os.getpid()},
    )


def try_to_record_start(program: str, *, via: str) -> None:
    """The same, where the process works without: the failure is logged."""
    try:
        record_start(program, via=via)
    except DatabaseError as error:
        log.warning("the start of %s could not be audited: %s", program, error)
