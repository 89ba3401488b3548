"""`manage.py export_beancount`: a year of the books as a file that beancount's `bean-check` adds up."""

from __future__ import annotations

from datetime import MAXYEAR
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from trading.export import export_beancount
from trading.models import Account
from trading.services.audit import Actor

ACTOR = Actor.system("export_beancount", via="command")


class Command(BaseCommand):
    """Parse, one export, one sentence."""

    help = "Write a year of the books as a beancount file: every entry, and every balance to its last digit."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which year, whose books, where to."""
        parser.add_argument("--year", type=int, required=True, metavar="Y", help="trading days of this year")
        parser.add_argument("--account", default="", metavar="A", help="only this account (default: all)")
        parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="the file to write")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write it. Raises CommandError when the account is unknown or the file cannot be written."""
        year, name, to = options["year"], options["account"], options["to"]
        if not 1 <= year < MAXYEAR:
            raise CommandError(f"{year} is no year. Nothing was written.")
        account = Account.objects.filter(name=name).first()
        if name and account is None:
            known = ", ".join(Account.objects.order_by("name").values_list("name", flat=True)) or "none"
            raise CommandError(f"There is no account {name!r} (there are: {known}). Nothing was written.")
        try:
            done = export_beancount(year=year, account=account, to=to, actor=ACTOR)
        except OSError as error:
            raise CommandError(f"{to} cannot be written: {error.strerror}. Nothing was written.") from error
        self.stdout.write(
            f"{done.entries} entries of {year} and {done.balances} balances, as the books stood after entry "
            f"{done.cut}, are in {to}. Check them with: bean-check {to}"
        )
