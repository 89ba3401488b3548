"""Whatever happens at the broker without us: two people and the offered resolutions bring books and broker together."""

from __future__ import annotations

import random

import pytest

from reconciliation.engine.applications import sweep
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from tests.reconciliation.conftest import EURUSD, Desk, People
from trading.engine.sender import send_order
from trading.models import Account, Application, Entry, Order
from trading.services.setup import ensure_account

GOLD = "XAU_USD"


def something_happens(desk: Desk, chance: random.Random) -> None:
    """One random act of somebody else."""
    instrument = chance.choice([EURUSD, GOLD])
    amount = f"{chance.randint(-5000, 5000) / 100:.2f}"
    price = "1.1" if instrument == EURUSD else "2000"
    quantity = str(chance.choice([-30, -20, -10, 10, 20, 30]))
    kind = chance.choice(["trade", "trade", "trade", "silent_position", "silent_cash", "financing", "fee", "transfer"])
    if kind == "trade":
        desk.external(kind, instrument=instrument, quantity=quantity, price=price)
    elif kind == "silent_position":
        desk.external(kind, instrument=instrument, quantity=quantity)
    elif amount not in ("0.00", "-0.00"):
        desk.external(kind, currency="USD", amount=amount)


@pytest.mark.parametrize("seed", range(2))
def test_the_offered_resolutions_lead_to_equal_books(desk: Desk, people: People, seed: int) -> None:
    chance = random.Random(seed)
    desk.simulator.post("/prices", {"instrument": GOLD, "bid": "2000.000", "ask": "2000.000"})
    for _ in range(12):
        something_happens(desk, chance)
        if chance.random() < 0.4:
            desk.reconcile()
    for _ in range(12):
        result = desk.reconcile()
        assert result.ok and result.findings is not None
        assert all(line.holds for line in result.findings.proof)
        if not result.live:
            break
        for case in Discrepancy.objects.filter(state="OPEN"):
            resolvable = [action for action in case.evidence["actions"] if action != "accept"]
            assert resolvable, (case.kind, case.cause)
            desk.resolve(case, chance.choice(resolvable), people)
        for order in Order.objects.filter(state="PLANNED"):
            send_order(order_id=order.pk, broker=desk.broker)
    assert desk.reconcile().live == 0
    assert desk.agrees(), desk.simulator.truth()
    needs = Entry.objects.filter(kind__in=Entry.NEEDS_APPROVAL)
    assert not needs.filter(application=None).exists()
    assert Application.objects.count() == Discrepancy.objects.filter(events__kind="APPLIED").count()


def test_a_broker_that_shows_an_older_state_than_before_is_a_failed_run_and_nothing_vanishes(
    desk: Desk, people: People
) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.reconcile()
    desk.reconcile()
    desk.resolve(desk.case(), "book_fills", people)
    assert desk.reconcile().ok
    desk.simulator.post(f"/accounts/{desk.simulator.account}/reset")
    result = desk.reconcile()
    assert (result.status, result.findings) == ("FAILED", None)
    assert desk.case().state == "CLOSED"


def test_a_lost_answer_is_asked_again_within_the_run(desk: Desk) -> None:
    fault = {"broker": "oanda", "route": "GET /v3/accounts", "when": "before", "action": "status", "times": 1}
    desk.simulator.post("/faults", {**fault, "args": {"status": 503}})
    assert desk.reconcile().ok
    assert Run.objects.count() == 1


def test_accounts_are_told_apart_in_the_fingerprints(desk: Desk) -> None:
    desk.external("silent_cash", currency="USD", amount="3")
    desk.reconcile()
    twin: Account = ensure_account(
        name="twin",
        broker="OANDA",
        environment="SIMULATOR",
        external_id=desk.simulator.account,
        scope="another world",
        currency="USD",
        endpoint=desk.simulator.oanda_url,
    )
    other = Desk(twin, desk.simulator, desk.broker)
    other.reconcile()
    assert Discrepancy.objects.values("fingerprint").distinct().count() == 2


def test_an_approved_resolution_of_one_account_does_not_touch_another(desk: Desk, people: People) -> None:
    desk.external("silent_cash", currency="USD", amount="3")
    desk.reconcile()
    desk.reconcile()
    desk.approve(desk.propose(desk.case(), "adjust", people.ada), people.bob)
    assert sweep(Account(pk=desk.account.pk + 1000)) == 0
    assert sweep(desk.account) == 1


class MovingBroker:
    """The real adapter, at whose account something happens just before a snapshot."""

    def __init__(self, desk: Desk, times: int) -> None:
        self._desk, self._left = desk, times

    def __getattr__(self, name: str) -> object:
        return getattr(self._desk.broker, name)

    def snapshot(self) -> object:
        """A snapshot that is newer than what was read of the history."""
        if self._left:
            self._left -= 1
            self._desk.external("trade", instrument=EURUSD, quantity="10", price="1.1")
        return self._desk.broker.snapshot()


def test_what_happens_between_history_and_snapshot_is_read_again_until_both_end_with_the_same_event(desk: Desk) -> None:
    result = run_reconciliation(account=desk.account, trigger="MANUAL", broker=MovingBroker(desk, 2))  # type: ignore[arg-type]
    assert result.ok and desk.case().difference == 20


def test_a_history_that_never_stands_still_is_an_incomplete_run_without_findings(desk: Desk) -> None:
    result = run_reconciliation(account=desk.account, trigger="MANUAL", broker=MovingBroker(desk, 99))  # type: ignore[arg-type]
    assert result.status == "INCOMPLETE" and "must end with the same event" in result.error
    assert not Discrepancy.objects.exists()
