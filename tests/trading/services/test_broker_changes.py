"""What a broker says otherwise of an execution than it said first is a change, whatever part of it is another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.trading.services import making
from trading.models import BrokerEvent, Fill
from trading.services.broker_changes import change_of

pytestmark = pytest.mark.django_db


def test_an_execution_that_the_broker_puts_on_another_instrument_is_undone() -> None:
    account = making.make_account()
    order = making.make_entry(account)
    making.receive(account, making.fill_of(1, order, "10", "1.1"))
    told = making.fill_of(1, order, "10", "1.1")
    elsewhere = replace(told.fills[0], instrument="XAU_USD")
    making.receive(account, replace(told, raw={**told.raw, "instrument": "XAU_USD"}, fills=(elsewhere,)))
    change = change_of(BrokerEvent.objects.get())
    assert change is not None and not change.settled
    assert change.undone == (Fill.objects.get(),) and change.instead[0].instrument == "XAU_USD"


def test_the_same_execution_in_the_same_words_is_no_change() -> None:
    account = making.make_account()
    order = making.make_entry(account)
    for _ in range(2):
        making.receive(account, making.fill_of(1, order, "10", "1.1"))
    assert change_of(BrokerEvent.objects.get()) is None
