"""An account at a broker of shares for tests of the services: its clock stands where the test puts it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal

from tests.trading.services import making
from trading.clock import store_broker_clock
from trading.domain.broker import BrokerEvent
from trading.models import Account, Application, Entry, Order, User
from trading.selectors.instruments import broker_symbol
from trading.services import approvals
from trading.services.setup import ensure_account, ensure_policy

ZERO = Decimal(0)
# making.START: a Monday.
TRADED_ON = making.START.date()


def make_share_account(name: str = "alpaca-main", *, time_zone: str = "America/New_York") -> Account:
    """An account of shares in a simulator's world, which nothing here ever calls; its clock stands at the start."""
    account = ensure_account(
        name=name,
        broker=Account.Broker.ALPACA,
        environment=Account.Environment.SIMULATOR,
        external_id=f"SIM-{name}",
        currency="USD",
        time_zone=time_zone,
        opened_at=making.START,
        policy=ensure_policy(),
    )
    put_clock(account, making.START)
    return account


def put_clock(account: Account, moment: datetime) -> None:
    """Let the account's clock stand at a moment."""
    store_broker_clock(account=account, broker_at=moment, speed=ZERO)


def noon(day: date) -> datetime:
    """Noon in New York, roughly: the same day everywhere on the account."""
    return datetime.combine(day, time(17), UTC)


def bought(
    number: int, order: Order | None, quantity: str, price: str, *, settles_on: date | None = None, **more: str
) -> BrokerEvent:
    """The broker of shares tells of an execution (of AAPL when it is somebody else's); it names no realised profit."""
    more.setdefault("symbol", "AAPL")
    event = making.fill_of(number, order, quantity, price, **more)  # type: ignore[arg-type]
    (fill,) = event.fills
    return replace(event, fills=(replace(fill, settles_on=settles_on),))


def entry(account: Account, number: int = 1, *, quantity: str = "10", **more: str) -> Order:
    """An entry in AAPL at 100 with its stop at 95."""
    common = {"symbol": "AAPL", "entry": "100", "stop": "95", "target": "120", "quantity": quantity, **more}
    return making.make_entry(account, number, **common)  # type: ignore[arg-type]


def broker_name(order: Order) -> str:
    """What the order's broker calls its instrument."""
    return broker_symbol(order.account, order.instrument)


def approved(account: Account) -> Application:
    """The application of something that ada proposed and bob approved."""
    people = (User.objects.filter(username=name).first() or User.objects.create_user(name) for name in ("ada", "bob"))
    ada, bob = people
    proposal = approvals.propose(
        kind="test", account=account, subject_type="a test", subject_id=1, subject_version=1,
        payload={"entries": [{"entry": str(kind)} for kind in Entry.NEEDS_APPROVAL]},
        reason="because of a test", proposer=ada, actor=making.TEST,
    )  # fmt: skip
    approvals.decide(
        proposal=proposal, approver=bob, verdict="APPROVE", payload_sha256=proposal.payload_sha256,
        subject_version=1, actor=making.TEST,
    )  # fmt: skip
    return approvals.record_application(proposal=proposal, applied_by=bob, result={}, actor=making.TEST)
