"""The accounts that engines run on, and the paper book behind a paper account, new or as the facts say it stood."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Max, Q, QuerySet

from trading.brokers.paper import PaperBroker
from trading.domain.broker import OrderType, ProtectiveLeg, Side
from trading.domain.costs import CostModel
from trading.domain.instruments import BUILT_IN
from trading.domain.money import ZERO
from trading.domain.orders import OrderState, Tag
from trading.domain.paper import PaperBook
from trading.domain.paper_state import OpenEntry, WorkingOrder
from trading.domain.session import SessionConfig
from trading.models import Account, BrokerEvent, ConfigVersion, Order, Trade
from trading.selectors import books
from trading.services.setup import ensure_account, ensure_policy

from .sender import build_request

# The shipped policy of each market that is not the currencies'.
MARKETS = {str(Account.Broker.ALPACA): "us_swing", str(Account.Broker.KITE): "india_intraday"}


def paper_account(
    *,
    name: str,
    scope: str = "",
    opened_at: datetime | None = None,
    time_zone: str = "UTC",
    currency: str = "USD",
    policy: ConfigVersion | None = None,
) -> Account:
    """The paper account of that name, made on first use."""
    return ensure_account(
        name=name,
        broker=Account.Broker.PAPER,
        environment=Account.Environment.IN_PROCESS,
        external_id=name,
        scope=scope,
        currency=currency,
        time_zone=time_zone,
        opened_at=opened_at,
        policy=policy,
    )


def session_account(
    session: SessionConfig,
    *,
    name: str,
    scope: str = "",
    opened_at: datetime | None = None,
    policy: ConfigVersion | None = None,
) -> Account:
    """The paper account that a session runs on: in its zone and currency, under the policy of its venue's market.

    A new account gets `policy` instead where that is given.
    """
    market = MARKETS.get(session.portfolio.venue)
    return paper_account(
        name=name,
        scope=scope,
        opened_at=opened_at,
        time_zone=session.portfolio.tz,
        currency=session.currency,
        policy=policy or (ensure_policy(market) if market else None),
    )


def cost_models(session: SessionConfig, symbols: tuple[str, ...]) -> dict[str, CostModel]:
    """The cost model of each symbol, as the session file has it."""
    commission = session.portfolio.commission_per_million
    return {symbol: CostModel(BUILT_IN[symbol], session.spread_pips(symbol), commission) for symbol in symbols}


def new_book(session: SessionConfig, symbols: tuple[str, ...], *, currency: str, opened_at: datetime) -> PaperBroker:
    """A paper book that opens with the budget's equity."""
    broker = PaperBroker(PaperBook(currency=currency, costs=cost_models(session, symbols)))
    broker.deposit(session.portfolio.budget.equity, opened_at)
    return broker


def book_of(account: Account, session: SessionConfig, symbols: tuple[str, ...], *, now: datetime) -> PaperBroker:
    """The paper book of an account as the facts say it stands; a new one when it has no history."""
    last = BrokerEvent.objects.filter(account=account).aggregate(last=Max("sequence"))["last"]
    if last is None:
        return new_book(session, symbols, currency=account.currency, opened_at=now)
    resting = Order.objects.filter(account=account, rides_on=None, state=OrderState.WORKING).exclude(
        type=OrderType.MARKET
    )
    # An order that is on its way, or a market order that never filled, is not known to the book: it is given again.
    finished = Order.objects.filter(account=account).exclude(pk__in=unbooked(account).values("pk"))
    return PaperBroker(
        PaperBook.restore(
            currency=account.currency,
            costs=cost_models(session, symbols),
            balance=books.cash_balances(account).get(account.currency, ZERO),
            last_sequence=last,
            open_entries=[_entry(trade, session.interval_seconds) for trade in _open(account)],
            working_orders=[WorkingOrder(build_request(order), order.at, order.price or ZERO) for order in resting],
            known_client_ids=finished.values_list("client_order_id", flat=True),
        )
    )


def unbooked(account: Account) -> QuerySet[Order]:
    """Orders that a restarted book must be given again: planned, on their way, or market orders without a fill."""
    on_its_way = Q(state__in=[OrderState.PLANNED, OrderState.SENDING, OrderState.UNKNOWN])
    lost = Q(state=OrderState.WORKING, type=OrderType.MARKET, filled_quantity=0)
    return Order.objects.filter(on_its_way | lost, account=account, rides_on=None).order_by("id")


def _open(account: Account) -> list[Trade]:
    rows = Trade.objects.filter(account=account, state=Trade.State.OPEN).select_related("instrument", "decision")
    return list(rows.order_by("opened_at", "id"))


def _entry(trade: Trade, interval_seconds: int) -> OpenEntry:
    entry = Order.objects.get(account=trade.account, decision=trade.decision, tag=Tag.ENTRY)
    legs = {
        leg.tag: ProtectiveLeg(leg.client_order_id, leg.price)
        for leg in Order.objects.filter(rides_on=entry, state=OrderState.WORKING)
        if leg.price is not None
    }
    return OpenEntry(
        client_id=entry.client_order_id,
        instrument=trade.instrument.symbol,
        side=Side(trade.side),
        quantity=trade.open_quantity,
        price=trade.entry_price,
        # A resting entry filled somewhere inside its bar: its bracket counts from the bar after.
        filled_at=trade.opened_at + timedelta(seconds=interval_seconds if entry.type != OrderType.MARKET else 0),
        stop_loss=legs.get(Tag.STOP),
        take_profit=legs.get(Tag.TP1),
        label=trade.strategy,
    )
