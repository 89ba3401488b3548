"""Faults of the books: amounts that are off by almost nothing or by everything, and errors that cancel each other."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reconciliation.domain.compare import reconcile
from reconciliation.domain.kinds import Kind
from tests.reconciliation.domain.sides import EXACT, books, broker, held, kinds, one, position

D = Decimal


@pytest.mark.fault("F-103", broker="every")
@pytest.mark.parametrize("off", ["0.000001", "-0.000001", "0.01", "1000000000", "-1000000000", "-200000"])
def test_cash_that_is_off_by_however_little_or_much_is_found_to_the_last_digit(off: str) -> None:
    finding = one(broker(cash=str(D(100_000) + D(off))), books())
    assert (finding.kind, finding.difference) == (Kind.CASH_UNEXPLAINED, D(off))


@pytest.mark.fault("F-103", broker="every")
def test_two_errors_that_cancel_each_other_out_are_two_findings() -> None:
    theirs = broker(position(quantity="1010"), position("XAUUSD", "-10", "2000"))
    ours = books(held(quantity="1000"), held("XAUUSD", "0", None))
    assert sorted(kinds(theirs, ours)) == [Kind.EXTERNAL_POSITION, Kind.QUANTITY_MISMATCH]
    assert all(line.unexplained == 0 for line in reconcile(theirs, ours, EXACT).proof)


@pytest.mark.fault("F-103", broker="every")
def test_the_other_sign_is_another_position() -> None:
    assert kinds(broker(position(quantity="-1000")), books(held())) == [Kind.SIDE_MISMATCH]
