"""A rebuild of a desk on which much has happened: it changes nothing, and mends what `verify` finds in projections."""

from __future__ import annotations

from backoffice.verification import run_all
from tests.trading.services.making import TEST
from trading.models import Account, EquityPoint, Mark, Trade
from trading.services.rebuild import rebuild

from .conftest import Clone


def test_what_stands_is_what_the_facts_give_and_what_was_altered_comes_back(clone: Clone) -> None:
    accounts = list(Account.objects.order_by("pk"))
    assert Mark.objects.exists() and Trade.objects.filter(mfe_r__gt=0, account__mirror_of__isnull=False).exists()
    for account in accounts:
        found = rebuild(account, actor=TEST, check=True)
        assert not found.differences, found.differences
    clone.alter("UPDATE trading_trade SET pnl = pnl + 1, mfe_r = NULL")
    clone.alter("UPDATE trading_position SET external_quantity = external_quantity + 1")
    clone.alter("DELETE FROM trading_daystate")
    clone.alter("DELETE FROM trading_equitypoint WHERE id % 2 = 0")
    clone.alter("UPDATE trading_balancesnapshot SET balance = balance + 1")
    points = EquityPoint.objects.count()
    broken = {result.invariant.id for result in run_all().results if not result.ok}
    assert {"I-24", "P-01", "P-02", "P-03", "P-04"} <= broken
    for account in accounts:
        rebuild(account, actor=TEST)
    assert EquityPoint.objects.count() > points
    report = run_all()
    assert report.ok, [(result.invariant.id, result.rows[:2]) for result in report.results if not result.ok]
