"""Scenarios of cash: a currency that is missing, accounts with nothing in them, and sums that leave no rest."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from reconciliation.models import Discrepancy, Run
from tests.reconciliation.conftest import Desk, opened
from tests.reconciliation.scenarios.showing import shows
from tests.servers import Simulator
from trading.models import CashEvent, Entry, Notification
from trading.selectors import books

D = Decimal


@pytest.mark.scenario("S-54")
@pytest.mark.parametrize(("broker", "currency"), [("oanda", "USD"), ("alpaca", "USD"), ("kite", "INR")])
def test_an_account_with_nothing_in_it_is_reconciled_like_any_other(
    committed_db: object, simulator: Simulator, broker: str, currency: str
) -> None:
    with opened(simulator, broker, currency, "0") as desk:
        for _ in range(2):
            result = desk.reconcile()
            assert result.ok and result.findings is not None and result.findings.findings == (), result
        assert not any(books.cash_balances(desk.account).values()) and books.positions(desk.account) == {}
        assert Run.objects.filter(account=desk.account, status="COMPLETE").count() == 2


@pytest.mark.scenario("S-53")
def test_a_currency_that_is_missing_from_the_balances_is_bad_data_and_not_zero(desk: Desk) -> None:
    desk.reconcile()
    real = shows(desk, lambda shown: replace(shown, cash={}))
    desk.reconcile()
    desk.reconcile()
    case = desk.case()
    assert (case.kind, case.key, case.evidence["actions"]) == ("BAD_DATA", "cash:USD", ["accept"])
    assert books.cash_balances(desk.account) == {"USD": D(100_000)}, "nothing is written off"
    desk.broker = real
    assert desk.reconcile().ok and desk.case().state == "CLEARED" and desk.agrees()


@pytest.mark.scenario("S-47")
@pytest.mark.fault("F-105", broker="every")
def test_tenths_that_no_binary_fraction_holds_add_up_to_the_last_digit_in_a_currency_without_places(
    committed_db: object, simulator: Simulator
) -> None:
    with opened(simulator, "oanda", "JPY", "1000000") as desk:
        desk.reconcile()
        for amount in ("-0.1", "-0.2", "0.3", "-7"):
            desk.external("financing", currency="JPY", amount=amount)
        result = desk.reconcile()
        assert result.ok and result.findings is not None and result.findings.findings == ()
        assert books.cash_balances(desk.account) == {"JPY": D(999_993)}
        desk.external("silent_cash", currency="JPY", amount="-0.0001")
        result = desk.reconcile()
        assert result.findings is not None
        assert [(each.commodity, each.difference) for each in result.findings.findings] == [("JPY", D("-0.0001"))]


@pytest.mark.fault("F-104", broker="every")
def test_a_balance_below_zero_and_interest_on_it_are_states_like_any_other(desk: Desk) -> None:
    desk.reconcile()
    desk.external("transfer", currency="USD", amount="-150000")
    desk.external("financing", currency="USD", amount="-12.34")
    for _ in range(2):
        result = desk.reconcile()
        assert result.ok and result.findings is not None and result.findings.findings == ()
        assert all(line.holds for line in result.findings.proof)
    assert books.cash_balances(desk.account) == {"USD": D("-50012.34")} and desk.agrees()
    assert list(CashEvent.objects.order_by("id").values_list("kind", flat=True))[1:] == ["TRANSFER", "FINANCING"]
    assert not Discrepancy.objects.exists() and not Notification.objects.exists()


@pytest.mark.fault("F-106", broker="every")
def test_a_fee_that_is_charged_late_and_given_back_later_is_two_entries_of_what_they_are(desk: Desk) -> None:
    desk.reconcile()
    desk.external("transfer", currency="USD", amount="10")
    desk.reconcile()
    desk.external("fee", currency="USD", amount="-3.3333")
    desk.reconcile()
    desk.external("fee", currency="USD", amount="3.3333")
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == () and desk.agrees()
    assert Entry.objects.filter(kind="FEE").count() == 2 and not any(books.balances(desk.account, "FEE").values())
