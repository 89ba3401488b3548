"""The demo day against a real simulator: what is planted becomes the four cases that it promises, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from backoffice.demo import day as demo_day
from backoffice.demo.day import Day, DemoStopped
from backoffice.demo.differences import AT_ONCE
from backoffice.verification import run_all
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.conftest import CommittedDatabase
from tests.faults.conftest import make_world
from tests.faults.places import ALPACA
from tests.faults.world import World
from tests.reconciliation.conftest import Desk, People, people
from tests.servers import Simulator
from trading.brokers.simulator_control import SimulatorControl
from trading.clock import store_broker_clock
from trading.engine.connections import broker_for
from trading.engine.desk import DEMO_POLICY, ensure_desk
from trading.engine.sender import send_order
from trading.models import Account, AuditEvent, Fill, Order, Trade
from trading.selectors import books
from trading.services.setup import ensure_policy

__all__ = ["make_world", "people"]
WEDNESDAY = ("--always-open", "--speed", "1", "--start", "2026-01-14T15:00:00Z")


@pytest.fixture(autouse=True)
def demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that is not waited for, in a desk that runs its demo."""
    monkeypatch.setenv("BACKOFFICE_DEMO", "1")
    monkeypatch.setattr(demo_day, "PAUSE", 0.05)


@pytest.fixture
def control(committed_db: CommittedDatabase, start_simulator: Callable[..., Simulator]) -> Iterator[SimulatorControl]:
    """The control door of a simulator of one's own, with the desk's accounts beside it."""
    simulator = start_simulator(*WEDNESDAY)
    ensure_desk(control_url=simulator.control_url)
    made = SimulatorControl(simulator.control_url)
    yield made
    made.close()


def run(account: Account) -> Run:
    """One complete reconciliation."""
    broker = broker_for(account)
    try:
        store_broker_clock(account=account, broker_at=broker.now())
    finally:
        broker.close()
    result = run_reconciliation(account=account, trigger=Run.Trigger.MANUAL)
    assert result.ok, result
    return Run.objects.get(pk=result.run_id)


def cases(**more: object) -> set[tuple[str, str, str]]:
    return set(Discrepancy.objects.filter(**more).values_list("account__name", "kind", "key"))


class Stopped(Exception):
    """Enough of the day was seen."""


def until_the_fill_is_hidden(day: Day) -> list[str]:
    """What the day says until it begins to wait for a fill."""
    said: list[str] = []

    def tell(sentence: str) -> None:
        said.append(sentence)
        if "next fill" in sentence:
            raise Stopped

    day.tell = tell
    with pytest.raises(Stopped):
        day.run()
    return said


def test_what_is_planted_at_once_opens_as_three_cases_and_is_never_planted_twice(control: SimulatorControl) -> None:
    accounts = [Account.objects.get(name=name) for name in ("desk-oanda", "desk-alpaca")]
    for account in accounts:
        run(account)
    assert cases() == set(), "a fresh desk has no differences"
    said = until_the_fill_is_hidden(Day(control, print))
    assert len(said) == len(AT_ONCE) + 1
    for _ in range(2):
        for account in accounts:
            run(account)
    expected = {
        ("desk-oanda", "EXTERNAL_POSITION", "USDJPY"),
        ("desk-oanda", "CASH_UNEXPLAINED", "USD"),
        ("desk-alpaca", "EXTERNAL_POSITION", "MSFT"),
    }
    assert cases(state="OPEN") == cases() == expected
    seen = len(control.journal())
    again = Day(control, lambda _sentence: None, patience_seconds=0.1)
    with pytest.raises(DemoStopped, match="case of the hidden fill"):
        again.run()
    assert [row["kind"] for row in control.journal(seen) if row["kind"] != "request"] == []
    assert AuditEvent.objects.filter(kind="demo.planted").count() == len(AT_ONCE) + 1


def test_a_desk_without_the_demo_still_finds_the_accounts_of_the_demo_where_its_simulator_is(
    committed_db: CommittedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(ensure_desk(control_url="http://127.0.0.1:9100")) == 2
    monkeypatch.delenv("BACKOFFICE_DEMO")
    assert len(ensure_desk(control_url="http://127.0.0.1:9200")) == 1, "the shipped session trades no shares"
    found = dict(Account.objects.exclude(broker="PAPER").values_list("name", "endpoint"))
    assert found == {"desk-oanda": "http://127.0.0.1:9201", "desk-alpaca": "http://127.0.0.1:9202"}


def test_a_day_without_accounts_says_what_it_waits_for(committed_db: CommittedDatabase) -> None:
    day = Day(SimulatorControl("http://127.0.0.1:1"), print)
    with pytest.raises(DemoStopped, match=r"Not within 0\.1 seconds: nothing"):
        day.until(day._accounts_are_ready, 0.1, "nothing")


def test_the_hidden_fill_opens_cases_and_then_waits_for_people_who_book_it(
    make_world: Callable[..., World], people: People
) -> None:
    world = make_world(place=ALPACA)
    Account.objects.filter(pk=world.account.pk).update(name="desk-alpaca", policy=ensure_policy(DEMO_POLICY))
    world.account = account = Account.objects.get(pk=world.account.pk)
    control = SimulatorControl(world.simulator.control_url)
    day = Day(control, lambda _sentence: None, patience_seconds=0.1)
    day._hide_a_fill()
    order = world.plan()
    send_order(order_id=order.pk)
    order.refresh_from_db()
    assert order.state == "WORKING" and Fill.objects.count() == 0
    with pytest.raises(DemoStopped):
        Day(control, print, patience_seconds=0)._reveal_the_fill()
    control.add_fault(broker="alpaca", route="*", when="after", action="hide", times=1, args={"what": "fill"})
    run(account)
    run(account)
    assert Fill.objects.count() == 1, "a fill that appears before its case is open is booked as any other"

    hidden = world.plan()
    send_order(order_id=hidden.pk)
    for _ in range(2):
        run(account)
    assert ("desk-alpaca", "QUANTITY_MISMATCH", "AAPL") in cases(state="OPEN")
    day._reveal_the_fill()
    for _ in range(2):
        run(account)
    assert Fill.objects.count() == 1, "the case is open, so people are asked"
    waiting = Discrepancy.objects.exclude(state="CLEARED")
    assert [(row.kind, row.state, row.evidence["suggestion"]) for row in waiting] == [
        ("MISSING_FILL", "OPEN", "book_fills")
    ]

    target = Order.objects.get(rides_on=hidden, tag="TP1")
    world.price((target.price or ALPACA.ask) + ALPACA.away / 10, (target.price or ALPACA.ask) + ALPACA.away / 5)
    for _ in range(2):
        run(account)
    assert Fill.objects.filter(order__tag="TP1").count() == 2, "what happens now is no news of the past"
    assert [(row.kind, row.state) for row in Discrepancy.objects.exclude(state="CLEARED")] == [("MISSING_FILL", "OPEN")]
    broker = broker_for(account)
    Desk(account, world.simulator, broker).resolve(waiting.get(), "book_fills", people)
    broker.close()
    run(account)
    assert not Discrepancy.objects.exclude(state__in=["CLEARED", "CLOSED"]).exists()
    assert world.differences() == [] and books.positions(account) == {}
    trade = Trade.objects.get(account=account, decision=hidden.decision)
    assert (trade.state, trade.close_reason, trade.open_quantity) == ("CLOSED", "TP", 0)
    assert trade.pnl == sum(
        (fill.price * fill.quantity * (-1 if fill.side == "BUY" else 1) for fill in _fills_of(hidden)), ALPACA.away * 0
    )
    broken = {result.invariant.id for result in run_all().results if result.count}
    own = "only that this world's paper accounts are none that its account mirrors, and its policy was put by hand"
    assert broken <= {"I-27", "I-43"}, own


def _fills_of(entry: Order) -> list[Fill]:
    return list(Fill.objects.filter(order__in=[entry, *Order.objects.filter(rides_on=entry)]))
