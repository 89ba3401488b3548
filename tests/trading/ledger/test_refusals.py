"""Each thing that the books refuse is refused for its own reason, and leaves every table as it was."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection

from tests.trading.ledger.digest import digest
from tests.trading.ledger.machine import prepare
from tests.trading.ledger.refusals import REFUSALS, Victim
from tests.trading.services import making
from trading.models import Account, CashEvent
from trading.services.errors import RuleBroken

WHY = {
    "commodities mixed": "foreign key|debit_commodity",
    "another account's ledger account": "foreign ledger account",
    "zero": "amount_is_positive",
    "negative": "amount_is_positive",
    "NaN": "check constraint",
    "infinite": "infinite|overflow",
    "no number": "invalid input syntax",
    "thirteen decimals": "more decimals",
    "too large": "overflow",
    "half a yen": "more decimals",
    "unknown commodity": "unknown commodity",
    "no transfers": "has no transfer",
    "from an account to itself": "two_sides",
    "nothing happened": "names nothing that happened",
    "unknown kind": "names nothing that happened",
    "happened on another account": "another account",
    "one of three is bad": "has no transfer",
    "same key, another payload": "another payload",
    "lots without a fill": "without a fill",
    "adjustment without approval": "needs_an_application",
    "reversal without approval": "needs_an_application",
    "approved for another amount": "approval that is not for it",
    "approved for another currency": "approval that is not for it",
    "approved for another account": "approval that is not for it",
    "reversal that is no mirror": "not the exact mirror",
    "replacement of what stands": "was not reversed",
    "a day that was signed off": "was signed off",
}


def test_each_is_refused_for_its_own_reason_and_nothing_changes(db: None) -> None:
    prepare()
    margin, other = (Account.objects.get(name=each) for each in ("margin", "shares"))
    making.receive(margin, making.cash_of(1, "TRANSFER", "5000"))
    victim = Victim.of(margin, other, CashEvent.objects.get())
    assert set(WHY) == set(REFUSALS)
    with connection.cursor() as cursor:
        before = digest(cursor)
        for name, attack in REFUSALS.items():
            with pytest.raises((RuleBroken, DatabaseError), match=WHY[name]):
                attack(victim)
            assert digest(cursor) == before, name
