"""django-hordak doing the same work, as a process of its own in an environment of its own.

It reads one JSON command a line and answers one JSON line, so that its rounds can be interleaved with ours. Its bulk
way is that of its own benchmark (`bulk_create` of transactions, then of legs), its single way is `transfer_to`; each
commits as often as our books do. Making its objects counts, as making our payload counts for us.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import django
from django.core.management import call_command
from django.db import transaction

from benchmarks.ledger import data

# Its accounts hold currencies only: contracts are counted in one.
CONTRACT_CURRENCY = "EUR"


class Hordak:
    """Its accounts, and how it posts."""

    def __init__(self) -> None:
        call_command("migrate", verbosity=0)
        from hordak.models import Account, Leg, Transaction
        from moneyed import Money

        self._transaction, self._leg, self._money = Transaction, Leg, Money
        self._accounts = [
            Account.objects.create(
                name=f"{book.owner} {book.kind} {book.commodity}", type="TR", currencies=[_currency(book.commodity)]
            )
            for book in data.BOOKS
        ]

    def bulk(self, first: int, count: int) -> dict[str, Any]:
        """Post events in batches, one commit each."""
        batches = data.batches(data.events(first, count))
        before, begin = self._leg.objects.count(), time.perf_counter()
        for batch in batches:
            self._post(batch)
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "postings": self._leg.objects.count() - before, "total": self._total()}

    def _post(self, batch: Sequence[data.Event]) -> None:
        transactions, legs = [], []
        for event in batch:
            entry = self._transaction(date=event.at.date(), description=event.key)
            transactions.append(entry)
            for move in event.moves:
                amount = self._money(move.amount, _currency(move.commodity))
                legs.append(self._leg(transaction=entry, account=self._accounts[move.debit], debit=amount))
                legs.append(self._leg(transaction=entry, account=self._accounts[move.credit], credit=amount))
        with transaction.atomic():
            self._transaction.objects.bulk_create(transactions)
            self._leg.objects.bulk_create(legs)

    def single(self, first: int, count: int) -> dict[str, Any]:
        """Post one transfer of each event by `transfer_to`, one commit each."""
        rows = data.events(first, count)
        begin = time.perf_counter()
        for event in rows:
            move = event.moves[1]
            with transaction.atomic():
                self._accounts[move.credit].transfer_to(
                    self._accounts[move.debit],
                    self._money(move.amount, _currency(move.commodity)),
                    date=event.at.date(),
                    description=event.key,
                )
        return {"seconds": time.perf_counter() - begin, "entries": count}

    def _total(self) -> str:
        from django.db.models import Sum

        return f"{self._leg.objects.aggregate(sum=Sum('debit'))['sum'] or Decimal(0):.2f}"


def _currency(commodity: str) -> str:
    return commodity if commodity == data.CURRENCY else CONTRACT_CURRENCY


def main() -> int:
    """Answer commands until the input ends."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.ledger.hordak_settings"
    django.setup()
    import hordak

    peer = Hordak()
    print(json.dumps({"hordak": hordak.__name__, "accounts": len(data.BOOKS)}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        act = {"bulk": peer.bulk, "single": peer.single}[command["do"]]
        print(json.dumps(act(command["first"], command["count"])), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
