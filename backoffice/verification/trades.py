"""Trades, days and equity: every figure that people and limits go by, computed again from fills and entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from trading.domain.money import STORED_STEP, ZERO, plain, round_to_step

from .registry import Invariant, Offence, either

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

R_STEP = Decimal("0.000001")
_FILLS = """
    SELECT f.account_id, s.decision_id, s.is_entry, f.quantity, f.price, f.realised, f.financing + f.commission, f.at
    FROM trading_fill f JOIN trading_order o ON o.id = f.order_id
    LEFT JOIN trading_exitintent x ON x.id = o.exit_intent_id
    LEFT JOIN trading_brokerevent b ON b.id = f.broker_event_id
    CROSS JOIN LATERAL (SELECT coalesce(o.decision_id, x.decision_id) AS decision_id, o.tag = 'ENTRY' AS is_entry) s
    WHERE s.decision_id IS NOT NULL ORDER BY b.sequence, f.id
"""
# Units of a decision's lots that somebody else's fills closed, with their share of those fills' money.
_CLOSED_BY_OTHERS = """
    SELECT l.account_id, o.decision_id, c.quantity, c.unit_price, c.closed_at, f.realised,
           sum(c.quantity) OVER (PARTITION BY f.id), f.financing + f.commission, f.quantity
    FROM trading_lotclose c JOIN trading_fill f ON f.id = c.fill_id AND f.order_id IS NULL
    JOIN trading_entry e ON e.id = c.entry_id AND e.kind <> 'SPLIT'
    JOIN trading_lot l ON l.id = c.lot_id JOIN trading_fill lf ON lf.id = coalesce(l.origin_id, l.fill_id)
    LEFT JOIN trading_order o ON o.id = lf.order_id ORDER BY c.id
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
           t.risk_amount, t.pnl, t.fees, t.r, t.opened_at, t.closed_at, t.trading_day, t.side, t.initial_stop,
           s.side, s.stop, i.id, i.multiplier, i.is_margin, a.time_zone,
           CASE WHEN i.quote = a.currency THEN 1
                ELSE (SELECT r.value FROM trading_rate r WHERE r.base = i.quote AND r.quote = a.currency
                        AND r.at <= t.opened_at ORDER BY r.at DESC, r.id DESC LIMIT 1) END
    FROM trading_trade t JOIN trading_account a ON a.id = t.account_id
    JOIN trading_instrument i ON i.id = t.instrument_id
    JOIN trading_decision d ON d.id = t.decision_id JOIN trading_signal s ON s.id = d.signal_id
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
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    others: Decimal = ZERO
    charges: Decimal = ZERO

    def split(self, splits: list[tuple[datetime, Decimal, Decimal]], stop: Decimal) -> Decimal:
        """Go through the splits that came while it held something; the stop in the units of now."""
        for moment, before, after in splits:
            if self.entry.before(moment) > self.exit.before(moment):
                self.entry.split(moment, before, after)
                self.exit.split(moment, before, after)
                stop = round_to_step(stop * before / after, STORED_STEP)
        return stop

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
        }


def _recomputed(cursor: CursorWrapper) -> Iterator[Offence]:
    """Every trade, from its own fills; and every decision with an entry fill, whether it has its trade."""
    trips: dict[tuple[int, int], _RoundTrip] = defaultdict(_RoundTrip)
    cursor.execute(_FILLS)
    for account_id, decision_id, is_entry, quantity, price, realised, fees, at in cursor.fetchall():
        trip = trips[account_id, decision_id]
        (trip.entry if is_entry else trip.exit).add(quantity, price, at)
        trip.realised += realised
        trip.fees += fees
    cursor.execute(_CLOSED_BY_OTHERS)
    for account_id, decision_id, quantity, price, at, realised, closing, charges, size in cursor.fetchall():
        if (account_id, decision_id) in trips:
            trip, charged = trips[account_id, decision_id], charges * quantity / size
            trip.exit.add(quantity, price, at)
            trip.others += round_to_step(realised * quantity / closing + charged, STORED_STEP)
            trip.charges += round_to_step(charged, STORED_STEP)
    splits: dict[tuple[int, int], list[tuple[datetime, Decimal, Decimal]]] = defaultdict(list)
    cursor.execute(_SPLITS)
    for account_id, instrument_id, at, before, after in cursor.fetchall():
        splits[account_id, instrument_id].append((at, before, after))
    cursor.execute(_WITHOUT_RATE)
    without_rate = set(cursor.fetchall())
    cursor.execute(_TRADES)
    for row in cursor.fetchall():
        account_id, decision_id, pk, *stored = row[:15]
        side, initial_stop, signal_side, stop, instrument, multiplier, is_margin, zone, rate = row[15:]
        trip = trips.pop((account_id, decision_id), _RoundTrip())
        if not trip.entry.quantity:
            yield Offence(account_id, "trade", str(pk), f"decision {decision_id} has no entry fill on this account")
            continue
        stop = trip.split(splits[account_id, instrument], stop)
        if (side, initial_stop) != (signal_side, stop):
            yield Offence(account_id, "trade", str(pk), "side or initial stop are not those of its signal")
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


def _told(value: Any) -> str:
    return plain(value) if isinstance(value, Decimal) and value.is_finite() else str(value)


INVARIANTS = (
    Invariant(
        id="I-24",
        title="P&L and R of every trade follow from its fills",
        rule="Quantities, prices, risk, P&L, fees, R, times and trading day of a trade are those of its own fills, and "
        "of what others closed of it.",
        means="daily stops, reports and the weight of a strategy go by wrong results",
        todo="rebuild the projections; a row that differs again has a wrong fill: compare its fills with the broker's",
        looks_at="SELECT account_id FROM trading_trade",
        find=_recomputed,
    ),
    Invariant(
        id="P-02",
        title="A day's state is the sum of its closed trades",
        rule="Trades, P&L and R of each account and trading day are those of the trades that closed on it.",
        means="a daily stop may fail to stop, or stop too early",
        todo="pause the account until the projections are rebuilt",
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
        "every fill that is not of a strategy's trade has a point, so the newest says what the ledger says now, but "
        "for what trades that are still open have moved.",
        means="equity is shown wrong, and the drawdown lock compares with a peak that never was",
        todo="pause the account until the projections are rebuilt",
        looks_at="SELECT account_id FROM trading_equitypoint",
        find=either(
            """
            SELECT account_id, 'equity point' AS object, point::text AS id,
                   concat('of ', at, ' says ', trim_scale(balance), ' and ', trim_scale(equity), '; the ledger says ',
                          trim_scale(cash), ' and ', trim_scale(cash + cost)) AS problem
            FROM (SELECT account_id, at, point, balance, equity,
                         sum(amount) FILTER (WHERE NOT is_cost) OVER upto AS cash,
                         coalesce(sum(amount) FILTER (WHERE is_cost) OVER upto, 0) AS cost
                  FROM (SELECT k.account_id, e.at, p.amount, k.kind = 'MARKET' AS is_cost, NULL::bigint AS point,
                               NULL::numeric AS balance, NULL::numeric AS equity
                        FROM trading_ledgeraccount k JOIN trading_account a ON a.id = k.account_id
                        JOIN ledger_posting p ON p.ledger_account_id = k.id JOIN trading_entry e ON e.id = p.entry_id
                        WHERE k.kind IN ('CASH', 'UNSETTLED', 'MARKET') AND k.commodity_id = a.currency
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
            """
            SELECT e.account_id, 'entry', e.id::text, concat(e.kind, ' of ', e.at, ' without an equity point')
            FROM trading_entry e LEFT JOIN trading_fill f ON f.id = e.fill_id
            LEFT JOIN trading_order o ON o.id = f.order_id
            LEFT JOIN trading_equitypoint q ON q.account_id = e.account_id AND q.at = e.at
            WHERE q.id IS NULL AND e.kind NOT IN ('SETTLEMENT', 'SPLIT')
              AND (f.id IS NULL OR f.application_id IS NOT NULL OR coalesce(o.decision_id, o.exit_intent_id) IS NULL)
            """,
        ),
    ),
)
