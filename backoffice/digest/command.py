"""What the commands `digest` and `digest_now` share: make it, tell people, print the block, refuse with a sentence.

What always holds: standard output carries the block alone; words go to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date
from typing import NoReturn

from django.db import Error as DatabaseProblem

from trading.engine.blocks import print_block
from trading.services.audit import Actor

from . import words
from .books import UnknownAccount
from .content import BadPeriod
from .files import shown, title
from .making import Made, block

ACTOR = Actor.system("digest", via="command")


def run(make: Callable[[], Made]) -> None:
    """Make it; the block is the last thing printed. Exit code 1 with `ok:false` when it cannot be made."""
    try:
        made = make()
        payload = block(made)
    except (UnknownAccount, BadPeriod) as error:
        refuse(str(error))
    except DatabaseProblem as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        refuse(f"The database does not answer as it should ({first}), so no digest was made. Nothing was sent.")
    except OSError as error:
        refuse(f"The digest's files cannot be written ({error}). Nothing was sent; make room or set the rights.")
    _tell(made)
    print_block("DIGEST", payload)


def refuse(sentence: str) -> NoReturn:
    """End with a block that says why, and exit code 1."""
    print_block("DIGEST", {"ok": False, "error": sentence})
    sys.exit(1)


def parse_day(text: str) -> date | None:
    """The day that `--date` names; None without one. Ends with a block when it is none."""
    if not text:
        return None
    try:
        if len(text) != len("2026-01-31"):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        refuse(f"--date {text[:40]!r} is not a day; write it as 2026-01-31. No digest was made.")


def _tell(made: Made) -> None:
    digest, total = made.digest, made.digest.figures.total
    say = sys.stderr.write
    of = ", ".join(account.name for account in digest.selection.deciding) or "no account at all"
    say(
        f"Digest, {title(digest)}: {words.counted(total.trades, 'trade')}, {words.r_text(total.r)}, "
        f"{words.money(total.pnl, digest.currencies)}, of {of}\n"
    )
    for path in made.files.values():
        say(f"  {shown(path)}\n")
    for warning in (*digest.figures.warnings, *made.errors):
        say(f"  {warning}\n")
    for channel, state in made.sent.items():
        say(f"  {channel}: {state.lower()}\n")
