"""The digest as files: the trade log as CSV, everything for people as Markdown.

What always holds: the same digest gives the same bytes; a file is there whole or not at all; numbers in the CSV have
all their digits, so that its sums are the totals.
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from django.conf import settings

from trading.domain.canonical import utc_text
from trading.domain.digest import Tally

from . import words
from .content import Digest
from .numbers import AccountFigures, TradeLine
from .words import NONE, markdown, r_text

COLUMNS = (
    *("account", "mirror_of", "decision", "strategy", "symbol", "side", "quantity", "entry", "exit", "stop"),
    *("opened_at", "closed_at", "close_reason", "pnl", "currency", "fees", "r", "cost_drag_r", "mfe_r", "mae_r"),
)


def reports_folder() -> Path:
    """Where digests are kept."""
    return Path(settings.BASE_DIR) / "reports"


def shown(path: Path) -> str:
    """A file's name as blocks and people are told it: relative to the project."""
    return path.relative_to(settings.BASE_DIR).as_posix()


def path_of(digest: Digest, ending: str) -> Path:
    """`pnl_YYYYMMDD.csv` of a day, `intraday_pnl_YYYYMMDD.png` of hours."""
    kind = "pnl" if digest.hours is None else "intraday_pnl"
    return reports_folder() / f"{kind}_{digest.day:%Y%m%d}.{ending}"


def write_whole(path: Path, content: bytes) -> Path:
    """Put the file there at once: whoever reads meanwhile finds the old one or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def csv_text(digest: Digest) -> str:
    """A line for each trade of every account, mirrors included and marked as such."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for account in digest.figures.accounts:
        for line in account.trades:
            writer.writerow(_row(account, line))
    return out.getvalue()


def _row(account: AccountFigures, line: TradeLine) -> list[str]:
    outcome = line.outcome
    return [
        words.cell(account.account),
        words.cell(account.mirror_of),
        str(line.decision_id),
        words.cell(outcome.strategy),
        words.cell(outcome.symbol),
        line.side,
        *(words.exact(number) for number in (line.quantity, line.entry, line.exit, line.stop)),
        utc_text(line.opened_at),
        utc_text(line.closed_at),
        words.cell(line.close_reason),
        words.exact(outcome.pnl),
        outcome.currency,
        words.exact(line.fees),
        words.exact(outcome.r),
        words.exact(outcome.drag),
        words.exact(line.mfe_r),
        words.exact(line.mae_r),
    ]


def title(digest: Digest) -> str:
    """What the digest is of, in words."""
    day = f"{digest.day.day} {digest.day:%B %Y}"
    if digest.hours is None:
        return day if digest.over or not digest.selection.accounts else f"{day}, so far"
    return f"last {words.counted(digest.hours, 'hour')} to {day}"


def markdown_text(digest: Digest) -> str:
    """Everything, for people. Brokers' account numbers are cut down, since this file may be sent."""
    return words.without_numbers("\n".join(_lines(digest)) + "\n", digest.account_numbers)


def _lines(digest: Digest) -> Iterator[str]:
    figures, total, standing = digest.figures, digest.figures.total, digest.standing
    yield f"# Digest: {title(digest)}"
    yield ""
    if figures.warnings:
        yield "## These figures are in doubt"
        yield from ("- " + markdown(warning) for warning in figures.warnings)
        yield ""
    yield from _table(
        ("trades", "winners", "losers", "win rate", "total R", "P&L", "average R", "best", "worst", "cost drag"),
        [_figures(total, digest.currencies)],
    )
    yield ""
    yield (
        "The totals are those of the accounts that decide; mirrors stand apart and are never added to them. Cost drag "
        "is what spread, slippage and fees took from a trade on average."
    )
    yield ""
    yield "## By account"
    header = ("account", "mirror of", "day or hours", *_SHORT)
    yield from _table(
        header,
        [
            (markdown(one.account), markdown(one.mirror_of) or NONE, _stretch(one), *_short(one.tally, [one.currency]))
            for one in figures.accounts
        ],
    )
    for name, groups in (("strategy", figures.by_strategy), ("symbol", figures.by_symbol)):
        yield ""
        yield f"## By {name}"
        yield from _table((name, *_SHORT), [(markdown(key), *_short(tally)) for key, tally in groups])
    for one in figures.accounts:
        yield ""
        yield f"## Trades of {markdown(one.account)}"
        yield from _table(_LOG, [_log(line) for line in one.trades])
    yield ""
    yield "## Open differences"
    yield from _table(
        ("case", "account", "kind", "about", "severity", "state", "age"),
        [
            (
                str(case.number),
                markdown(case.account),
                markdown(case.kind),
                markdown(case.key),
                case.severity,
                case.state,
                words.age_text(case.age),
            )
            for case in standing.cases
        ],
    )
    yield ""
    yield "## Waiting for a second person"
    yield from _table(
        ("proposal", "account", "kind", "proposed by", "reason", "age"),
        [
            (
                str(one.number),
                markdown(one.account) or NONE,
                markdown(one.kind),
                markdown(one.proposer),
                markdown(one.reason),
                words.age_text(one.age),
            )
            for one in standing.waiting
        ],
    )
    yield ""
    yield "## Last reconciliations"
    yield from _table(
        ("account", "result", "at", "age"),
        [
            (markdown(run.account), run.status, _moment(run.at), words.age_text(run.age) if run.at else NONE)
            for run in standing.runs
        ],
    )
    yield ""
    yield f"Head of the books: entry {standing.ledger_head}, audit event {standing.audit_head}"


_SHORT = ("trades", "win rate", "total R", "P&L", "average R", "cost drag")
_LOG = (
    *("closed", "strategy", "symbol", "side", "quantity", "entry", "exit", "by", "P&L", "R"),
    *("MFE", "MAE", "cost drag"),
)


def _figures(tally: Tally, currencies: Sequence[str]) -> tuple[str, ...]:
    return (
        str(tally.trades),
        str(tally.winners),
        str(tally.losers),
        words.rate(tally),
        r_text(tally.r),
        words.money(tally.pnl, currencies),
        r_text(tally.average_r),
        r_text(tally.best_r),
        r_text(tally.worst_r),
        _drag(tally),
    )


def _short(tally: Tally, currencies: Sequence[str] = ()) -> tuple[str, ...]:
    return (
        str(tally.trades),
        words.rate(tally),
        r_text(tally.r),
        words.money(tally.pnl, currencies),
        r_text(tally.average_r),
        _drag(tally),
    )


def _drag(tally: Tally) -> str:
    return NONE if tally.average_drag is None else f"{tally.average_drag:.3f} R"


def _log(line: TradeLine) -> tuple[str, ...]:
    outcome = line.outcome
    return (
        _moment(line.closed_at),
        markdown(outcome.strategy),
        markdown(outcome.symbol),
        line.side,
        words.exact(line.quantity),
        words.exact(line.entry),
        words.exact(line.exit),
        markdown(line.close_reason),
        f"{words.signed(outcome.pnl, 2)} {outcome.currency}",
        r_text(outcome.r),
        r_text(line.mfe_r),
        r_text(line.mae_r),
        NONE if outcome.drag is None else f"{outcome.drag:.3f} R",
    )


def _stretch(one: AccountFigures) -> str:
    if one.span.day is not None:
        return f"{one.span.day.isoformat()} ({one.time_zone})"
    return f"{_moment(one.span.since)} to {_moment(one.span.until)}"


def _moment(at: datetime | None) -> str:
    return NONE if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table; a line that says so when it has no rows."""
    if not rows:
        yield "None."
        return
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
