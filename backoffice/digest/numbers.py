"""The figures of a digest, read from trades, fills and the ledger into frozen dataclasses. Reads only.

What always holds: P&L and R are those of the trades, and the P&L is added up a second time from the ledger's own
transfers; where the two differ, the digest says so and names the trade.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Q

from trading.domain.broker import Side
from trading.domain.digest import ExitFill, Outcome, Tally, cost_drag, tally, tally_by
from trading.domain.money import plain
from trading.domain.orders import Tag
from trading.models import Account, Fill, Trade
from trading.selectors.results import ledger_pnl
from trading.services.trades import standing

from .books import Selection, Span


@dataclass(frozen=True, slots=True)
class TradeLine:
    """A line of the trade log. Money in the account's currency, prices in the instrument's quote currency.

    `mfe_r` and `mae_r` say how far it went for and against us while it was open, in R; None where no bar was seen.
    """

    account: str
    decision_id: int
    side: str
    quantity: Decimal
    entry: Decimal
    exit: Decimal | None
    stop: Decimal
    opened_at: datetime
    closed_at: datetime
    close_reason: str
    fees: Decimal
    mfe_r: Decimal | None
    mae_r: Decimal | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """One account's share: its stretch of time, its trades in the order they closed, what they come to."""

    account: str
    mirror_of: str
    currency: str
    time_zone: str
    span: Span
    trades: tuple[TradeLine, ...]
    tally: Tally
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """All of a digest's figures. The totals are those of the accounts that decide; mirrors stand beside them."""

    deciding: tuple[AccountFigures, ...]
    mirrors: tuple[AccountFigures, ...]
    total: Tally
    by_symbol: tuple[tuple[str, Tally], ...]
    by_strategy: tuple[tuple[str, Tally], ...]

    @property
    def accounts(self) -> tuple[AccountFigures, ...]:
        """All accounts, those that decide first."""
        return (*self.deciding, *self.mirrors)

    @property
    def outcomes(self) -> list[Outcome]:
        """The trades of the accounts that decide, as they closed."""
        lines = [line.outcome for figures in self.deciding for line in figures.trades]
        return sorted(lines, key=lambda one: one.closed_at)

    @property
    def warnings(self) -> list[str]:
        """Everything that makes a figure doubtful."""
        return [warning for figures in self.accounts for warning in figures.warnings]


def figures_of(selection: Selection, spans: Iterable[Span]) -> Figures:
    """The figures of these accounts over these stretches of their time (one for each account, in any order)."""
    by_account = {span.account.pk: span for span in spans}
    deciding = tuple(_account(account, by_account[account.pk]) for account in selection.deciding)
    mirrors = tuple(_account(account, by_account[account.pk]) for account in selection.mirrors)
    outcomes = [line.outcome for figures in deciding for line in figures.trades]
    return Figures(
        deciding=deciding,
        mirrors=mirrors,
        total=tally(outcomes),
        by_symbol=tuple(tally_by(outcomes, lambda one: one.symbol)),
        by_strategy=tuple(tally_by(outcomes, lambda one: one.strategy)),
    )


def _account(account: Account, span: Span) -> AccountFigures:
    trades = _closed(account, span)
    exits = _exits(account, [trade.decision_id for trade in trades])
    lines = tuple(_line(account, trade, exits[trade.decision_id]) for trade in trades)
    parent = account.mirror_of
    return AccountFigures(
        account=account.name,
        mirror_of=parent.name if parent is not None else "",
        currency=account.currency,
        time_zone=account.time_zone,
        span=span,
        trades=lines,
        tally=tally([line.outcome for line in lines]),
        warnings=tuple(_doubts(account, trades)),
    )


def _closed(account: Account, span: Span) -> list[Trade]:
    rows = Trade.objects.filter(account=account, state=Trade.State.CLOSED)
    if span.day is not None:
        rows = rows.filter(trading_day=span.day)
    else:
        rows = rows.filter(closed_at__gt=span.since, closed_at__lte=span.until)
    return list(rows.select_related("instrument", "decision__signal").order_by("closed_at", "id"))


def _exits(account: Account, decisions: Sequence[int]) -> dict[int, list[ExitFill]]:
    """The fills of our own orders that left each decision's trade, with the level that each order lay at."""
    ours = Q(order__decision__in=decisions) | Q(order__exit_intent__decision__in=decisions)
    fills = standing(Fill.objects.filter(ours, account=account).exclude(order__tag=Tag.ENTRY))
    found: dict[int, list[ExitFill]] = defaultdict(list)
    for fill in fills.select_related("order__exit_intent").order_by("id"):
        order = fill.order
        if order is None:
            continue
        decision = order.decision_id or (order.exit_intent.decision_id if order.exit_intent else None)
        if decision is not None:
            level = order.price if order.tag in (Tag.STOP, Tag.TP1, Tag.TP2) else None
            found[decision].append(ExitFill(fill.quantity, fill.price, level))
    return found


def _line(account: Account, trade: Trade, exits: Sequence[ExitFill]) -> TradeLine:
    closed_at = trade.closed_at or trade.opened_at
    drag = cost_drag(
        side=Side(trade.side),
        intended=trade.decision.signal.entry,
        entry=trade.entry_price,
        stop=trade.initial_stop,
        exits=exits,
        fees=trade.fees,
        risk_amount=trade.risk_amount,
    )
    return TradeLine(
        account=account.name,
        decision_id=trade.decision_id,
        side=trade.side,
        quantity=trade.quantity,
        entry=trade.entry_price,
        exit=trade.exit_price,
        stop=trade.initial_stop,
        opened_at=trade.opened_at,
        closed_at=closed_at,
        close_reason=trade.close_reason,
        fees=trade.fees,
        mfe_r=trade.mfe_r,
        mae_r=trade.mae_r,
        outcome=Outcome(
            symbol=trade.instrument.symbol,
            strategy=trade.strategy,
            currency=account.currency,
            pnl=trade.pnl,
            r=trade.r if trade.risk_amount > 0 else None,
            drag=drag,
            closed_at=closed_at,
        ),
    )


def _doubts(account: Account, trades: Sequence[Trade]) -> Iterable[str]:
    """What does not add up, and whose R nobody knows."""
    booked = ledger_pnl(account, [trade.decision_id for trade in trades])
    for trade in trades:
        ledger = booked[trade.decision_id]
        if ledger != trade.pnl:
            yield (
                f"{account.name}: trade {trade.pk} says {plain(trade.pnl)} {account.currency}, the ledger "
                f"{plain(ledger)}. The ledger is right: run `manage.py verify` before going by this digest."
            )
        if trade.risk_amount <= 0:
            yield (
                f"{account.name}: trade {trade.pk} has no R, because no rate from {trade.instrument.quote} to "
                f"{account.currency} was known when it was entered."
            )
