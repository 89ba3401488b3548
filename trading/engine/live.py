"""Live: closed bars from a broker's candles through the same engine as a replay, under the account's lease.

What always holds: one engine per account at a time; bars are stored before they are acted on; each moment is acted on
once (the cursor moves after it); after a restart the engine is built again from the facts: strategies see the stored
bars, the paper book stands as the ledger says. Live never falls back to a replay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trading.clock import now, store_broker_clock
from trading.domain.bars import Bar as DomainBar
from trading.domain.broker import Broker, OrderPort
from trading.domain.session import SessionConfig, in_any_window
from trading.feeds.broker_candles import BrokerCandles
from trading.models import Account, Bar, Instrument, Trade
from trading.selectors.instruments import broker_symbol
from trading.services import cursors, leases
from trading.services.market import store_bars
from trading.services.setup import ensure_session

from .accounts import book_of
from .connections import broker_for
from .inflow import holder
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
    source = f"candles:{setup.feed_account.name}"
    _fetch(setup, broker, source, broker_now)
    done = _cursor(setup.account)
    overdue = _outside_all_windows(setup, broker_now)
    if done is not None and status is None and not overdue and not _anything_new(setup, source, done):
        return 0
    slots = _slots(setup, source, since=broker_now - timedelta(days=_days(setup) + 1))
    fresh = [slot for slot in slots if done is None or _start(slot) > done]
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


def _fetch(setup: LiveSetup, broker: Broker, source: str, broker_now: datetime) -> None:
    instruments = {row.symbol: row for row in Instrument.objects.filter(symbol__in=setup.session.symbols)}
    names = {symbol: broker_symbol(setup.feed_account, row) for symbol, row in instruments.items()}
    feed = BrokerCandles(broker, names)
    interval = setup.session.interval_seconds
    # One reading of the clock bounds all symbols, so that a bar cannot be seen for one and missed for another.
    boundary = datetime.fromtimestamp(int(broker_now.timestamp()) // interval * interval, UTC)
    oldest = boundary - timedelta(days=_days(setup))
    for symbol, instrument in instruments.items():
        last = (
            Bar.objects.filter(source=source, instrument=instrument, interval_seconds=setup.session.interval_seconds)
            .order_by("-start")
            .values_list("start", flat=True)
            .first()
        )
        since = max(oldest, last + timedelta(seconds=setup.session.interval_seconds)) if last else oldest
        if since < boundary:
            store_bars(source=source, bars=feed.closed_bars(symbol, since=since, until=boundary))


def _days(setup: LiveSetup) -> int:
    """How many days of bars the engine looks back on: its warm-up, and the lookback of its weights."""
    portfolio = setup.session.portfolio
    return max(1, portfolio.warmup_days, portfolio.risk_parity.lookback_d if portfolio.risk_parity.enabled else 0)


def _anything_new(setup: LiveSetup, source: str, done: datetime) -> bool:
    return Bar.objects.filter(source=source, start__gt=done, interval_seconds=setup.session.interval_seconds).exists()


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


def _slots(setup: LiveSetup, source: str, *, since: datetime) -> list[Slot]:
    rows = (
        Bar.objects.filter(
            source=source,
            start__gte=since,
            interval_seconds=setup.session.interval_seconds,
            instrument__symbol__in=setup.session.symbols,
        )
        .select_related("instrument")
        .order_by("start", "instrument__symbol")
    )
    slots: dict[datetime, dict[str, DomainBar]] = {}
    for row in rows:
        symbol = row.instrument.symbol
        slots.setdefault(row.start, {})[symbol] = DomainBar(
            symbol, row.start, row.interval_seconds, row.open, row.high, row.low, row.close, row.volume
        )
    return [slots[start] for start in sorted(slots)]


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
