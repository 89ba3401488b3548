"""Inflow: a broker's history is read to its end by one reader, and the cursor never passes what was not read."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.trading.services.making import cash_of, make_account
from trading.domain.broker import (
    BrokerEvent,
    BrokerUnreachable,
    Completeness,
    EventPage,
    LookupOutcome,
    OrderRequest,
    SubmitOutcome,
)
from trading.engine.inflow import BATCH, catch_up
from trading.models import Account, CashEvent
from trading.models import BrokerEvent as EventRow
from trading.services import cursors, leases
from trading.services.inbox import INFLOW

pytestmark = pytest.mark.django_db


@dataclass
class Historian:
    """A broker that has nothing but a history, told in pages of a given length; one page may end in a gap."""

    events: list[BrokerEvent]
    page: int = 1000
    gap_after: int | None = None
    failed: str = ""
    asked: list[str] = field(default_factory=list)
    name: str = "historian"

    def events_since(self, cursor: str) -> EventPage:
        """The next page."""
        self.asked.append(cursor)
        if self.failed:
            return EventPage((), Completeness.FAILED, cursor, self.failed)
        rest = [event for event in self.events if event.sequence > int(cursor or 0)]
        if self.gap_after is not None:
            rest = [event for event in rest if event.sequence <= self.gap_after]
        told = tuple(rest[: self.page])
        completeness = Completeness.COMPLETE if self.gap_after is None else Completeness.PARTIAL
        return EventPage(told, completeness, told[-1].external_id if told else cursor, "an event is missing")

    def order_by_client_id(self, client_id: str, *, since: str = "") -> LookupOutcome:
        raise AssertionError("nobody looks for orders here")

    def submit(self, request: OrderRequest) -> SubmitOutcome:
        raise AssertionError("nothing is sent here")

    def cancel(self, *, broker_order_id: str, client_id: str) -> SubmitOutcome:
        raise AssertionError("nothing is cancelled here")

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def account() -> Account:
    return make_account()


def deposits(count: int) -> list[BrokerEvent]:
    """Deposits of one dollar."""
    return [cash_of(number, "TRANSFER", "1") for number in range(1, count + 1)]


def test_a_history_is_read_to_its_end_in_batches(account: Account) -> None:
    broker = Historian(deposits(BATCH + 5))
    assert catch_up(account=account, broker=broker).stored == BATCH + 5
    assert cursors.get(account, INFLOW) == str(BATCH + 5) and CashEvent.objects.count() == BATCH + 5
    assert catch_up(account=account, broker=broker).stored == 0


def test_pages_are_turned_until_nothing_is_new(account: Account) -> None:
    broker = Historian(deposits(7), page=3)
    assert catch_up(account=account, broker=broker).stored == 7
    assert broker.asked == ["", "3", "6", "7"]


def test_a_broker_that_fails_is_an_error_and_the_cursor_stays(account: Account) -> None:
    with pytest.raises(BrokerUnreachable, match="gateway"):
        catch_up(account=account, broker=Historian(deposits(3), failed="bad gateway"))
    assert cursors.get(account, INFLOW) == "" and not leases.held(f"inflow:{account.pk}")


def test_before_a_gap_everything_is_read_and_the_cursor_waits_there(account: Account) -> None:
    broker = Historian(deposits(9), gap_after=4)
    with pytest.raises(BrokerUnreachable, match="missing"):
        catch_up(account=account, broker=broker)
    assert (cursors.get(account, INFLOW), EventRow.objects.count()) == ("4", 4)
    broker.gap_after = None
    assert catch_up(account=account, broker=broker).stored == 5


def test_a_second_reader_waits_its_turn_and_gives_up_in_a_sentence(account: Account) -> None:
    token = leases.acquire(key=f"inflow:{account.pk}", holder="another", seconds=30)
    assert token is not None
    broker = Historian(deposits(1))
    with pytest.raises(BrokerUnreachable, match="another process is still reading"):
        catch_up(account=account, broker=broker, wait_seconds=0.1)
    assert broker.asked == []
    leases.release(key=f"inflow:{account.pk}", token=token)
    assert catch_up(account=account, broker=broker).stored == 1
