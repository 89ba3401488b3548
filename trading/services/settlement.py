"""Settlement: on its value date what a fill owes or is owed becomes cash, or cash is gone.

What always holds: a fill settles once (its key and a rule of the database), never before its value date on the
account's clock; the entry is dated by the fill alone, so that a late sweep leaves the same books as a punctual one
(but never into a day that was signed off: then by the first open day after it); trade-date cash does not change by it.
A crash between two fills costs nothing: the next call goes on.
"""

from __future__ import annotations

from decimal import Decimal

from django.db import transaction

from trading.clock import day_bounds, now, trading_day
from trading.domain.money import plain
from trading.locks import lock_account
from trading.models import Account, Entry, Fill, LedgerAccount
from trading.selectors import books

from . import audit, periods
from .audit import Actor
from .ledger import Draft, post

ACTOR = Actor.system("settlement")
Kind = LedgerAccount.Kind


def settle_due(account: Account) -> int:
    """Settle every fill of the account whose value date has come on its clock; returns how many.

    Safe to call at any time, by anyone, any number of times. Not inside a transaction of the caller's: each call is
    one of its own.
    """
    if not books.due_fills(account, trading_day(account)):
        return 0
    with transaction.atomic():
        lock_account(account.pk)
        due = books.due_fills(account, trading_day(account, now(account)))
        fills = Fill.objects.select_related("account", "instrument").in_bulk([fill_id for fill_id, _, _ in due])
        for fill_id, currency, amount in due:
            _settle(fills[fill_id], currency, amount)
        return len(due)


def _settle(fill: Fill, currency: str, amount: Decimal) -> None:
    account, due = fill.account, fill.settles_on
    assert due is not None  # only a fill with a value date leaves anything outstanding
    # A day that was signed off stays as it is: what settles late for it is dated the first open day after it.
    day = periods.first_open_day(account, max(due, trading_day(account, fill.at)))
    at = max(fill.at, day_bounds(account, day)[0])
    draft = Draft(
        account=account,
        key=f"settlement:{account.pk}:{fill.external_id}",
        kind=Entry.Kind.SETTLEMENT,
        at=at,
        value_date=due,
        fill=fill,
        memo=f"payment of {fill}",
    )
    draft.move(commodity=currency, amount=amount, into=Kind.CASH, out_of=Kind.UNSETTLED)
    entry = post(draft)
    audit.record(
        kind="fill.settled",
        actor=ACTOR,
        account=account,
        obj=fill,
        after={"entry": entry.pk, "amount": plain(amount), "currency": currency},
        at=at,
    )
