"""What the trading database keeps, one aggregate a file."""

from .accounts import Account, AccountClock
from .approvals import Application, Approval, Proposal
from .audit import AuditEvent
from .chain import Anchor, ChainBlock, ChainHead
from .config import ConfigVersion
from .control import Cursor, Heartbeat, Lease, Notification, Restriction, RiskEvent, TaskAttempt
from .fills import BrokerEvent, CashEvent, Fill
from .instruments import Instrument, InstrumentAlias
from .ledger import BalanceSnapshot, ClosedDay, Commodity, Entry, LedgerAccount, Lot, LotClose, Transfer
from .market import Bar, Mark, Rate
from .orders import BrokerMessage, Order, OrderAlias, OrderEvent, OrderGroup
from .people import AccountGrant, Person, User
from .positions import DayState, EquityPoint, Position, Trade
from .signals import Decision, ExitIntent, Signal

__all__ = [
    "Account",
    "AccountClock",
    "AccountGrant",
    "Anchor",
    "Application",
    "Approval",
    "AuditEvent",
    "BalanceSnapshot",
    "Bar",
    "BrokerEvent",
    "BrokerMessage",
    "CashEvent",
    "ChainBlock",
    "ChainHead",
    "ClosedDay",
    "Commodity",
    "ConfigVersion",
    "Cursor",
    "DayState",
    "Decision",
    "Entry",
    "EquityPoint",
    "ExitIntent",
    "Fill",
    "Heartbeat",
    "Instrument",
    "InstrumentAlias",
    "Lease",
    "LedgerAccount",
    "Lot",
    "LotClose",
    "Mark",
    "Notification",
    "Order",
    "OrderAlias",
    "OrderEvent",
    "OrderGroup",
    "Person",
    "Position",
    "Proposal",
    "Rate",
    "Restriction",
    "RiskEvent",
    "Signal",
    "TaskAttempt",
    "Trade",
    "Transfer",
    "User",
]
