"""Posting: the one way into the books.

What always holds: everything goes through the database function `ledger_post`, which posts a key once; the same key
with the same payload answers the entry that stands, with another payload it raises RuleBroken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db import DataError, IntegrityError, connection, transaction

from trading.clock import trading_day
from trading.domain.canonical import canonical_json
from trading.domain.money import plain
from trading.models import Account, Application, CashEvent, Commodity, Entry, Fill, Instrument, LedgerAccount

from .errors import RuleBroken, sentence


@dataclass(slots=True)
class Draft:
    """An entry being put together. `move` adds a transfer; lots and lot closes are plain rows for `ledger_post`."""

    account: Account
    key: str
    kind: str
    at: datetime
    memo: str = ""
    value_date: date | None = None
    fill: Fill | None = None
    cash_event: CashEvent | None = None
    application: Application | None = None
    transfers: list[dict[str, str]] = field(default_factory=list)
    lots: list[dict[str, str]] = field(default_factory=list)
    lot_closes: list[dict[str, str]] = field(default_factory=list)

    def move(self, *, commodity: str, amount: Decimal, into: str, out_of: str) -> None:
        """Add `amount` to the ledger account kind `into`, taken out of `out_of`; a negative amount goes the other way.

        Zero adds nothing.
        """
        if amount == 0:
            return
        if amount < 0:
            into, out_of, amount = out_of, into, -amount
        self.transfers.append(
            {
                "debit": str(ledger_account(self.account, into, commodity).pk),
                "credit": str(ledger_account(self.account, out_of, commodity).pk),
                "commodity": commodity,
                "amount": plain(amount),
            }
        )


def currency(code: str) -> Commodity:
    """The commodity of a currency, made on first use."""
    return Commodity.objects.get_or_create(code=code, defaults={"kind": Commodity.Kind.CURRENCY})[0]


def contract(instrument: Instrument) -> Commodity:
    """The commodity that counts an instrument's units, made on first use."""
    return Commodity.objects.get_or_create(code=instrument.symbol, defaults={"kind": Commodity.Kind.CONTRACT})[0]


def ledger_account(account: Account, kind: str, commodity: str) -> LedgerAccount:
    """The ledger account of a kind and commodity, made on first use."""
    return LedgerAccount.objects.get_or_create(account=account, kind=kind, commodity_id=commodity)[0]


def post(draft: Draft) -> Entry:
    """Post the draft in the caller's transaction. Raises RuleBroken when the books refuse it."""
    day = trading_day(draft.account, draft.at)
    payload: dict[str, Any] = {
        "key": draft.key,
        "kind": draft.kind,
        "account_id": draft.account.pk,
        "at": draft.at,
        "trading_day": day,
        "value_date": draft.value_date or day,
        "memo": draft.memo[:200],
        "transfers": draft.transfers,
        "lots": draft.lots,
        "lot_closes": draft.lot_closes,
    }
    for name, row in (
        ("fill_id", draft.fill),
        ("cash_event_id", draft.cash_event),
        ("application_id", draft.application),
    ):
        if row is not None:
            payload[name] = row.pk
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT ledger_post(%s::jsonb)", [canonical_json(payload)])
            entry_id = cursor.fetchone()[0]
    except (IntegrityError, DataError) as error:
        raise RuleBroken(f"The books refuse this entry: {sentence(error)}. Nothing was posted.") from error
    return Entry.objects.get(pk=entry_id)
