"""Posting: the one way into the books.

What always holds: everything goes through the database function `ledger_post_many`, which posts a key once; the same
key with the same payload answers the entry that stands, with another payload it raises RuleBroken.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    reverses: Entry | None = None
    replaces: Entry | None = None
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


def reversal(entry: Entry, *, application: Application, at: datetime, memo: str) -> Draft:
    """A draft that takes back everything an entry moved. Lots are the caller's to add; an entry is reversed once.

    `at` says when it takes effect: as of the moment of what it takes back, that never was; as known until now, it was.
    """
    draft = Draft(
        account=entry.account,
        key=f"reversal:{entry.pk}",
        kind=Entry.Kind.REVERSAL,
        at=at,
        memo=memo,
        application=application,
        reverses=entry,
    )
    for transfer in entry.transfers.order_by("id"):
        draft.transfers.append(
            {
                "debit": str(transfer.credit_id),
                "credit": str(transfer.debit_id),
                "commodity": transfer.commodity_id,
                "amount": plain(transfer.amount),
            }
        )
    return draft


def post(draft: Draft) -> Entry:
    """Post the draft in the caller's transaction. Raises RuleBroken when the books refuse it."""
    return post_many([draft])[0]


def post_many(drafts: Sequence[Draft]) -> list[Entry]:
    """Post drafts in the caller's transaction, all or none; the entries in the order of the drafts.

    Raises RuleBroken when the books refuse any of them.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            payload = canonical_json([_payload(draft) for draft in drafts])
            cursor.execute("SELECT ledger_post_many(%s::jsonb)", [payload])
            numbers = cursor.fetchone()[0]
    except (IntegrityError, DataError) as error:
        raise RuleBroken(f"The books refuse this entry: {sentence(error)}. Nothing was posted.") from error
    entries = Entry.objects.in_bulk(numbers)
    return [entries[number] for number in numbers]


def _payload(draft: Draft) -> dict[str, Any]:
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
        ("reverses_id", draft.reverses),
        ("replaces_id", draft.replaces),
    ):
        if row is not None:
            payload[name] = row.pk
    return payload
