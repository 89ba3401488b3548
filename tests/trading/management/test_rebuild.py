"""`manage.py rebuild`: what it says, what it leaves, how it ends."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError

from tests.trading.services import making
from trading.management.commands import rebuild as command
from trading.models import Account, EquityPoint, Trade

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    account = making.make_account()
    entry = making.make_entry(account)
    making.receive(account, making.cash_of(1, "TRANSFER", "1000"), making.fill_of(2, entry, "1000"))
    return account


def run(**options: Any) -> tuple[int, str]:
    """Exit code and standard output."""
    out, code = io.StringIO(), 0
    try:
        call_command("rebuild", stdout=out, **options)
    except SystemExit as ended:
        code = int(str(ended.code))
    return code, out.getvalue()


def test_a_check_names_what_differs_changes_nothing_and_ends_with_1(account: Account) -> None:
    code, told = run(check=True)
    assert code == 0 and "All rows are what the facts say." in told
    Trade.objects.update(pnl=Decimal("7.50"))
    EquityPoint.objects.all().delete()
    code, told = run(check=True)
    assert code == 1 and Trade.objects.get().pnl == Decimal("7.5") and not EquityPoint.objects.exists()
    assert "pnl said 7.5, the facts say 0" in told and "2 rows would change. Nothing was changed." in told
    code, text = run(check=True, json=True)
    document = json.loads(text)
    assert code == 1 and document["ok"] is False and document["check"] is True
    (found,) = document["accounts"]
    assert found["tables"]["trade"] == {"equal": 0, "changed": 1, "missing": 0, "surplus": 0}
    assert found["tables"]["equity point"] == {"equal": 0, "changed": 0, "missing": 1, "surplus": 0}
    assert found["differences"][0]["fields"] == {"pnl": {"stood": "7.5", "facts": "0"}}


def test_a_rebuild_mends_says_so_and_ends_with_0(account: Account) -> None:
    Trade.objects.update(pnl=9)
    code, told = run()
    assert (
        code == 0 and Trade.objects.get().pnl == 0 and "1 row differed from what the facts say; none does now." in told
    )
    code, told = run(account=account.name)
    assert code == 0 and "All rows were what the facts say." in told


def test_an_account_that_nobody_knows_is_named_with_those_that_are_known(account: Account) -> None:
    code, told = run(account="mine")
    assert code == 1 and "There is no account 'mine'; nothing was rebuilt. Known are: oanda-main." in told


def test_one_account_that_cannot_be_rebuilt_does_not_keep_the_others_from_it(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = making.make_account("another")
    making.receive(other, making.cash_of(1, "TRANSFER", "5"))
    EquityPoint.objects.update(balance=1)
    inner = command.rebuild

    def busy(one: Account, **how: Any) -> Any:
        if one == other:
            raise DatabaseError("canceling statement due to lock timeout")
        return inner(one, **how)

    monkeypatch.setattr(command, "rebuild", busy)
    code, told = run()
    assert code == 1 and "another could not be rebuilt: canceling statement due to lock timeout" in told
    assert EquityPoint.objects.get(account=account).balance == 1000
    assert EquityPoint.objects.get(account=other).balance == 1
