"""The report for people: one line an invariant, and under a broken one what broke it, what it means, what to do."""

from __future__ import annotations

from collections.abc import Iterator

from .check import Report, Result

SHOWN = 5


def lines(report: Report) -> Iterator[str]:
    """The report, line by line."""
    width = max(len(result.invariant.id) for result in report.results)
    for result in report.results:
        mark = "✓" if result.ok else "✗"
        looked = f"{result.looked_at} row{'' if result.looked_at == 1 else 's'}"
        if not result.looked_at:
            looked = "nothing to look at yet"
        told = f"({looked})" if result.ok else f"({result.count} found; {looked})"
        yield f"{mark} {result.invariant.id:<{width}}  {result.invariant.title}  {told}"
        if not result.ok:
            yield from (" " * (width + 4) + line for line in _broken(report, result))
    broken = [result.invariant.id for result in report.results if not result.ok]
    yield ""
    if broken:
        yield f"{len(broken)} of {len(report.results)} invariants are broken: {', '.join(broken)}. Nothing was changed."
    else:
        yield f"All {len(report.results)} invariants hold. Nothing was changed."


def _broken(report: Report, result: Result) -> Iterator[str]:
    for row in result.rows[:SHOWN]:
        account = report.accounts.get(row.account_id, str(row.account_id)) if row.account_id is not None else ""
        yield f"• {account + ': ' if account else ''}{row.object} {row.id} {row.problem}"
    if result.count > SHOWN:
        yield f"… and {result.count - SHOWN} more (--json names up to a hundred)"
    yield f"Rule: {result.invariant.rule}"
    yield f"Means: {result.invariant.means}."
    yield f"Do: {result.invariant.todo}."
