"""The brokers' lists of instruments are read once a day, and one that does not answer is asked again."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.servers import Simulator
from trading.brokers.registry import SIMULATOR_KITE_ACCOUNT, SIMULATOR_OANDA_ACCOUNT, simulator_url
from trading.engine.instruments import read_all
from trading.models import Account, Instrument
from trading.services.setup import ensure_account

pytestmark = pytest.mark.django_db
NOWHERE = "http://127.0.0.1:9"


def at(broker: str, account: str, currency: str, endpoint: str) -> Account:
    return ensure_account(
        name=broker.lower(),
        broker=broker,
        environment=Account.Environment.SIMULATOR,
        external_id=account,
        currency=currency,
        endpoint=endpoint,
    )


def test_each_list_is_read_once_a_day_and_what_it_says_is_taken_over(
    start_simulator: Callable[..., Simulator],
) -> None:
    url = start_simulator("--always-open").control_url
    at("OANDA", SIMULATOR_OANDA_ACCOUNT, "USD", NOWHERE)
    at("KITE", SIMULATOR_KITE_ACCOUNT, "INR", simulator_url(url, "kite"))
    Instrument.objects.filter(symbol="INFY").update(tick_size=Decimal("0.01"))
    assert read_all() == 1, "nobody answers for the other"
    infy, gold = (Instrument.objects.get(symbol=symbol) for symbol in ("INFY", "XAUUSD"))
    assert (infy.tick_size, infy.freeze_quantity, gold.freeze_quantity) == (Decimal("0.05"), 100_000, None)
    at("OANDA", SIMULATOR_OANDA_ACCOUNT, "USD", simulator_url(url, "oanda"))
    assert [read_all(), read_all()] == [1, 0]
    gold.refresh_from_db()
    assert (gold.tick_size, gold.freeze_quantity) == (Decimal("0.001"), 100_000)
