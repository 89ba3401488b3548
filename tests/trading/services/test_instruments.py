"""Ticks and freeze quantities as the brokers tell them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.trading.services.making import instrument, make_account
from trading.domain.broker import BrokerInstrument
from trading.models import AuditEvent
from trading.selectors.instruments import spec_of
from trading.services.instruments import take_over
from trading.services.setup import ensure_instruments

pytestmark = pytest.mark.django_db
EURUSD = BrokerInstrument(
    symbol="EUR_USD",
    display_name="EUR/USD",
    base="EUR",
    quote="USD",
    price_decimals=5,
    unit_decimals=0,
    pip_size=Decimal("0.0001"),
    tick_size=Decimal("0.00005"),
    minimum_units=Decimal(1),
    maximum_units=Decimal(500_000),
    margin_rate=Decimal("0.05"),
    freeze_quantity=Decimal(500_000),
)


def test_what_the_broker_says_is_taken_over_once_and_is_in_the_trail() -> None:
    account = make_account()
    assert [take_over(account=account, told=[EURUSD, replace(EURUSD, symbol="ABC_USD")]) for _ in range(2)] == [1, 0]
    row = instrument()
    assert (row.tick_size, row.freeze_quantity) == (Decimal("0.00005"), 500_000)
    event = AuditEvent.objects.get(kind="instrument.changed")
    assert event.after == {"tick_size": "0.00005", "freeze_quantity": "500000"} and event.object_id == str(row.pk)
    spec = spec_of(row)
    assert (spec.tick_size, spec.freeze_quantity, spec.pip_size) == (
        Decimal("0.00005"), Decimal(500_000), Decimal("0.0001"),
    )  # fmt: skip


def test_where_a_broker_says_nothing_what_was_known_stands() -> None:
    account = make_account()
    take_over(account=account, told=[EURUSD])
    assert take_over(account=account, told=[replace(EURUSD, freeze_quantity=None)]) == 0
    assert take_over(account=account, told=[]) == 0
    assert instrument().freeze_quantity == 500_000


def test_a_broker_speaks_only_of_what_is_traded_there() -> None:
    ensure_instruments()
    before = instrument("AAPL").tick_size
    assert take_over(account=make_account(), told=[replace(EURUSD, symbol="AAPL")]) == 0
    assert instrument("AAPL").tick_size == before


def test_a_tick_that_cannot_be_stored_exactly_changes_nothing() -> None:
    account = make_account()
    with pytest.raises(ValueError, match="exactly"):
        take_over(account=account, told=[replace(EURUSD, tick_size=Decimal("0.00000000000001"))])
    assert instrument().tick_size == Decimal("0.00001")


def test_indian_shares_have_the_ticks_of_their_exchange() -> None:
    ensure_instruments()
    assert {(instrument(name).tick_size, instrument(name).freeze_quantity) for name in ("INFY", "RELIANCE")} == {
        (Decimal("0.05"), 100_000)
    }
