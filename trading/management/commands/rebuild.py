"""`manage.py rebuild`: make positions, trades, equity and days again from the facts, and say what was different."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trading.engine.blocks import compact_json
from trading.models import Account
from trading.services.audit import Actor
from trading.services.rebuild import Rebuilt, rebuild

ACTOR = Actor.system("rebuild", via="command")
SHOWN = 20
_FAILURES = (DatabaseError, ArithmeticError, LookupError, TypeError, ValueError)


class Command(BaseCommand):
    """Parse, one service for each account, one report."""

    help = "Rebuild positions, trades, equity points, days and balance snapshots of accounts from the facts. With "
    help += "--check nothing is changed, and the exit code is 1 when anything would be."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which accounts, and how to say it."""
        parser.add_argument("--account", default="", metavar="A", help="only the account of this name")
        parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 on any difference")
        parser.add_argument("--json", action="store_true", help="one JSON document instead of sentences")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rebuild; exit code 1 when an account could not be, or (with --check) when one differs."""
        name, check = options["account"], options["check"]
        accounts = list(Account.objects.order_by("name"))
        wanted = [account for account in accounts if name in ("", account.name)]
        errors: dict[str, str] = {}
        if name and not wanted:
            known = ", ".join(account.name for account in accounts) or "none yet"
            errors[name] = f"There is no account {name!r}; nothing was rebuilt. Known are: {known}."
        done = list(_rebuild(wanted, check, errors))
        differs = any(one.differences for one in done)
        if options["json"]:
            document = {"ok": not errors and not (check and differs), "check": check, "errors": errors}
            self.stdout.write(compact_json({**document, "accounts": [_document(one) for one in done]}))
        else:
            for line in (*_report(done, check), *errors.values()):
                self.stdout.write(line)
        if errors or (check and differs):
            raise SystemExit(1)


def _rebuild(accounts: list[Account], check: bool, errors: dict[str, str]) -> Iterator[Rebuilt]:
    """Each account in its own transaction, with a bar on standard error; one that fails leaves what stood."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Accounts", total=len(accounts))
        for account in accounts:
            part = bar.add_task(account.name, total=None)

            def progress(done: int, total: int, part: Any = part) -> None:
                bar.update(part, completed=done, total=total)

            try:
                yield rebuild(account, actor=ACTOR, check=check, progress=progress)
            except _FAILURES as error:
                sentence = (str(error).strip().splitlines() or [type(error).__name__])[0]
                errors[account.name] = (
                    f"{account.name} could not be rebuilt: {sentence}. What stood for it before still stands."
                )
            bar.remove_task(part)
            bar.update(task, advance=1)


def _document(one: Rebuilt) -> dict[str, Any]:
    return {
        "account": one.account,
        "tables": {
            table: {"equal": equal, **{how: one.count(table, how) for how in ("changed", "missing", "surplus")}}
            for table, equal in one.equal.items()
        },
        "differences": [
            {
                "table": difference.table,
                "key": difference.key,
                "how": difference.how,
                "fields": {name: {"stood": stood, "facts": facts} for name, stood, facts in difference.fields},
            }
            for difference in one.differences
        ],
        "snapshots": one.snapshots,
    }


def _report(done: list[Rebuilt], check: bool) -> Iterator[str]:
    for one in done:
        yield f"{one.account}:"
        for table, equal in one.equal.items():
            told = ", ".join(f"{one.count(table, how)} {how}" for how in ("changed", "missing", "surplus"))
            yield f"  {table:<13} {equal:>7} equal, {told}"
        for difference in one.differences[:SHOWN]:
            fields = "; ".join(
                f"{name} said {stood}, the facts say {facts}" for name, stood, facts in difference.fields
            )
            yield f"  • {difference.table} {difference.key} was {difference.how}{': ' + fields if fields else ''}"
        if len(one.differences) > SHOWN:
            yield f"  … and {len(one.differences) - SHOWN} more (--json names them all)"
    wrong = sum(len(one.differences) for one in done)
    rows = "1 row" if wrong == 1 else f"{wrong} rows"
    if check:
        yield f"{rows} would change. Nothing was changed." if wrong else "All rows are what the facts say."
    else:
        yield (
            f"{rows} differed from what the facts say; none does now." if wrong else "All rows were what the facts say."
        )
