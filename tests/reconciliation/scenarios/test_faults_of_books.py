"""Faults of the books: amounts that are off by almost nothing or by everything, and errors that cancel each other."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciliation.domain.compare import reconcile
from reconciliation.domain.kinds import Kind
from reconciliation.domain.run_hash import run_sha256
from reconciliation.domain.snapshots import BooksSnapshot, broker_text
from tests.reconciliation.domain.sides import EXACT, books, broker, held, kinds, one, position, two_sides
from trading.domain.broker import BrokerSnapshot

D = Decimal


@pytest.mark.fault("F-103", broker="every")
@pytest.mark.parametrize("off", ["0.000001", "-0.000001", "1E-12", "0.01", "1000000000", "-1000000000", "-200000"])
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


@pytest.mark.fault("F-105", broker="every")
@pytest.mark.parametrize(
    ("currency", "amount", "off"),
    [
        ("JPY", "1000000", "1"),
        ("BHD", "1234.567", "0.001"),
        ("INR", "99999.95", "-0.05"),
        ("BTC", "0.12345678", "0.00000001"),
        ("USD", "-50012.34", "-0.01"),
    ],
)
def test_an_account_in_any_currency_is_compared_to_its_own_last_place(currency: str, amount: str, off: str) -> None:
    theirs = replace(broker(currency=currency), cash={currency: D(amount)})
    ours = replace(books(), currency=currency, cash={currency: D(amount)})
    assert kinds(theirs, ours) == []
    finding = one(replace(theirs, cash={currency: D(amount) + D(off)}), ours)
    assert (finding.kind, finding.commodity) == (Kind.CASH_UNEXPLAINED, currency)
    assert finding.difference == D(off)


@pytest.mark.fault("F-112", broker="every")
@given(two_sides(), st.randoms(use_true_random=False))
def test_rows_in_any_order_give_the_same_name_of_the_run(
    sides: tuple[BrokerSnapshot, BooksSnapshot], shuffler: random.Random
) -> None:
    theirs, ours = sides

    def mixed(rows: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(shuffler.sample(rows, len(rows)))

    def name(theirs: BrokerSnapshot, ours: BooksSnapshot) -> str:
        findings = reconcile(theirs, ours, EXACT)
        sides = {"broker": (broker_text(theirs), theirs.at), "books": (ours.text(), ours.at)}
        return run_sha256(**sides, policy=EXACT, findings=findings)

    shuffled = (
        replace(theirs, positions=mixed(theirs.positions), orders=mixed(theirs.orders), flags=mixed(theirs.flags)),
        replace(
            ours,
            positions=mixed(ours.positions),
            orders=mixed(ours.orders),
            unposted=mixed(ours.unposted),
            instruments=dict(mixed(tuple(ours.instruments.items()))),
        ),
    )
    assert name(*shuffled) == name(theirs, ours)
    assert name(replace(theirs, cash={"USD": D(1)}), ours) != name(replace(theirs, cash={"USD": D(2)}), ours)
