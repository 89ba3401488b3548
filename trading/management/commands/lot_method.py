"""`manage.py lot_method`: whether an account counts its lots first in first out or at average cost."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.domain.lots import LotMethod
from trading.models import Account
from trading.services.audit import Actor
from trading.services.errors import RuleBroken
from trading.services.lots import choose_method

ACTOR = Actor.system("lot_method", via="command")


class Command(BaseCommand):
    """Parse, one service, one sentence."""

    help = "Say how an account counts its lots, or choose it (FIFO or AVERAGE), which is possible until its first lot."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which account, and perhaps which method."""
        parser.add_argument("account", help="the account's name")
        parser.add_argument("method", nargs="?", choices=[str(method) for method in LotMethod])

    def handle(self, *args: Any, **options: Any) -> None:
        """Choose, if asked to, and say; exit code 1 when there is no such account or it has lots already."""
        account = Account.objects.filter(name=options["account"]).first()
        if account is None:
            known = ", ".join(Account.objects.order_by("name").values_list("name", flat=True)) or "none yet"
            self.stdout.write(f"There is no account {options['account']!r}; nothing was changed. Known are: {known}.")
            raise SystemExit(1)
        if options["method"]:
            try:
                choose_method(account=account, method=options["method"], actor=ACTOR)
            except RuleBroken as refused:
                self.stdout.write(str(refused))
                raise SystemExit(1) from refused
        self.stdout.write(f"{account.name} counts its lots {account.lot_method}.")
