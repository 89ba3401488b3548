"""A first start on an account with a past: one proposal takes it over, two people decide, and the next run agrees."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from reconciliation.engine.applications import sweep
from reconciliation.engine.startup import block_entries_until_reconciled
from reconciliation.models import Discrepancy
from reconciliation.services.payloads import preview
from reconciliation.services.preview import draft
from tests.reconciliation.conftest import EURUSD, Desk, People
from tests.reconciliation.engine.share_desk import AAPL, ShareDesk, books_hold, verified
from tests.reconciliation.services.test_booked_once import planned
from tests.servers import Simulator
from trading.brokers.registry import SIMULATOR_KITE_ACCOUNT
from trading.clock import store_broker_clock
from trading.engine.connections import broker_for
from trading.engine.inflow import catch_up
from trading.models import Account, Application, Entry, Fill, Proposal
from trading.selectors import books
from trading.services.errors import RuleBroken
from trading.services.restrictions import OPEN, REDUCE_ONLY, trading_state
from trading.services.setup import ensure_account

GOLD, INFY, RELIANCE, YESBANK = "XAU_USD", "NSE:INFY", "NSE:RELIANCE", "NSE:YESBANK"
D = Decimal


def opening(desk: Desk) -> Discrepancy:
    """The opening balance, once two complete runs have confirmed it: the only case that there is."""
    for _ in range(2):
        assert desk.reconcile().ok
    return desk.case()


def entries_are(desk: Desk) -> str:
    return trading_state(account=desk.account)[0]


def closed(desk: Desk) -> None:
    """The next run finds nothing, and entries begin."""
    result = desk.reconcile()
    assert result.findings is not None and result.findings.findings == () and result.live == 0
    assert desk.case(kind="OPENING_BALANCE").state == "CLOSED" and entries_are(desk) == OPEN


@pytest.mark.scenario("S-39")
def test_old_positions_and_cash_are_one_proposal_that_two_people_decide_on_before_any_entry(
    desk: Desk, people: People
) -> None:
    block_entries_until_reconciled()
    desk.simulator.post("/prices", {"instrument": GOLD, "bid": "2000.000", "ask": "2000.000"})
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    desk.external("silent_position", instrument=GOLD, quantity="-3")
    desk.external("silent_cash", currency="USD", amount="250")
    case = opening(desk)
    assert (case.kind, case.state, case.severity) == ("OPENING_BALANCE", "OPEN", "HIGH")
    seen = preview(case, "adopt_position")
    assert [(e["entry"], e.get("instrument") or e["currency"]) for e in seen.payload["entries"]] == [
        ("ADOPTION", "EURUSD"),
        ("ADOPTION", "XAUUSD"),
        ("ADJUSTMENT", "USD"),
    ]
    paper = draft(case, seen.payload)
    assert {effect.what: effect.change for effect in paper.effects} == {
        "EURUSD": D(500),
        "XAUUSD": D(-3),
        "USD": D(250),
    }
    client = Client()
    client.force_login(people.ada)
    page = client.get(reverse("admin:reconciliation_discrepancy_change", args=[case.pk]), {"preview": "adopt_position"})
    assert page.status_code == 200 and "its history does not explain long 500 EURUSD" in page.content.decode()
    proposal = desk.propose(case, "adopt_position", people.ada)
    with pytest.raises(RuleBroken, match="four eyes|proposed"):
        desk.approve(proposal, people.adas_other_user)
    assert entries_are(desk) == REDUCE_ONLY and not Fill.objects.exists()
    desk.approve(proposal, people.bob)
    sweep(desk.account)
    assert desk.agrees() and entries_are(desk) == REDUCE_ONLY, "a run must see it first"
    posted = [(line.entry, line.ledger_account) for line in paper.lines]
    assert len(posted) == 2 * sum(entry.transfers.count() for entry in Entry.objects.exclude(application=None))
    closed(desk)
    assert Proposal.objects.count() == Application.objects.count() == 1
    verified()


def test_entries_wait_for_it_on_an_account_that_is_connected_while_the_desk_runs(desk: Desk) -> None:
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    assert entries_are(desk) == OPEN
    desk.reconcile()
    assert entries_are(desk) == REDUCE_ONLY
    desk.reconcile()
    assert entries_are(desk) == REDUCE_ONLY


def test_a_past_that_the_history_tells_wholly_is_booked_from_it_and_no_opening(desk: Desk, people: People) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    case = opening(desk)
    assert case.kind == "EXTERNAL_POSITION"
    desk.resolve(case, "book_fills", people)
    desk.reconcile()
    assert desk.agrees() and not Discrepancy.objects.filter(kind="OPENING_BALANCE").exists()


def test_a_position_that_appears_after_a_first_clean_look_is_no_opening(desk: Desk) -> None:
    desk.reconcile()
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    assert opening(desk).kind == "EXTERNAL_POSITION"


def test_what_changes_before_the_decision_makes_it_void(desk: Desk, people: People) -> None:
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    proposal = desk.propose(opening(desk), "adopt_position", people.ada)
    desk.external("silent_position", instrument=EURUSD, quantity="100")
    desk.reconcile()
    with pytest.raises(RuleBroken, match="has changed"):
        desk.approve(proposal, people.bob)
    case = desk.case()
    assert (case.kind, case.state, case.version) == ("OPENING_BALANCE", "OPEN", 2)
    desk.resolve(case, "adopt_position", people)
    closed(desk)
    assert desk.agrees()


def approved(desk: Desk, people: People) -> None:
    """500 EURUSD and 250 USD of before our books, and two people who want them taken over."""
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    desk.external("silent_cash", currency="USD", amount="250")
    desk.approve(desk.propose(opening(desk), "adopt_position", people.ada), people.bob)


def refused(desk: Desk) -> str:
    """Nothing is posted: why."""
    assert sweep(desk.account) == 0 and not Application.objects.exists()
    return str(desk.case(kind="OPENING_BALANCE").events.filter(kind="NOT_APPLIED").latest("sequence").reason)


def test_it_is_not_applied_once_the_books_have_begun_otherwise(desk: Desk, people: People) -> None:
    approved(desk, people)
    planned(desk, "1")
    assert "have begun" in refused(desk)


def test_cash_that_came_into_the_books_since_is_not_taken_over_as_well(desk: Desk, people: People) -> None:
    approved(desk, people)
    desk.external("transfer", currency="USD", amount="250")
    desk.external("silent_cash", currency="USD", amount="-250")
    catch_up(account=desk.account, broker=desk.broker)
    assert "by now" in refused(desk)
    desk.reconcile()
    desk.resolve(desk.case(kind="OPENING_BALANCE"), "adopt_position", people)
    assert desk.agrees()


def test_each_position_has_its_own_cost_and_takes_no_other(desk: Desk, people: People) -> None:
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    with pytest.raises(RuleBroken, match="own cost"):
        desk.propose(opening(desk), "adopt_position", people.ada, price=D("1.2"))


def test_old_shares_are_taken_over_with_what_the_history_sold_of_them(share_desk: ShareDesk, people: People) -> None:
    desk = share_desk
    desk.external("silent_position", instrument=AAPL, quantity="10", price="90")
    desk.external("trade", instrument=AAPL, quantity="-4", price="100")
    case = opening(desk)
    payload = preview(case, "adopt_position").payload
    assert [entry["entry"] for entry in payload["entries"]] == ["ADOPTION", "EXTERNAL_FILL"]
    seen = draft(case, payload)
    desk.resolve(case, "adopt_position", people)
    assert desk.agrees()
    assert [(fill.quantity, fill.realised, fill.is_estimate) for fill in Fill.objects.order_by("id")] == [
        (10, 0, True),
        (4, 40, False),
    ]
    told = sorted((line.ledger_account, line.debit or 0, line.credit or 0) for line in seen.lines)
    booked = sorted(
        (f"{desk.account.name}:{side.kind}:{transfer.commodity_id}", *amounts)
        for entry in Entry.objects.exclude(application=None)
        for transfer in entry.transfers.select_related("debit", "credit")
        for side, amounts in ((transfer.debit, (transfer.amount, 0)), (transfer.credit, (0, transfer.amount)))
    )
    assert told == booked, "people saw exactly what was posted"
    closed(desk)
    verified()


class KiteDesk(Desk):
    """An account at the simulator's Kite, whose history is today and nothing else."""

    def external(self, kind: str, **body: str) -> None:
        self.simulator.post(f"/accounts/{SIMULATOR_KITE_ACCOUNT}/external", {"kind": kind, **body})

    def next_day(self) -> None:
        """Past midnight in India, while the token of the day before is still accepted."""
        self.simulator.post("/clock", {"now": "2026-01-13T19:00:00Z"})
        store_broker_clock(account=self.account, broker_at=self.broker.now(), speed=Decimal(0))

    def agrees(self) -> bool:
        truth = self.simulator.get(f"/accounts/{SIMULATOR_KITE_ACCOUNT}")
        theirs = {p["instrument"].removeprefix("NSE:"): D(p["quantity"]) for p in truth["positions"]}
        ours = {name: p.quantity for name, p in books.positions(self.account).items()}
        return ours == theirs and books.cash_balances(self.account)["INR"] == D(truth["cash"]["INR"])


@pytest.fixture
def kite_desk(committed_db: object, start_simulator: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[KiteDesk]:
    """An account of ours there, on an open day; prices stand still."""
    for name in ("KITE_API_KEY", "KITE_ACCESS_TOKEN", "KITE_URL", "SIMULATOR_URL"):
        monkeypatch.delenv(name, raising=False)
    simulator: Simulator = start_simulator("--always-open", "--start", "2026-01-13T05:00:00Z")  # type: ignore[operator]
    simulator.post("/prices", {"instrument": INFY, "bid": "1500.00", "ask": "1500.00"})
    simulator.post("/prices", {"instrument": RELIANCE, "bid": "1200.00", "ask": "1200.00"})
    simulator.post("/prices", {"instrument": YESBANK, "bid": "20.00", "ask": "20.00"})
    account = ensure_account(
        name="test-kite",
        broker=Account.Broker.KITE,
        environment=Account.Environment.SIMULATOR,
        external_id=SIMULATOR_KITE_ACCOUNT,
        currency="INR",
        time_zone="Asia/Kolkata",
        endpoint=simulator.kite_url,
    )
    broker = broker_for(account)
    desk = KiteDesk(account, simulator, broker)
    store_broker_clock(account=account, broker_at=broker.now(), speed=Decimal(0))
    yield desk
    broker.close()


@pytest.mark.scenario("S-39")
def test_where_the_history_is_one_day_older_shares_are_taken_over_and_that_day_is_booked(
    kite_desk: KiteDesk, people: People
) -> None:
    desk = kite_desk
    desk.external("trade", instrument=INFY, quantity="10", price="1400")
    desk.external("trade", instrument=RELIANCE, quantity="4", price="1100")
    desk.next_day()
    desk.external("trade", instrument=YESBANK, quantity="5", price="20")
    case = opening(desk)
    told = preview(case, "adopt_position").payload["entries"]
    assert [(e["entry"], e["instrument"], e["quantity"], e["price"]) for e in told] == [
        ("ADOPTION", "INFY", "10", "1400"),
        ("ADOPTION", "RELIANCE", "4", "1100"),
        ("EXTERNAL_FILL", YESBANK, "5", "20"),
    ]
    assert case.evidence["evidence"]["cash"] == {}, "the day's opening cash is in the history"
    desk.resolve(case, "adopt_position", people)
    assert desk.agrees()
    closed(desk)
    books_hold()
