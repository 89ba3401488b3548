"""The digest as a message: a few lines of text, and a file to attach.

What always holds: nothing in it mentions anybody, links anywhere or names a broker's account number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import words
from .content import Digest
from .files import title
from .words import markdown, r_text

LONGEST = 1900
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file as it is sent."""

    name: str
    media_type: str
    content: bytes

    @classmethod
    def of(cls, path: Path) -> Attachment:
        """The file, read now. Raises OSError."""
        types = {".png": "image/png", ".csv": "text/csv; charset=utf-8", ".md": "text/markdown; charset=utf-8"}
        return cls(path.name, types[path.suffix], path.read_bytes())


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a subject for mail, Markdown text, at most one file."""

    subject: str
    text: str
    attachment: Attachment | None


def message_of(digest: Digest, attachment: Attachment | None) -> Message:
    """The digest in a few lines."""
    subject = f"Digest: {title(digest)}"
    text = words.without_numbers(_text(digest), digest.account_numbers)
    return Message(subject, text if len(text) <= LONGEST else text[: LONGEST - 1] + "…", attachment)


def _text(digest: Digest) -> str:
    figures, total, standing = digest.figures, digest.figures.total, digest.standing
    lines = [f"**Digest: {title(digest)}**"]
    if figures.warnings:
        lines.append("These figures are in doubt: see the file, and run manage.py verify.")
    lines.append(
        f"{words.counted(total.trades, 'trade')} · {total.winners} won, {total.losers} lost ({words.rate(total)}) · "
        f"{r_text(total.r)} · {words.money(total.pnl, digest.currencies)}"
    )
    if standing.block:  # a witness that whoever rewrites the books cannot reach; early, so that it is never cut off
        lines.append(f"Books sealed at block {standing.block} {standing.block_hash}")
    if total.trades:
        drag = "" if total.average_drag is None else f" · cost drag {total.average_drag:.3f} R a trade"
        lines.append(
            f"Average {r_text(total.average_r)}, best {r_text(total.best_r)}, worst {r_text(total.worst_r)}{drag}"
        )
    for name, groups in (("strategy", figures.by_strategy), ("symbol", figures.by_symbol)):
        if groups:
            told = [f"{markdown(key)[:60]} {r_text(tally.r)} ({tally.trades})" for key, tally in groups[:SHOWN]]
            more = f", {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
            lines.append(f"By {name}: {', '.join(told)}{more}")
    for one in figures.mirrors:
        if one.trades:
            lines.append(
                f"Mirror {markdown(one.account)}: {words.counted(one.tally.trades, 'trade')}, "
                f"{r_text(one.tally.r)}, {words.money(one.tally.pnl)}"
            )
    oldest = f" (oldest {words.age_text(standing.oldest)})" if standing.cases else ""
    lines.append(f"Open differences: {len(standing.cases)}{oldest} · waiting for approval: {len(standing.waiting)}")
    failed = [run for run in standing.runs if run.status != "COMPLETE"]
    for run in failed[:SHOWN]:
        lines.append(f"Last reconciliation of {markdown(run.account)}: {run.status.lower()}")
    return "\n".join(lines)
