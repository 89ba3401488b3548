"""Live bars of a day and of a minute: they come from candles, at the venue's own times, each once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.conftest import CommittedDatabase
from tests.faults.places import ALPACA
from tests.servers import Simulator
from trading.brokers.registry import simulator_url
from trading.brokers.simulator_control import SimulatorControl
from trading.domain.broker import Broker
from trading.engine.connections import broker_for
from trading.engine.live_bars import ASK_EVERY, CANDLE_GRACE, LiveBars
from trading.models import Account, Bar
from trading.services.setup import ensure_account

DAY, MINUTE = 86_400, 60
# Midnight of Tuesday in New York.
TUESDAY = datetime(2026, 3, 3, 5, tzinfo=UTC)
NOON = TUESDAY + timedelta(hours=12)
SYMBOLS = ("AAPL", "SPY")


@pytest.fixture
def control(simulator: Simulator) -> Iterator[SimulatorControl]:
    control = SimulatorControl(simulator.control_url)
    control.set_clock(NOON)
    yield control
    control.close()


@pytest.fixture
def account(committed_db: CommittedDatabase, simulator: Simulator, no_credentials: None) -> Account:
    return ensure_account(
        name="desk-alpaca",
        broker=ALPACA.broker,
        environment=Account.Environment.SIMULATOR,
        external_id=ALPACA.account,
        currency="USD",
        endpoint=simulator_url(simulator.control_url, ALPACA.name),
    )


@pytest.fixture
def broker(account: Account) -> Iterator[Broker]:
    opened = broker_for(account)
    yield opened
    opened.close()


def bars_at(moment: datetime, account: Account, broker: Broker, interval: int) -> LiveBars:
    return LiveBars(
        account=account, broker=broker, symbols=SYMBOLS, interval_seconds=interval, at=moment, tz="America/New_York"
    )


def requests(control: SimulatorControl) -> int:
    rows = [row["data"]["path"] for row in control.journal() if row["kind"] == "request"]
    return len([path for path in rows if "/bars" in path])


def test_the_day_that_is_still_open_is_not_given_out_and_comes_once_it_is_over(
    control: SimulatorControl, account: Account, broker: Broker
) -> None:
    oldest = NOON - timedelta(days=10)
    bars = bars_at(NOON, account, broker, DAY)
    settled = bars.fetch(oldest=oldest)
    ripe = bars.ripe(after=oldest, settled=settled)
    assert len(ripe) >= 5 and max(ripe) < TUESDAY
    assert {start.astimezone(UTC).hour for start in ripe} == {5}
    assert Bar.objects.filter(start__gte=TUESDAY).count() == 0

    asked = requests(control)
    soon = NOON + ASK_EVERY / 2
    bars_at(soon, account, broker, DAY).fetch(oldest=oldest)
    assert requests(control) == asked, "days are not asked for all the time"

    after = TUESDAY + timedelta(days=1, minutes=2)
    control.set_clock(after)
    bars = bars_at(after, account, broker, DAY)
    settled = bars.fetch(oldest=oldest)
    assert bars.ripe(after=max(ripe), settled=settled) == [TUESDAY]
    assert Bar.objects.filter(start=TUESDAY).count() == len(SYMBOLS)
    (slot,) = bars.slots(since=TUESDAY)
    assert set(slot) == set(SYMBOLS)


def test_minutes_are_settled_slot_by_slot(control: SimulatorControl, account: Account, broker: Broker) -> None:
    oldest = NOON - timedelta(minutes=5)
    bars = bars_at(NOON, account, broker, MINUTE)
    ripe = bars.ripe(after=oldest - timedelta(minutes=1), settled=bars.fetch(oldest=oldest))
    assert ripe == [oldest + timedelta(minutes=n) for n in range(5)]
    asked = requests(control)
    assert bars_at(NOON, account, broker, MINUTE).fetch(oldest=oldest) == [NOON, NOON]
    assert requests(control) == asked, "what is settled is not asked for again"
    control.step_clock(Decimal(MINUTE))
    later = NOON + timedelta(minutes=1) + CANDLE_GRACE
    bars = bars_at(later, account, broker, MINUTE)
    assert bars.ripe(after=ripe[-1], settled=bars.fetch(oldest=oldest)) == [NOON]
