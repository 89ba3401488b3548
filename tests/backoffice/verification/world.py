"""A world with rows behind every invariant, made on the real path alone: engine, simulator, inbox, people.

A replay of drawn bars runs on the paper book, mirrored to a real simulator, and one of a share on a paper book alone,
whose payments settle as far as its clock goes. Then other things happen at the broker:
somebody trades, units and cash appear without any history. Ada proposes, bob approves, rejects and is asked; the
broker goes away. Some cases are closed, one is applied and one waits.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from django.core.management import call_command

from reconciliation.engine.applications import sweep
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from reconciliation.services import resolutions
from tests.servers import Simulator
from trading.clock import store_broker_clock
from trading.domain.broker import Broker
from trading.engine.connections import broker_for
from trading.engine.sender import send_order
from trading.models import Account, Entry, Order, Proposal, User
from trading.selectors.books import outstanding
from trading.services import people
from trading.services.audit import Actor
from trading.services.snapshots import take_snapshots

from .bars import FIRST_DAY, SHARE_DAYS, SHARES, write_bars, write_session


class Story:
    """What happens, in order."""

    def __init__(self, simulator: Simulator, folder: Path) -> None:
        self.simulator, self.folder = simulator, folder

    def tell(self) -> None:
        """Everything. Afterwards the simulator is gone."""
        self._trade()
        self._trade_shares()
        people.seed_demo_cast(actor=Actor.system("seed", via="command"))
        self.ada, self.bob = User.objects.get(username="ada"), User.objects.get(username="bob")
        self.account = Account.objects.get(broker=Account.Broker.OANDA)
        broker = broker_for(self.account)
        try:
            self._differ(broker)
        finally:
            broker.close()
        self.simulator.stop()
        assert take_snapshots() and not take_snapshots()
        assert run_reconciliation(account=self.account, trigger=Run.Trigger.MANUAL).status == Run.Status.FAILED

    def _trade(self) -> None:
        call_command(
            "live_oanda",
            cfg=str(write_session(self.folder)),
            mode="replay",
            mirror="oanda",
            source="csv",
            csv=[f"{symbol}={path}" for symbol, path in write_bars(self.folder).items()],
        )

    def _trade_shares(self) -> None:
        """Days of a share: the payments of the first two have settled by the end, that for what is held has not."""
        call_command(
            "live_port",
            cfg=str(write_session(self.folder, SHARES)),
            mode="replay",
            source="csv",
            csv=[f"{symbol}={path}" for symbol, path in write_bars(self.folder, SHARE_DAYS).items()],
        )
        account = Account.objects.get(broker=Account.Broker.PAPER, mirrors=None)
        store_broker_clock(account=account, broker_at=FIRST_DAY + timedelta(days=2, hours=12), speed=Decimal(0))
        assert Entry.objects.filter(account=account, kind=Entry.Kind.SETTLEMENT).exists() and outstanding(account)

    def _differ(self, broker: Broker) -> None:
        """Differences at the broker, and what people make of them."""
        self._price("GBP_USD", "1.25")
        self._external("trade", instrument="GBP_USD", quantity="1000", price="1.25")
        self._external("silent_position", instrument="XAU_USD", quantity="10")
        self._external("silent_cash", currency="USD", amount="-12.34")
        self._run_twice(broker)
        self._resolve(broker, "book_fills", key="GBPUSD")
        self._resolve(broker, "adopt_position", key="XAUUSD")
        self._resolve(broker, "accept", kind="CASH_UNEXPLAINED")

        self._price("USD_JPY", "150")
        self._external("trade", instrument="USD_JPY", quantity="500", price="150")
        self._run_twice(broker)
        self._resolve(broker, "flatten", key="USDJPY")
        order = Order.objects.get(tag="FLATTEN")
        send_order(order_id=order.pk, broker=broker)
        self._run_twice(broker)

        self._external("trade", instrument="GBP_USD", quantity="200", price="1.25")
        self._run_twice(broker)
        case = self._case(key="GBPUSD")
        self._reject(self._propose(case, "book_fills"))
        self._approve(self._propose(case, "book_fills"))
        sweep(self.account)

        self._external("trade", instrument="XAU_USD", quantity="5", price="2000")
        self._run_twice(broker)
        self._propose(self._case(key="XAUUSD"), "book_fills")

    def _price(self, instrument: str, price: str) -> None:
        self.simulator.post("/prices", {"instrument": instrument, "bid": price, "ask": price})

    def _external(self, kind: str, **body: str) -> None:
        self.simulator.post(f"/accounts/{self.simulator.account}/external", {"kind": kind, **body})

    def _run_twice(self, broker: Broker) -> None:
        for _ in range(2):
            result = run_reconciliation(account=self.account, trigger=Run.Trigger.MANUAL, broker=broker)
            assert result.ok, result.error

    def _case(self, **wanted: str) -> Discrepancy:
        return Discrepancy.objects.get(account=self.account, state__in=Discrepancy.LIVE, **wanted)

    def _propose(self, case: Discrepancy, action: str) -> Proposal:
        price = Decimal("2000") if action == "adopt_position" else None
        return resolutions.propose(
            discrepancy_id=case.pk,
            action=action,
            reason="seen in the broker's own screen",
            proposer=self.ada,
            actor=Actor.of(self.ada, via="admin"),
            price=price,
        )

    def _approve(self, proposal: Proposal) -> None:
        resolutions.approve(
            proposal_id=proposal.pk,
            approver=self.bob,
            payload_sha256=proposal.payload_sha256,
            subject_version=proposal.subject_version,
            reason="checked against the statement",
            actor=Actor.of(self.bob, via="admin"),
        )

    def _reject(self, proposal: Proposal) -> None:
        resolutions.reject(
            proposal_id=proposal.pk,
            approver=self.bob,
            reason="the price is not what we saw",
            actor=Actor.of(self.bob, via="admin"),
        )

    def _resolve(self, broker: Broker, action: str, **wanted: str) -> None:
        self._approve(self._propose(self._case(**wanted), action))
        sweep(self.account)
        run_reconciliation(account=self.account, trigger=Run.Trigger.MANUAL, broker=broker)
