"""Trades, days and equity: every figure that people and limits go by, computed again from fills, entries and marks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from trading.domain.money import STORED_STEP, ZERO, plain, round_to_step
from trading.models import Account, Fill, Instrument
from trading.selectors.lot_history import closed_by_others

from .positions import TAKEN_BACK
from .registry import Invariant, Offence, either

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

R_STEP = Decimal("0.000001")
_FILLS = f"""
    SELECT f.account_id, s.decision_id, s.is_entry, f.quantity, f.price, f.realised, f.financing + f.commission, f.at
    FROM trading_fill f JOIN trading_order o ON o.id = f.order_id
    LEFT JOIN trading_exitintent x ON x.id = o.exit_intent_id
    LEFT JOIN trading_brokerevent b ON b.id = f.broker_event_id
    CROSS JOIN LATERAL (SELECT coalesce(o.decision_id, x.decision_id) AS decision_id, o.tag = 'ENTRY' AS is_entry) s
    WHERE s.decision_id IS NOT NULL AND NOT {TAKEN_BACK}
    ORDER BY b.sequence, f.id
"""
_FOREIGN = "SELECT DISTINCT account_id, instrument_id FROM trading_fill WHERE order_id IS NULL"
# How far trades went while they were open, by what was seen then.
_MARKS = """
    SELECT account_id, split_part(purpose, ' ', 2)::bigint, at, price FROM trading_mark WHERE purpose LIKE 'EXTREME %'
"""
# What an account held of an instrument before and after each approved split.
_SPLITS = """
    SELECT c.account_id, c.instrument_id, o.at, c.quantity, o.quantity
    FROM trading_entry e JOIN trading_fill c ON c.id = e.fill_id
    JOIN trading_fill o ON o.application_id = c.application_id AND o.instrument_id = c.instrument_id
        AND o.account_id = c.account_id AND o.side <> c.side AND o.id > c.id
    WHERE e.kind = 'SPLIT' ORDER BY o.id
"""
_TRADES = """
    SELECT t.account_id, t.decision_id, t.id, t.state, t.quantity, t.open_quantity, t.entry_price, t.exit_price,
           t.risk_amount, t.pnl, t.fees, t.r, t.opened_at, t.closed_at, t.trading_day, t.mfe_r, t.mae_r,
           ROW(t.strategy, t.instrument_id, t.side) = ROW(s.strategy, s.instrument_id, s.side), t.side, t.initial_stop,
           t.target, s.stop, s.target, i.id, i.multiplier, i.is_margin, a.time_zone,
           CASE WHEN i.quote = a.currency THEN 1
                ELSE (SELECT r.value FROM trading_rate r WHERE r.base = i.quote AND r.quote = a.currency
                        AND r.at <= t.opened_at AND r.source IN (a.name, coalesce(p.name, a.name))
                      ORDER BY r.at DESC, r.id DESC LIMIT 1) END, i.base = a.currency
    FROM trading_trade t JOIN trading_account a ON a.id = t.account_id
    LEFT JOIN trading_account p ON p.id = a.mirror_of_id
    JOIN trading_instrument i ON i.id = t.instrument_id
    JOIN trading_decision d ON d.id = t.decision_id JOIN trading_signal s ON s.id = d.signal_id
"""

# Entries that are a moment of the equity curve: not a strategy's own fill, which shows when its trade closes.
_WITH_POINTS = """
    SELECT e.id, e.account_id, e.at, e.kind FROM trading_entry e LEFT JOIN trading_fill f ON f.id = e.fill_id
    LEFT JOIN trading_order o ON o.id = f.order_id
    WHERE e.kind NOT IN ('SETTLEMENT', 'SPLIT') AND e.idempotency_key NOT LIKE 'restated:%'
      AND (f.id IS NULL OR f.application_id IS NOT NULL OR coalesce(o.decision_id, o.exit_intent_id) IS NULL)
"""
# Fills that were booked although no rate was known: their trades have neither risk nor R, and people were told.
_WITHOUT_RATE = """
    SELECT DISTINCT f.account_id, o.decision_id FROM trading_riskevent r
    JOIN trading_fill f ON f.account_id = r.account_id AND f.external_id = r.numbers->>'fill'
    JOIN trading_order o ON o.id = f.order_id WHERE r.kind = 'RATE_MISSING' AND o.decision_id IS NOT NULL
"""


@dataclass(slots=True)
class _Leg:
    """One side of a round trip: what its fills add up to."""

    fills: list[tuple[datetime, Decimal, Decimal]] = field(default_factory=list)

    def add(self, quantity: Decimal, price: Decimal, at: datetime) -> None:
        self.fills.append((at, quantity, price))

    @property
    def quantity(self) -> Decimal:
        return sum((quantity for _, quantity, _ in self.fills), ZERO)

    @property
    def price(self) -> Decimal:
        paid = sum((quantity * price for _, quantity, price in self.fills), ZERO)
        return round_to_step(paid / self.quantity, STORED_STEP)

    def until(self, moment: datetime | None) -> list[Decimal]:
        """Prices up to a moment; all without one."""
        return [price for at, _, price in self.fills if moment is None or at <= moment]

    def before(self, moment: datetime) -> Decimal:
        """Units that its fills before a moment add up to."""
        return sum((quantity for at, quantity, _ in self.fills if at < moment), ZERO)

    def split(self, moment: datetime, before: Decimal, after: Decimal) -> None:
        """Put the fills before a split into the units after it."""
        self.fills = [
            (at, round_to_step(units * after / before, STORED_STEP), round_to_step(price * before / after, STORED_STEP))
            if at < moment
            else (at, units, price)
            for at, units, price in self.fills
        ]


@dataclass(slots=True)
class _RoundTrip:
    """A decision's fills on one account, and what others closed of it."""

    entry: _Leg = field(default_factory=_Leg)
    exit: _Leg = field(default_factory=_Leg)
    marks: _Leg = field(default_factory=_Leg)
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    others: Decimal = ZERO
    charges: Decimal = ZERO

    def split(self, splits: list[tuple[datetime, Decimal, Decimal]], levels: list[Decimal]) -> list[Decimal]:
        """Go through the splits that came while it held something; levels of its beginning in the units of now."""
        for moment, before, after in splits:
            if self.entry.before(moment) > self.exit.before(moment):
                for leg in (self.entry, self.exit, self.marks):
                    leg.split(moment, before, after)
                levels = [round_to_step(level * before / after, STORED_STEP) for level in levels]
        return levels

    def by_prices(self, side: str, multiplier: Decimal) -> Decimal:
        """What the closes paid more than the openings that they closed, first in, first out."""
        waiting = [[quantity, price] for _, quantity, price in self.entry.fills]
        profit = ZERO
        for _, quantity, price in sorted(self.exit.fills, key=lambda fill: fill[0]):
            left = quantity
            while left > 0 and waiting:
                units = min(left, waiting[0][0])
                profit += (price - waiting[0][1]) * units * (1 if side == "BUY" else -1) * multiplier
                left -= units
                waiting[0][0] -= units
                if not waiting[0][0]:
                    waiting.pop(0)
        return round_to_step(profit, STORED_STEP)

    def figures(
        self, side: str, stop: Decimal, multiplier: Decimal, is_margin: bool, rate: Decimal, zone: str
    ) -> dict[str, Any]:
        """What the trade's row must say."""
        price, units = self.entry.price, self.entry.quantity
        risk = abs(price - stop) * units * multiplier * rate
        made = self.realised + self.others if is_margin else self.by_prices(side, multiplier) + self.charges
        pnl = made + self.fees
        flat = self.exit.quantity >= units
        closed = max(at for at, _, _ in self.exit.fills) if flat else None
        mfe, mae = self._excursion(side, stop, closed)
        return {
            "state": "CLOSED" if flat else "OPEN",
            "quantity": units,
            "open quantity": max(units - self.exit.quantity, ZERO),
            "entry price": price,
            "exit price": self.exit.price if self.exit.quantity else None,
            "risk": round_to_step(risk, STORED_STEP),
            "P&L": pnl,
            "fees": self.fees,
            "R": round_to_step(pnl / risk, R_STEP) if risk else ZERO,
            "opened": self.entry.fills[0][0],
            "closed": closed,
            "trading day": closed.astimezone(ZoneInfo(zone)).date() if closed is not None else None,
            "MFE": mfe,
            "MAE": mae,
        }

    def _excursion(self, side: str, stop: Decimal, closed: datetime | None) -> tuple[Decimal | None, Decimal | None]:
        """The furthest prices for and against it, in R, among its marks up to the close and its exits."""
        entry, seen = self.entry.price, [*self.marks.until(closed), *self.exit.until(None)]
        if not seen or entry == stop:
            return None, None
        high, low = (max(seen) - entry) / abs(entry - stop), (min(seen) - entry) / abs(entry - stop)
        best, worst = (high, low) if side == "BUY" else (-low, -high)
        return round_to_step(max(best, ZERO), R_STEP), round_to_step(min(worst, ZERO), R_STEP)


def _recomputed(cursor: CursorWrapper) -> Iterator[Offence]:
    """Every trade, from its own fills; and every decision with an entry fill, whether it has its trade."""
    trips: dict[tuple[int, int], _RoundTrip] = defaultdict(_RoundTrip)
    cursor.execute(_FILLS)
    for account_id, decision_id, is_entry, quantity, price, realised, fees, at in cursor.fetchall():
        trip = trips[account_id, decision_id]
        (trip.entry if is_entry else trip.exit).add(quantity, price, at)
        trip.realised += realised
        trip.fees += fees
    cursor.execute(_FOREIGN)
    for account_id, instrument_id in cursor.fetchall():
        _add_others(trips, Account.objects.get(pk=account_id), Instrument.objects.get(pk=instrument_id))
    cursor.execute(_MARKS)
    for account_id, decision_id, at, price in cursor.fetchall():
        if (account_id, decision_id) in trips:
            trips[account_id, decision_id].marks.add(ZERO, price, at)
    splits: dict[tuple[int, int], list[tuple[datetime, Decimal, Decimal]]] = defaultdict(list)
    cursor.execute(_SPLITS)
    for account_id, instrument_id, at, before, after in cursor.fetchall():
        splits[account_id, instrument_id].append((at, before, after))
    cursor.execute(_WITHOUT_RATE)
    without_rate = set(cursor.fetchall())
    cursor.execute(_TRADES)
    for row in cursor.fetchall():
        account_id, decision_id, pk, *stored = row[:17]
        is_its_signals, side, *own = row[17:21]
        stop, target, instrument, multiplier, is_margin, zone, rate, is_own_base = row[21:]
        trip = trips.pop((account_id, decision_id), _RoundTrip())
        if not trip.entry.quantity:
            yield Offence(account_id, "trade", str(pk), f"decision {decision_id} has no entry fill on this account")
            continue
        levels = trip.split(splits[account_id, instrument], [stop] if target is None else [stop, target])
        stop = levels[0]
        if not is_its_signals or own != [*levels, None][:2]:
            told = "strategy, instrument, side, initial stop or target are not those of its signal"
            yield Offence(account_id, "trade", str(pk), told)
        if rate is None and is_own_base and (account_id, decision_id) not in without_rate:
            rate = round_to_step(1 / trip.entry.fills[0][2], STORED_STEP)  # the first fill's own price says it
        if rate is None and (account_id, decision_id) not in without_rate:
            yield Offence(account_id, "trade", str(pk), "no rate is stored for its risk, and nobody was told")
            continue
        figures = trip.figures(side, stop, multiplier, is_margin, Decimal(rate or 0), zone)
        wrong = [
            f"{name} {_told(has)}, its fills give {_told(wanted)}"
            for (name, wanted), has in zip(figures.items(), stored, strict=True)
            if has != wanted
        ]
        if wrong:
            yield Offence(account_id, "trade", str(pk), "; ".join(wrong))
    for (account_id, decision_id), trip in trips.items():
        if trip.entry.quantity:
            yield Offence(account_id, "decision", str(decision_id), "has entry fills and no trade")


def _add_others(trips: dict[tuple[int, int], _RoundTrip], account: Account, instrument: Instrument) -> None:
    """What fills without an order of ours closed of the trades in an instrument, with their share of the money."""
    closes = closed_by_others(account, instrument)
    opened = Fill.objects.filter(pk__in=[close.opened_by for close in closes], order__decision__isnull=False)
    decisions = dict(opened.values_list("pk", "order__decision_id"))
    for close in closes:
        trip = trips.get((account.pk, decisions.get(close.opened_by, 0)))
        if trip is not None:
            fill = close.fill
            charged = (fill.financing + fill.commission) * close.quantity / fill.quantity
            trip.exit.add(close.quantity, close.price, close.at)
            trip.others += round_to_step(fill.realised * close.quantity / close.closing + charged, STORED_STEP)
            trip.charges += round_to_step(charged, STORED_STEP)


def _told(value: Any) -> str:
    return plain(value) if isinstance(value, Decimal) and value.is_finite() else str(value)


INVARIANTS = (
    Invariant(
        id="I-24",
        title="P&L and R of every trade follow from its fills",
        rule="Quantities, prices, risk, P&L, fees, R, times and trading day of a trade are those of its own fills, and "
        "of what others closed of it; how far it went either way is what its marks and exits say.",
        means="daily stops, reports and the weight of a strategy go by wrong results",
        todo="run `manage.py rebuild`; a row that differs again has a wrong fill: compare its fills with the broker's",
        looks_at="SELECT account_id FROM trading_trade",
        find=_recomputed,
    ),
    Invariant(
        id="P-02",
        title="A day's state is the sum of its closed trades",
        rule="Trades, P&L and R of each account and trading day are those of the trades that closed on it.",
        means="a daily stop may fail to stop, or stop too early",
        todo="pause the account until `manage.py rebuild` has made it again from the facts",
        looks_at="SELECT account_id FROM trading_daystate",
        find="""
            SELECT account_id, 'day' AS object, trading_day::text AS id,
                   concat('says ', coalesce(d.trades::text, 'nothing'), ' trades, P&L ', trim_scale(d.pnl), ', R ',
                          trim_scale(d.r), '; its trades say ', coalesce(t.trades, 0), ', ',
                          trim_scale(coalesce(t.pnl, 0)), ', ', trim_scale(coalesce(t.r, 0))) AS problem
            FROM trading_daystate d
            FULL JOIN (SELECT account_id, trading_day, count(*) AS trades, sum(pnl) AS pnl, sum(r) AS r
                       FROM trading_trade WHERE state = 'CLOSED' GROUP BY 1, 2) t USING (account_id, trading_day)
            WHERE (d.trades, d.pnl, d.r) IS DISTINCT FROM (coalesce(t.trades, 0), coalesce(t.pnl, 0), coalesce(t.r, 0))
        """,
    ),
    Invariant(
        id="P-03",
        title="Equity points say what the ledger said",
        rule="The balance of each equity point is the ledger's trade-date cash from entries effective up to that "
        "moment, its equity that with what shares held then cost. Every close of a trade, every movement of cash and "
        "every fill that is not of a strategy's trade has a point, and no other moment, so the newest says what the "
        "ledger says now, but for what trades that are still open have moved.",
        means="equity is shown wrong, and the drawdown lock compares with a peak that never was",
        todo="pause the account until `manage.py rebuild` has made it again from the facts",
        looks_at="SELECT account_id FROM trading_equitypoint",
        find=either(
            """
            SELECT account_id, 'equity point' AS object, point::text AS id,
                   concat('of ', at, ' says ', trim_scale(balance), ' and ', trim_scale(equity), '; the ledger says ',
                          trim_scale(cash), ' and ', trim_scale(cash + cost)) AS problem
            FROM (SELECT account_id, at, point, balance, equity,
                         sum(amount) FILTER (WHERE NOT is_cost) OVER upto AS cash,
                         coalesce(sum(amount) FILTER (WHERE is_cost) OVER upto, 0) AS cost
                  FROM (SELECT k.account_id, e.at, p.amount, k.kind IN ('MARKET', 'TRADING') AS is_cost,
                               NULL::bigint AS point, NULL::numeric AS balance, NULL::numeric AS equity
                        FROM trading_ledgeraccount k JOIN trading_account a ON a.id = k.account_id
                        JOIN ledger_posting p ON p.ledger_account_id = k.id JOIN trading_entry e ON e.id = p.entry_id
                        WHERE k.kind IN ('CASH', 'UNSETTLED', 'MARKET', 'TRADING') AND k.commodity_id = a.currency
                        UNION ALL
                        SELECT account_id, at, 0, false, id, balance, equity FROM trading_equitypoint) moves
                  WINDOW upto AS (PARTITION BY account_id ORDER BY at)) running
            WHERE point IS NOT NULL AND (balance <> cash OR equity <> cash + cost)
            """,
            """
            SELECT t.account_id, 'trade', t.id::text, concat('closed at ', t.closed_at, ' without an equity point')
            FROM trading_trade t LEFT JOIN trading_equitypoint q ON q.account_id = t.account_id AND q.at = t.closed_at
            WHERE t.state = 'CLOSED' AND q.id IS NULL
            """,
            f"""
            SELECT e.account_id, 'entry', e.id::text, concat(e.kind, ' of ', e.at, ' without an equity point')
            FROM ({_WITH_POINTS}) e LEFT JOIN trading_equitypoint q ON q.account_id = e.account_id AND q.at = e.at
            WHERE q.id IS NULL
            """,
            f"""
            SELECT q.account_id, 'equity point', q.id::text, concat('of ', q.at, ' is of nothing that has one')
            FROM trading_equitypoint q
            LEFT JOIN trading_trade t ON t.account_id = q.account_id AND t.closed_at = q.at
            LEFT JOIN ({_WITH_POINTS}) e ON e.account_id = q.account_id AND e.at = q.at
            WHERE t.id IS NULL AND e.id IS NULL
            """,
        ),
    ),
)
