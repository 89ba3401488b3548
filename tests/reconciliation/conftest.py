"""An account at a real simulator, in a database where commits stay, and people to decide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group

from reconciliation.engine.applications import sweep
from reconciliation.engine.run import RunResult, run_reconciliation
from reconciliation.models import Discrepancy, Run
from reconciliation.services import resolutions
from tests.servers import Simulator
from trading.brokers.registry import Connection, open_broker, simulator_url
from trading.domain.broker import Broker
from trading.engine.connections import broker_for
from trading.models import Account, Approval, Person, Proposal, User
from trading.selectors import books
from trading.services.audit import Actor
from trading.services.setup import ensure_account

TEST = Actor.system("a test", via="command")
EURUSD = "EUR_USD"


@dataclass
class Desk:
    """One account of ours at one simulator, seen from both sides."""

    account: Account
    simulator: Simulator
    broker: Broker

    def reconcile(self, trigger: str = Run.Trigger.MANUAL, **more: object) -> RunResult:
        """Run once, on the adapter that is open already."""
        return run_reconciliation(account=self.account, trigger=trigger, broker=self.broker, **more)  # type: ignore[arg-type]

    def external(self, kind: str, **body: str) -> None:
        """Something happens to the broker's account without us."""
        self.simulator.post(f"/accounts/{self.simulator.account}/external", {"kind": kind, **body})

    def case(self, **wanted: object) -> Discrepancy:
        """The one case that fits."""
        return Discrepancy.objects.get(account=self.account, **wanted)

    def propose(self, case: Discrepancy, action: str, proposer: User, **more: object) -> Proposal:
        """Propose through the service."""
        return resolutions.propose(
            discrepancy_id=case.pk, action=action, reason="seen at the broker", proposer=proposer, actor=TEST, **more
        )  # type: ignore[arg-type]

    def approve(self, proposal: Proposal, approver: User) -> Approval:
        """Approve exactly what the proposal says."""
        return resolutions.approve(
            proposal_id=proposal.pk,
            approver=approver,
            payload_sha256=proposal.payload_sha256,
            subject_version=proposal.subject_version,
            reason="checked with the broker",
            actor=TEST,
        )

    def resolve(self, case: Discrepancy, action: str, people: People, **more: object) -> None:
        """Ada proposes, bob approves, the sweep applies."""
        self.approve(self.propose(case, action, people.ada, **more), people.bob)
        sweep(self.account)

    def agrees(self) -> bool:
        """Books and broker hold the same, to the last digit."""
        truth = self.simulator.truth()
        theirs = {p["instrument"].replace("_", ""): p for p in truth["positions"]}
        ours = books.positions(self.account)
        same_positions = {name: str(p.quantity.normalize()) for name, p in ours.items()} == {
            name: str(_signed(p).normalize()) for name, p in theirs.items()
        }
        return same_positions and books.cash_balances(self.account)["USD"] == Decimal(truth["cash"]["USD"])


@contextmanager
def opened(simulator: Simulator, broker: str, currency: str, cash: str = "1000000") -> Iterator[Desk]:
    """A new account at the simulator's broker, and ours of the same number; neither has been read."""
    made = simulator.post("/accounts", {"broker": broker, "currency": currency, "cash": cash})
    keys = {"key" if name == "api_key" else name: value for name, value in made["credentials"].items()}
    url = simulator_url(simulator.control_url, broker)
    account = ensure_account(
        name=f"new-{broker}-{made['id']}",
        broker=broker.upper(),
        environment=Account.Environment.SIMULATOR,
        external_id=made["id"],
        currency=currency,
        endpoint=url,
    )
    port = open_broker(Connection(broker, "simulator", url, made["id"], keys))
    try:
        yield Desk(account, replace(simulator, account=made["id"]), port)
    finally:
        port.close()


def _signed(position: dict[str, str]) -> Decimal:
    quantity = Decimal(position["quantity"])
    return -quantity if position["side"].upper() in ("SHORT", "SELL") and quantity > 0 else quantity


@dataclass
class People:
    """The cast: ada proposes, bob approves, and `adas_other_user` is a second sign-in of ada."""

    ada: User
    bob: User
    adas_other_user: User


@pytest.fixture
def people(committed_db: object) -> People:
    """Ada (operator), bob (approver), and a second user of ada who is an approver."""
    ada, bob = Person.objects.create(name="Ada"), Person.objects.create(name="Bob")

    def user(name: str, person: Person, group: str) -> User:
        made = User.objects.create_user(name, password="x", person=person, is_staff=True)
        made.groups.add(Group.objects.get(name=group))
        return made

    return People(user("ada", ada, "operator"), user("bob", bob, "approver"), user("ada-two", ada, "approver"))


@pytest.fixture
def desk(committed_db: object, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """An account of ours at the simulator's OANDA; prices stand still."""
    for name in ("OANDA_API_KEY", "OANDA_ACCOUNT_ID", "OANDA_URL", "SIMULATOR_URL"):
        monkeypatch.delenv(name, raising=False)
    account = ensure_account(
        name="test-oanda",
        broker=Account.Broker.OANDA,
        environment=Account.Environment.SIMULATOR,
        external_id=simulator.account,
        currency="USD",
        endpoint=simulator.oanda_url,
    )
    simulator.post("/prices", {"instrument": EURUSD, "bid": "1.10000", "ask": "1.10000"})
    broker = broker_for(account)
    yield Desk(account, simulator, broker)
    broker.close()
