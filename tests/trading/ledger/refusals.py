"""Everything that the books must refuse, each as a call on books that stand: cross, negative, foreign, unapproved …

What always holds here: each raises, whatever was posted before; whoever calls them looks that nothing has changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from tests.trading.ledger.world import apply, approved
from tests.trading.services import making
from trading.models import Account, CashEvent, ClosedDay, Entry, LedgerAccount
from trading.services import booking, ledger


def knock(*bodies: dict[str, Any]) -> list[int]:
    """Call the door as the application login. A refusal leaves the transaction usable."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT ledger_post_many(%s::jsonb)", [json.dumps(bodies)])
        return list(cursor.fetchone()[0])


@dataclass
class Victim:
    """Books to be attacked: an account with a booked movement of cash, another account, and an open lot if any."""

    account: Account
    other: Account
    deposit: CashEvent
    ledger: dict[tuple[int, str, str], int]

    @classmethod
    def of(cls, account: Account, other: Account, deposit: CashEvent) -> Victim:
        """With the numbers of both accounts' ledger accounts."""
        rows = LedgerAccount.objects.values_list("account_id", "kind", "commodity_id", "id")
        return cls(account, other, deposit, {(a, kind, code): pk for a, kind, code, pk in rows})

    def leg(self, amount: str = "5", into: str = "CASH", out_of: str = "CAPITAL", code: str = "USD") -> dict[str, str]:
        """One transfer of this account."""
        return {
            "debit": str(self.ledger[self.account.pk, into, code]),
            "credit": str(self.ledger[self.account.pk, out_of, code]),
            "commodity": code,
            "amount": amount,
        }

    def body(self, **changes: Any) -> dict[str, Any]:
        """An entry that would be fine."""
        return {
            "key": "attack",
            "kind": "TRANSFER",
            "account_id": self.account.pk,
            "at": "2026-03-02T08:00:00Z",
            "trading_day": "2026-03-02",
            "value_date": "2026-03-02",
            "cash_event_id": self.deposit.pk,
            "transfers": [self.leg()],
            **changes,
        }

    def transfers(self, **changes: str) -> dict[str, Any]:
        """The same with something else in its transfer."""
        return self.body(transfers=[{**self.leg(), **changes}])


def _mixed(v: Victim) -> None:
    knock(v.transfers(debit=str(v.ledger[v.account.pk, "CASH", "EUR"])))


def _foreign(v: Victim) -> None:
    knock(v.transfers(credit=str(v.ledger[v.other.pk, "CAPITAL", "USD"])))


def _amount(amount: str) -> Callable[[Victim], None]:
    return lambda v: knock(v.transfers(amount=amount)) and None


def _half_a_yen(v: Victim) -> None:
    knock(v.body(transfers=[v.leg("1.5", code="JPY")]))


def _unknown_commodity(v: Victim) -> None:
    knock(v.transfers(commodity="XXX"))


def _no_transfers(v: Victim) -> None:
    knock(v.body(transfers=[]))


def _to_itself(v: Victim) -> None:
    knock(v.transfers(credit=v.leg()["debit"]))


def _nothing_happened(v: Victim) -> None:
    knock(v.body(cash_event_id=None))


def _unknown_kind(v: Victim) -> None:
    knock(v.body(kind="GIFT"))


def _happened_elsewhere(v: Victim) -> None:
    leg = {
        "debit": str(v.ledger[v.other.pk, "CASH", "USD"]),
        "credit": str(v.ledger[v.other.pk, "CAPITAL", "USD"]),
    }
    knock({**v.transfers(**leg), "account_id": v.other.pk})


def _one_of_many_is_bad(v: Victim) -> None:
    knock(v.body(key="attack-1"), v.body(key="attack-2"), v.body(key="attack-3", transfers=[]))


def _same_key_twice_with_other_payload(v: Victim) -> None:
    knock(v.body(), v.body(memo="another"))


def _lots_without_a_fill(v: Victim) -> None:
    lot = {"instrument_id": str(making.instrument().pk), "side": "1", "quantity": "1", "unit_cost": "1"}
    knock(v.body(lots=[lot]))


def _unapproved(kind: str) -> Callable[[Victim], None]:
    def attack(v: Victim) -> None:
        first = Entry.objects.filter(account=v.account).order_by("id").first()
        assert first is not None
        reverses = {"reverses_id": first.pk} if kind == "REVERSAL" else {}
        knock(v.body(kind=kind, transfers=[v.leg(out_of="SUSPENSE")], fill_id=first.fill_id, **reverses))

    return attack


@transaction.atomic
def _approved_for_another_amount(v: Victim) -> None:
    application = apply(approved(v.account, {"entry": "ADJUSTMENT", "currency": "USD", "amount": "1"}))
    booking.adjust_cash(
        account=v.account, currency="USD", amount=Decimal(2), application=application, reason="x", actor=making.TEST
    )


@transaction.atomic
def _approved_for_another_currency(v: Victim) -> None:
    application = apply(approved(v.account, {"entry": "ADJUSTMENT", "currency": "EUR", "amount": "1"}))
    booking.adjust_cash(
        account=v.account, currency="USD", amount=Decimal(1), application=application, reason="x", actor=making.TEST
    )


@transaction.atomic
def _approved_for_another_account(v: Victim) -> None:
    application = apply(approved(v.other, {"entry": "ADJUSTMENT", "currency": "USD", "amount": "1"}))
    booking.adjust_cash(
        account=v.account, currency="USD", amount=Decimal(1), application=application, reason="x", actor=making.TEST
    )


@transaction.atomic
def _reversal_that_is_no_mirror(v: Victim) -> None:
    entry = Entry.objects.exclude(kind="REVERSAL").filter(account=v.account, reversals=None, cash_event__isnull=False)
    application = apply(approved(v.account, {"entry": "REVERSAL", "reverses": entry[0].pk}))
    draft = ledger.reversal(entry[0], application=application, at=making.START, memo="")
    draft.transfers[0]["amount"] = "0.000000000001"
    ledger.post(draft)


@transaction.atomic
def _replacement_of_what_stands(v: Victim) -> None:
    entry = Entry.objects.exclude(kind="REVERSAL").filter(account=v.account, reversals=None)[0]
    application = apply(approved(v.account, {"entry": "TRANSFER"}))
    knock(v.body(application_id=application.pk, replaces_id=entry.pk))


@transaction.atomic
def _signed_off_day(v: Victim) -> None:
    ClosedDay.objects.create(
        at=making.START,
        account=v.account,
        trading_day=making.START.date(),
        application=apply(approved(v.account)),
    )
    knock(v.body())


REFUSALS: dict[str, Callable[[Victim], None]] = {
    "commodities mixed": _mixed,
    "another account's ledger account": _foreign,
    "zero": _amount("0"),
    "negative": _amount("-5"),
    "NaN": _amount("NaN"),
    "infinite": _amount("Infinity"),
    "no number": _amount("five"),
    "thirteen decimals": _amount("0.0000000000001"),
    "too large": _amount("1e27"),
    "half a yen": _half_a_yen,
    "unknown commodity": _unknown_commodity,
    "no transfers": _no_transfers,
    "from an account to itself": _to_itself,
    "nothing happened": _nothing_happened,
    "unknown kind": _unknown_kind,
    "happened on another account": _happened_elsewhere,
    "one of three is bad": _one_of_many_is_bad,
    "same key, another payload": _same_key_twice_with_other_payload,
    "lots without a fill": _lots_without_a_fill,
    "adjustment without approval": _unapproved("ADJUSTMENT"),
    "reversal without approval": _unapproved("REVERSAL"),
    "approved for another amount": _approved_for_another_amount,
    "approved for another currency": _approved_for_another_currency,
    "approved for another account": _approved_for_another_account,
    "reversal that is no mirror": _reversal_that_is_no_mirror,
    "replacement of what stands": _replacement_of_what_stands,
    "a day that was signed off": _signed_off_day,
}
