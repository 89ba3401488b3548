"""The portfolio engine: bars in, decisions and orders out. Replay and live are this one path.

What always holds, for each moment at which bars close, in this order: exits at the bar's open for positions outside
all windows; the bar passes over the paper book (gap, stop before target, resting entries); mirrors follow what closed;
indicators take the bar in; then the strategies, symbols in alphabetical order, see it: first each may leave what it
holds, at the bar's close, then each that holds nothing may signal once. Strategies see closed bars only. A second run
over the same bars finds what stands and adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from trading.brokers.paper import Market, PaperBroker
from trading.domain.bars import Bar, GapKind, classify_gap, jumps
from trading.domain.broker import OrderPort
from trading.domain.instruments import BUILT_IN
from trading.domain.money import ONE, ZERO, plain
from trading.domain.orders import OrderState, Tag
from trading.domain.paper_state import OpenEntry
from trading.domain.risk_parity import DailyVolatility, shares
from trading.domain.session import SessionConfig, in_any_window, trading_day
from trading.models import Account, ConfigVersion, Decision, Order, Trade
from trading.services.decisions import MarketView, decide
from trading.services.exits import plan_exit
from trading.services.market import last_rate, store_rate
from trading.strategies.base import Held, SignalIntent, Strategy
from trading.strategies.registry import strategy_class

from .accounts import unbooked
from .excursions import Excursions
from .inflow import catch_up
from .mirror import follow
from .oco import look_after
from .seen import Counters, SymbolState
from .sender import build_request, send_order

Slot = Mapping[str, Bar]


class Portfolio:
    """One paper account, its strategies and its mirrors."""

    def __init__(
        self,
        *,
        session: SessionConfig,
        version: ConfigVersion,
        account: Account,
        symbols: Sequence[str],
        paper: PaperBroker,
        mirrors: Mapping[Account, OrderPort] | None = None,
        times: dict[int, datetime] | None = None,
    ) -> None:
        self.session, self.version, self.account, self.paper = session, version, account, paper
        self.symbols = tuple(sorted(symbols))
        self.mirrors: dict[Account, OrderPort] = dict(mirrors or {})
        self.times = times if times is not None else {}
        self.counters, self.excursions = Counters(), Excursions()
        lookback = session.portfolio.risk_parity.lookback_d
        self.states = {s: SymbolState(volatility=DailyVolatility(lookback)) for s in self.symbols}
        self.strategies: dict[tuple[str, str], Strategy] = {
            (item.name, symbol): strategy_class(item.path)(
                symbol=symbol,
                params=session.params_for(item.name, symbol),
                spec=BUILT_IN[symbol],
                session_start=session.portfolio.session_start,
                windows=item.windows,
                tz=session.portfolio.tz,
            )
            for item in session.strategies
            for symbol in self.symbols
        }
        self.windows = {item.name: item.windows for item in session.strategies}
        self.weights: dict[str, Decimal] = dict.fromkeys(self.symbols, ONE)
        self.now: datetime | None = None
        self.jumps: list[str] = []
        self.decisions: dict[str, Decision] = {
            order.client_order_id: order.decision
            for order in Order.objects.filter(account=account, tag=Tag.ENTRY).select_related("decision__signal")
            if order.decision is not None
        }
        self._weigh()

    def warm(self, slot: Slot) -> None:
        """Let strategies and indicators see bars that were decided on before; nothing is decided or booked."""
        for symbol in sorted(slot):
            bar = slot[symbol]
            if self.session.is_trading(bar.start):
                self._mind_gap(bar)
                self._take_in(bar)
                self._tell(bar, at=bar.end, mid=bar.close)
                for name in self.windows:
                    self.strategies[name, symbol].on_bar(bar)
                self._clear_holes(symbol)

    def step(self, slot: Slot) -> list[Decision]:
        """Everything that the bars which close together do; returns the decisions of this moment."""
        bars = [slot[symbol] for symbol in sorted(slot)]
        trading = [bar for bar in bars if self.session.is_trading(bar.start)]
        self.counters.bars += len(bars)
        self.counters.skipped += len(bars) - len(trading)
        if not trading:
            return []
        self._set_time(trading[0].start)
        had_position = {entry.instrument for entry in self.paper.book.open_entries}
        for bar in trading:
            self._mind_gap(bar)
            self._tell(bar, at=bar.start, mid=bar.open)
        for bar in trading:
            self._leave_outside_windows(bar.symbol, bar.start)
            self.paper.on_bar(bar, atr=self.states[bar.symbol].atr.value, rate=self._known_rate(bar.symbol))
        self._book_news()
        self._set_time(trading[0].end)
        self._follow()
        for bar in trading:
            self._take_in(bar)
            self._see_extremes(bar)
            self._tell(bar, at=bar.end, mid=bar.close)
        wishes = [(bar, self.strategies[name, bar.symbol].on_bar(bar)) for bar in trading for name in self.windows]
        left = [self._leave_by_strategy(bar) for bar in trading]
        if any(left):
            self._book_news()
            self._follow()
        made = []
        for bar, intent in wishes:
            if intent is not None and not self._holds(intent):
                made.append(self._decide(intent, bar, bar.symbol in had_position))
        for bar in trading:
            self._clear_holes(bar.symbol)
        return made

    def equity(self) -> Decimal:
        """Balance of the paper book with open profit, and the value of shares held, at the last marks."""
        book = self.paper.book
        total = book.balance
        for entry in book.open_entries:
            mark, rate = self.states[entry.instrument].mark, self.rate(entry.instrument)
            total += book.worth(entry, mid=mark if rate is not None else None, rate=rate or ONE)
        return total

    def open_pnl(self) -> Decimal | None:
        """What the open trades would make at the last marks; None when a mark or a rate is missing."""
        total = ZERO
        for entry in self.paper.book.open_entries:
            mark, rate = self.states[entry.instrument].mark, self.rate(entry.instrument)
            if mark is None or rate is None:
                return None
            multiplier = BUILT_IN[entry.instrument].multiplier
            total += (mark - entry.price) * entry.side.sign * entry.quantity * multiplier * rate
        return total

    def rate(self, symbol: str, currency: str = "") -> Decimal | None:
        """What one unit of the quote currency is worth in `currency` (the account's), from the last closes.

        None if unknown.
        """
        quote, own = BUILT_IN[symbol].quote, currency or self.account.currency
        if quote == own:
            return ONE
        for other, state in self.states.items():
            spec = BUILT_IN[other]
            if state.mark is None:
                continue
            if (spec.base, spec.quote) == (quote, own):
                return state.mark
            if (spec.base, spec.quote) == (own, quote):
                return round(ONE / state.mark, 12)
        return None

    def resume(self) -> None:
        """After a restart: orders of the paper account that were planned or being sent reach the book now.

        One that belongs to a bar which is still to be stepped waits for it: that step finds it and its price.
        """
        for order in unbooked(self.account):
            if self.now is None or order.at <= self.now:
                self._to_book(order)
        catch_up(account=self.account, broker=self.paper)
        self._follow()

    def leave(self, symbol: str, *, at: datetime, mid: Decimal) -> None:
        """Close at a price what has no window at that moment; the mirrors follow."""
        atr = self.states[symbol].atr.value
        self.paper.tell(symbol, Market(at=at, mid=mid, atr=atr, rate=self._known_rate(symbol)))
        self._leave_outside_windows(symbol, at)
        self._book_news()
        self._follow()

    def _set_time(self, moment: datetime) -> None:
        self.now = moment
        for account in (self.account, *self.mirrors):
            if account.pk in self.times:
                self.times[account.pk] = moment

    def _mind_gap(self, bar: Bar) -> None:
        state = self.states[bar.symbol]
        if state.last is None:
            return
        day_before = trading_day(state.last.start, self.account.time_zone)
        if trading_day(bar.start, self.account.time_zone) != day_before:
            state.volatility.end_day()
            self._weigh()
        windows = [window for several in self.windows.values() for window in several]
        zone, is_trading = self.account.time_zone, self.session.is_trading
        kind = classify_gap(state.last, bar, windows, tz=zone, is_trading=is_trading)
        jumped = jumps(state.last, bar)
        if kind is not None or jumped:
            state.atr.reset()
        if kind is GapKind.HOLE:
            self.counters.holes += 1
        if jumped:
            self.jumps.append(
                f"{bar.symbol} opens at {plain(bar.open)} on {bar.start:%Y-%m-%d %H:%M} after a close at "
                f"{plain(state.last.close)}: a split in unadjusted prices, or a bad number. Indicators start afresh; "
                "what was held over it ended at that open."
            )
        if kind is GapKind.HOLE or jumped:
            for name in self.windows:
                self.strategies[name, bar.symbol].reset_after_hole()
                state.in_hole.add(name)

    def _clear_holes(self, symbol: str) -> None:
        state = self.states[symbol]
        state.in_hole = {name for name in state.in_hole if not self.strategies[name, symbol].ready}

    def _take_in(self, bar: Bar) -> None:
        state = self.states[bar.symbol]
        state.atr.on_bar(bar)
        state.previous_close = state.last.close if state.last is not None else None
        state.last, state.mark = bar, bar.close
        every_window = [window for several in self.windows.values() for window in several]
        if state.atr.value is not None and in_any_window(every_window, bar.start):
            state.volatility.add(state.atr.value / BUILT_IN[bar.symbol].pip_size)

    def _see_extremes(self, bar: Bar) -> None:
        """How far the bar took the trades that were open all through it, on the paper book and on mirrors."""
        half_spread = self.session.spread_pips(bar.symbol) * BUILT_IN[bar.symbol].pip_size / 2
        for entry in self.paper.book.open_entries:
            if entry.instrument != bar.symbol or entry.filled_at > bar.start:
                continue
            decision = self.decisions[entry.client_id]
            self.excursions.see(bar, self.account, decision, entry=entry.price, half_spread=half_spread)
            for mirror in self.mirrors:
                held = Trade.objects.filter(account=mirror, decision=decision, state=Trade.State.OPEN)
                for trade in held.filter(opened_at__lte=bar.start):
                    self.excursions.see(bar, mirror, decision, entry=trade.entry_price, half_spread=half_spread)

    def _weigh(self) -> None:
        parity = self.session.portfolio.risk_parity
        if parity.enabled:
            means = {symbol: state.volatility.mean for symbol, state in self.states.items()}
            self.weights = shares(means, floor=parity.floor, cap=parity.cap)

    def _known_rate(self, symbol: str) -> Decimal:
        """The rate now, else the last one stored: a position can be left whatever prices are missing."""
        known = self.rate(symbol)
        if known is None:
            known = last_rate(BUILT_IN[symbol].quote, self.account.currency, source=self.account.name)
        return known or ONE

    def _tell(self, bar: Bar, *, at: datetime, mid: Decimal) -> None:
        atr = self.states[bar.symbol].atr.value
        self.paper.tell(bar.symbol, Market(at=at, mid=mid, atr=atr, rate=self._known_rate(bar.symbol)))

    def _leave_outside_windows(self, symbol: str, moment: datetime) -> None:
        """A position whose strategy has no window at this moment is closed at the price that the book was told."""
        for entry in self.paper.book.open_entries:
            if entry.instrument != symbol or entry.filled_at > moment:
                continue
            strategy = self.decisions[entry.client_id].signal.strategy
            if not in_any_window(self.windows.get(strategy, ()), moment):
                self._exit(entry, "TIME", "the strategy's windows are over", moment)

    def _leave_by_strategy(self, bar: Bar) -> bool:
        """Close, at the bar's close, what the strategy that holds it wants to leave; whether there was anything."""
        left = False
        for entry in self.paper.book.open_entries:
            if entry.instrument != bar.symbol or entry.filled_at > bar.end:
                continue
            signal = self.decisions[entry.client_id].signal
            strategy = self.strategies.get((signal.strategy, bar.symbol))
            reason = strategy.exit_reason(bar, Held(entry.side, entry.price, signal.at)) if strategy else ""
            if strategy is not None and reason:
                self._exit(entry, strategy.exit_type, reason, bar.end)
                left = True
        return left

    def _exit(self, entry: OpenEntry, exit_type: str, reason: str, moment: datetime) -> None:
        order = plan_exit(
            account=self.account,
            decision=self.decisions[entry.client_id],
            exit_type=exit_type,
            reason=reason,
            quantity=entry.quantity,
            at=moment,
        )
        self._to_book(order)

    def _holds(self, intent: SignalIntent) -> bool:
        """Whether the strategy that signals has a position on the symbol already: it never has two."""
        return any(
            entry.instrument == intent.symbol and self.decisions[entry.client_id].signal.strategy == intent.strategy
            for entry in self.paper.book.open_entries
        )

    def _decide(self, intent: SignalIntent, bar: Bar, had_position: bool) -> Decision:
        state, rate = self.states[bar.symbol], self.rate(bar.symbol)
        strategy = self.strategies[intent.strategy, bar.symbol]
        spec = BUILT_IN[bar.symbol]
        for currency in sorted({account.currency for account in (self.account, *self.mirrors)} - {spec.quote}):
            value = self.rate(bar.symbol, currency)
            if value is not None:
                store_rate(base=spec.quote, quote=currency, value=value, at=bar.end, source=self.account.name)
        decision = decide(
            account=self.account,
            session=self.session,
            version=self.version,
            intent=intent,
            market=MarketView(
                now=self.clock_time(bar.end),
                last_price=bar.close,
                price_at=bar.end,
                in_hole=intent.strategy in state.in_hole,
                indicators_ready=strategy.ready,
                bar_had_position=had_position,
                equity=self.equity(),
                weight=self.weights.get(bar.symbol),
                quote_rate=rate,
                previous_close=state.previous_close,
                open_pnl=self.open_pnl(),
                cash=self.paper.book.balance,
            ),
            mirrors=list(self.mirrors),
        )
        self.counters.signals += 1
        if decision.verdict != Decision.Verdict.APPROVED:
            self.counters.rejected += 1
            return decision
        self.counters.approved += 1
        entry = Order.objects.get(account=self.account, decision=decision, tag=Tag.ENTRY)
        self.decisions[entry.client_order_id] = decision
        self._to_book(entry)
        self._book_news()
        for mirror, broker in self.mirrors.items():
            for order in Order.objects.filter(
                account=mirror, decision=decision, rides_on=None, state=OrderState.PLANNED
            ):
                send_order(order_id=order.pk, broker=broker)
            look_after(mirror, broker)
        return decision

    def clock_time(self, bar_end: datetime) -> datetime:
        """The time of the decision: the bar's close in a replay; live engines override with the account's clock."""
        return bar_end

    def _to_book(self, order: Order) -> None:
        """Give an order to the paper book: through the sender, or again as it was when a replay comes by again."""
        if order.exit_intent is not None:
            entry = Order.objects.get(account=self.account, decision=order.exit_intent.decision, tag=Tag.ENTRY)
            self.paper.closes(order.client_order_id, entry.client_order_id)
        if order.state == OrderState.PLANNED:
            send_order(order_id=order.pk, broker=self.paper)
        elif order.attempt > 0:
            self.paper.submit(build_request(order))

    def _book_news(self) -> None:
        if self.paper.has_news:
            catch_up(account=self.account, broker=self.paper)

    def _follow(self) -> None:
        for mirror, broker in self.mirrors.items():
            follow(paper=self.account, mirror=mirror, broker=broker)
