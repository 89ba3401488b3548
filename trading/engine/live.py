"""Live: closed bars of a broker through the same engine as a replay, under the account's lease.

What always holds: one engine per account at a time; bars are stored before they are acted on; each moment is acted on
once (the cursor moves after it); after a restart the engine is built again from the facts: strategies see the stored
bars, the paper book stands as the ledger says. Live never falls back to a replay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from trading.clock import now, store_broker_clock
from trading.domain.broker import Broker, OrderPort
from trading.domain.session import SessionConfig, in_any_window
from trading.domain.tick_bars import slot_of
from trading.models import Account, Instrument, Trade
from trading.selectors.instruments import broker_symbol
from trading.services import cursors, leases
from trading.services.setup import ensure_session

from .accounts import book_of
from .connections import broker_for
from .inflow import holder
from .live_bars import LiveBars
from .portfolio import Portfolio, Slot
from .status import RunInfo, live_port

CURSOR = "engine"
LEASE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class LiveSetup:
    """A paper account that trades live on the bars of a broker's account, which may also be its mirror."""

    session: SessionConfig
    account: Account
    feed_account: Account
    mirrored: bool = True


class LivePortfolio(Portfolio):
    """The engine with the account's clock as the time of a decision, so that late bars do not enter."""

    def clock_time(self, bar_end: datetime) -> datetime:
        """The account's time now."""
        return now(self.account)


def evaluate_due(
    setup: LiveSetup, *, status: Callable[[dict[str, Any]], None] | None = None, info: RunInfo | None = None
) -> int:
    """Act on every bar that has closed since the last one acted on; returns how many moments there were.

    Raises BrokerUnreachable when the feed does not answer. Returns 0 when another process holds the account's engine.
    """
    key = f"engine:{setup.account.pk}"
    token = leases.acquire(key=key, holder=holder(), seconds=LEASE_SECONDS)
    if token is None:
        return 0
    try:
        broker = broker_for(setup.feed_account)
        try:
            return _evaluate(setup, broker, key, token, status, info)
        finally:
            broker.close()
    finally:
        leases.release(key=key, token=token)


def _evaluate(
    setup: LiveSetup,
    broker: Broker,
    key: str,
    token: int,
    status: Callable[[dict[str, Any]], None] | None,
    info: RunInfo | None,
) -> int:
    broker_now = _read_clock(setup, broker)
    since = slot_of(broker_now, setup.session.interval_seconds) - timedelta(days=_days(setup))
    bars = LiveBars(
        account=setup.feed_account,
        broker=broker,
        symbols=setup.session.symbols,
        interval_seconds=setup.session.interval_seconds,
        at=broker_now,
        tz=setup.session.portfolio.tz,
    )
    settled = bars.fetch(oldest=since)
    done = _cursor(setup.account)
    ripe = bars.ripe(after=done or since - timedelta(days=1), settled=settled)
    overdue = _outside_all_windows(setup, broker_now)
    if done is not None and status is None and not overdue and not ripe:
        return 0
    slots = bars.slots(since=since - timedelta(days=1))
    fresh = [slot for slot in slots if _start(slot) in ripe]
    if done is None and fresh:
        # The first evaluation ever only warms up: what closed before the engine began is history.
        cursors.put(account=setup.account, name=CURSOR, value=_start(fresh[-1]).isoformat())
        done, fresh = _start(fresh[-1]), []
    if not fresh and status is None and not overdue:
        return 0
    engine = _build(setup, broker, slots, done, broker_now)
    engine.resume()
    for slot in fresh:
        if not leases.renew(key=key, token=token, seconds=LEASE_SECONDS):
            break
        engine.step(slot)
        cursors.put(account=setup.account, name=CURSOR, value=_start(slot).isoformat())
    if overdue:
        _leave_now(setup, engine, broker)
    if status is not None and info is not None:
        status(live_port(engine, info))
    return len(fresh)


def _read_clock(setup: LiveSetup, broker: Broker) -> datetime:
    at = broker.now()
    for account in (setup.feed_account, setup.account):
        if account.environment in (Account.Environment.SIMULATOR, Account.Environment.IN_PROCESS):
            store_broker_clock(account=account, broker_at=at)
    return at


def _days(setup: LiveSetup) -> int:
    """How many days of bars the engine looks back on: its warm-up, and the lookback of its weights."""
    portfolio = setup.session.portfolio
    return max(1, portfolio.warmup_days, portfolio.risk_parity.lookback_d if portfolio.risk_parity.enabled else 0)


def _outside_all_windows(setup: LiveSetup, moment: datetime) -> bool:
    """Whether a position is open whose strategy has no window now: the timer at the window's end."""
    windows = {item.name: item.windows for item in setup.session.strategies}
    open_trades = Trade.objects.filter(account=setup.account, state=Trade.State.OPEN)
    return any(not in_any_window(windows.get(trade.strategy, ()), moment) for trade in open_trades)


def _leave_now(setup: LiveSetup, engine: LivePortfolio, broker: Broker) -> None:
    """Leave what has no window any more at the present price, without waiting for the next bar."""
    symbols = {entry.instrument for entry in engine.paper.book.open_entries}
    rows = {row.symbol: row for row in Instrument.objects.filter(symbol__in=symbols)}
    names = {broker_symbol(setup.feed_account, row): symbol for symbol, row in rows.items()}
    for price in broker.prices(sorted(names)):
        engine.leave(names[price.instrument], at=price.at, mid=(price.bid + price.ask) / 2)


def _build(
    setup: LiveSetup, broker: Broker, slots: list[Slot], done: datetime | None, broker_now: datetime
) -> LivePortfolio:
    mirrors: dict[Account, OrderPort] = {setup.feed_account: broker} if setup.mirrored else {}
    symbols = tuple(sorted(setup.session.symbols))
    engine = LivePortfolio(
        session=setup.session,
        version=ensure_session(setup.session),
        account=setup.account,
        symbols=symbols,
        paper=book_of(setup.account, setup.session, symbols, now=broker_now),
        mirrors=mirrors,
    )
    for slot in slots:
        if done is not None and _start(slot) <= done:
            engine.warm(slot)
            engine.now = next(iter(slot.values())).end
    return engine


def _start(slot: Slot) -> datetime:
    return next(iter(slot.values())).start


def _cursor(account: Account) -> datetime | None:
    value = cursors.get(account, CURSOR)
    return datetime.fromisoformat(value) if value else None
