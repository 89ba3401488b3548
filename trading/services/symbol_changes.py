"""Changes of symbol in the books: units move from one instrument to another, lot by lot, each with its cost.

What always holds: it happens under the application of an approved proposal only; one entry closes every lot of the old
instrument at its own cost, a second opens the same lots in the new one, oldest first, each remembering the fill that
opened its units and since when; no cash moves and nothing is realised. Trades that were open end at what their units
cost on average: their strategy, stops and exits know the old name only, so the units in the new one are nobody's until
people close them, and that is said aloud. Callers hold the account's lock.
"""

from __future__ import annotations

from decimal import Decimal

from django.db import transaction

from trading.clock import now
from trading.domain.broker import Side
from trading.domain.money import STORED_STEP, ZERO, plain, round_to_step
from trading.models import Account, Application, Entry, Fill, Instrument, LedgerAccount, Lot, RiskEvent, Trade
from trading.selectors import books
from trading.selectors.books import OpenLotRow

from . import audit, projections
from .audit import Actor
from .errors import RuleBroken
from .ledger import Draft, contract, post

Kind = LedgerAccount.Kind
Row = dict[str, str]


@transaction.atomic
def book_symbol_change(
    *,
    account: Account,
    instrument: Instrument,
    into: Instrument,
    quantity: Decimal,
    application: Application,
    actor: Actor,
) -> list[Fill]:
    """Let the `quantity` units (signed) of an instrument be units of another one. A second call changes nothing.

    Raises RuleBroken when the books hold another quantity, hold some of the new instrument already, or the two are
    not counted and paid in the same way.
    """
    named = f"application:{application.pk}:{instrument.symbol}"
    booked = list(Fill.objects.filter(account=account, external_id__startswith=f"{named}:").order_by("id"))
    if booked:
        return booked
    lots = books.open_lots(account, instrument)
    _refuse(account, instrument, into, quantity, lots)
    at, side = now(account), Side.BUY if quantity > 0 else Side.SELL
    cost = sum((lot.quantity * lot.unit_cost for lot in lots), ZERO)
    contract(instrument)
    contract(into)
    common = {
        "account": account, "application": application, "at": at, "quantity": abs(quantity),
        "price": round_to_step(cost / abs(quantity), STORED_STEP), "reason": f"now called {into.symbol}"[:60],
    }  # fmt: skip
    closing = Fill.objects.create(**common, instrument=instrument, external_id=f"{named}:before", side=side.opposite)
    opening = Fill.objects.create(**common, instrument=into, external_id=f"{named}:after", side=side)
    _post(closing, actor, lots=[], closes=[_closed(lot) for lot in lots])
    _post(opening, actor, lots=_opened(lots, into), closes=[])
    _end_trades(account, instrument, into, closing)
    for each in (instrument, into):
        projections.project_position(account, each)
    projections.project_equity(account, at)
    return [closing, opening]


def _refuse(
    account: Account, instrument: Instrument, into: Instrument, quantity: Decimal, lots: list[OpenLotRow]
) -> None:
    held = sum((lot.quantity * lot.side for lot in lots), ZERO)
    alike = all(getattr(instrument, name) == getattr(into, name) for name in ("is_margin", "quote", "multiplier"))
    if quantity == 0 or held != quantity or instrument == into or not alike:
        raise RuleBroken(
            f"The books hold {plain(held)} {instrument.symbol}: {plain(quantity)} of it cannot have become "
            f"{into.symbol}, unless both are paid and counted in the same way. Nothing was booked."
        )
    if books.open_lots(account, into):
        raise RuleBroken(
            f"The books hold {into.symbol} already, so its units and those of {instrument.symbol} would mix. Nothing "
            "was booked; resolve each of the two differences for itself."
        )


def _post(fill: Fill, actor: Actor, *, lots: list[Row], closes: list[Row]) -> None:
    draft = Draft(
        account=fill.account,
        key=f"fill:{fill.account_id}:{fill.external_id}",
        kind=Entry.Kind.SYMBOL_CHANGE,
        at=fill.at,
        fill=fill,
        application=fill.application,
        memo=f"change of symbol, {fill.reason}: {fill}",
        lots=lots,
        lot_closes=closes,
    )
    signed = fill.quantity if fill.side == Side.BUY else -fill.quantity
    draft.move(commodity=fill.instrument.symbol, amount=signed, into=Kind.POSITION, out_of=Kind.MARKET)
    entry = post(draft)
    audit.record(
        kind="fill.booked",
        actor=actor,
        account=fill.account,
        obj=fill,
        after={"entry": entry.pk, "external_id": fill.external_id},
        reason=fill.application.proposal.reason if fill.application is not None else "",
        at=fill.at,
    )


def _closed(lot: OpenLotRow) -> Row:
    return {
        "lot_id": str(lot.lot_id),
        "quantity": plain(lot.quantity),
        "unit_price": plain(lot.unit_cost),
        "profit_quote": "0",
    }


def _opened(lots: list[OpenLotRow], into: Instrument) -> list[Row]:
    """The same lots of the new instrument, each since when and by what its units were opened."""
    known = Lot.objects.in_bulk([lot.lot_id for lot in lots])
    return [
        {
            "instrument_id": str(into.pk),
            "origin_id": str(known[lot.lot_id].origin_id or known[lot.lot_id].fill_id),
            "opened_at": known[lot.lot_id].opened_at.isoformat(),
            "side": str(lot.side),
            "quantity": plain(lot.quantity),
            "unit_cost": plain(lot.unit_cost),
        }
        for lot in lots
    ]


def _end_trades(account: Account, instrument: Instrument, into: Instrument, closing: Fill) -> None:
    for trade in Trade.objects.filter(account=account, instrument=instrument, state=Trade.State.OPEN):
        decision, units = trade.decision, trade.open_quantity
        projections.project_trade(account, decision)
        RiskEvent.objects.create(
            account=account,
            decision=decision,
            at=closing.at,
            kind="TRADE_ENDED_BY_SYMBOL_CHANGE",
            reason=(
                f"{instrument.symbol} is called {into.symbol} now: the trade of {plain(units)} units ended at their "
                "cost, and no strategy, stop or exit of ours guards them any more. Close them by hand, or place a stop."
            )[:300],
            numbers={"from": instrument.symbol, "into": into.symbol, "units": plain(units)},
        )
