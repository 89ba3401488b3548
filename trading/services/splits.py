"""Splits in the books: units and cost per unit of every lot change, what they cost together does not.

What always holds: it happens under the application of an approved proposal only; one entry closes every lot of the
instrument at its own cost, a second opens them scaled, oldest first, each remembering the fill that opened its units;
no cash moves and nothing is realised (what rounding the new costs leaves over is booked as that); trades that were
open go on in the new units, and their groups say UNSAFE, because stops and targets at the broker may still be those of
before. Callers hold the account's lock.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from trading.clock import now
from trading.domain.books import OpenLot
from trading.domain.broker import Side
from trading.domain.lots import cost_held
from trading.domain.money import STORED_STEP, ZERO, plain, round_to_step
from trading.models import (
    Account,
    Application,
    Entry,
    Fill,
    Instrument,
    LedgerAccount,
    OrderGroup,
    RiskEvent,
    Trade,
)
from trading.selectors import books
from trading.selectors.books import OpenLotRow

from . import audit, projections
from .audit import Actor
from .errors import RuleBroken
from .ledger import Draft, contract, post
from .moves import of_cost

Kind = LedgerAccount.Kind


@transaction.atomic
def book_split(
    *,
    account: Account,
    instrument: Instrument,
    before: Decimal,
    after: Decimal,
    application: Application,
    actor: Actor,
) -> list[Fill]:
    """Let the `before` units that the books hold (signed) become `after`. A second call changes nothing.

    Raises RuleBroken when the books hold another quantity, or the sides differ.
    """
    named = f"application:{application.pk}:{instrument.symbol}"
    booked = list(Fill.objects.filter(account=account, external_id__startswith=f"{named}:").order_by("id"))
    if booked:
        return booked
    lots = books.open_lots(account, instrument)
    held = sum((lot.quantity * lot.side for lot in lots), ZERO)
    if held != before or before * after <= 0:
        raise RuleBroken(
            f"The books hold {plain(held)} {instrument.symbol}; {plain(before)} that became {plain(after)} are no "
            "split of that. Nothing was booked."
        )
    at, side = now(account), Side.BUY if held > 0 else Side.SELL
    cost = sum((lot.quantity * lot.unit_cost for lot in lots), ZERO)
    contract(instrument)
    common = {"account": account, "instrument": instrument, "application": application, "at": at}
    told = f"{plain(abs(before))} became {plain(abs(after))}"
    closing = Fill.objects.create(
        **common, external_id=f"{named}:before", side=side.opposite, quantity=abs(before),
        price=round_to_step(cost / abs(before), STORED_STEP), reason=told[:60],
    )  # fmt: skip
    opening = Fill.objects.create(
        **common, external_id=f"{named}:after", side=side, quantity=abs(after),
        price=round_to_step(cost / abs(after), STORED_STEP), reason=told[:60],
    )  # fmt: skip
    made = _scaled(lots, abs(after))
    rounding = ZERO
    if not instrument.is_margin:
        rounding = _cost(lots, instrument.multiplier) - _cost(made, instrument.multiplier)
    _post(closing, actor, lots=[], closes=[_closed(lot) for lot in lots])
    _post(opening, actor, lots=[_opened(lot, instrument) for lot in made], closes=[], rounding=rounding)
    _project(account, instrument, at)
    return [closing, opening]


def _post(
    fill: Fill, actor: Actor, *, lots: list[dict[str, str]], closes: list[dict[str, str]], rounding: Decimal = ZERO
) -> None:
    draft = Draft(
        account=fill.account,
        key=f"fill:{fill.account_id}:{fill.external_id}",
        kind=Entry.Kind.SPLIT,
        at=fill.at,
        fill=fill,
        application=fill.application,
        memo=f"split: {fill}",
        lots=lots,
        lot_closes=closes,
    )
    signed = fill.quantity if fill.side == Side.BUY else -fill.quantity
    draft.move(commodity=fill.instrument.symbol, amount=signed, into=Kind.POSITION, out_of=Kind.MARKET)
    for moved in of_cost(fill.account.currency, ZERO, rounding):
        draft.move(commodity=moved.commodity, amount=moved.amount, into=moved.into, out_of=moved.out_of)
    entry = post(draft)
    audit.record(
        kind="fill.booked",
        actor=actor,
        account=fill.account,
        obj=fill,
        after={"entry": entry.pk, "split": fill.reason, "external_id": fill.external_id},
        reason=fill.application.proposal.reason if fill.application is not None else "",
        at=fill.at,
    )


def _closed(lot: OpenLotRow) -> dict[str, str]:
    return {
        "lot_id": str(lot.lot_id),
        "quantity": plain(lot.quantity),
        "unit_price": plain(lot.unit_cost),
        "profit_quote": "0",
    }


def _opened(lot: OpenLotRow, instrument: Instrument) -> dict[str, str]:
    return {
        "instrument_id": str(instrument.pk),
        "origin_id": str(lot.origin_id),
        "opened_at": lot.opened_at.isoformat(),
        "side": str(lot.side),
        "quantity": plain(lot.quantity),
        "unit_cost": plain(lot.unit_cost),
    }


def _scaled(lots: list[OpenLotRow], after: Decimal) -> list[OpenLotRow]:
    """The lots in new units; the last one takes what rounding leaves."""
    before, left = sum((lot.quantity for lot in lots), ZERO), after
    made = []
    for lot in lots:
        quantity = left if lot is lots[-1] else round_to_step(lot.quantity * after / before, STORED_STEP)
        left -= quantity
        unit_cost = round_to_step(lot.unit_cost * lot.quantity / quantity, STORED_STEP)
        made.append(replace(lot, quantity=quantity, unit_cost=unit_cost))
    return made


def _cost(lots: list[OpenLotRow], multiplier: Decimal) -> Decimal:
    return cost_held(
        (OpenLot("", Side.BUY if lot.side > 0 else Side.SELL, lot.quantity, lot.unit_cost) for lot in lots),
        multiplier=multiplier,
    )


def _project(account: Account, instrument: Instrument, at: datetime) -> None:
    for trade in Trade.objects.filter(account=account, instrument=instrument, state=Trade.State.OPEN):
        projections.project_trade(account, trade.decision)
        OrderGroup.objects.filter(account=account, decision=trade.decision).update(state=OrderGroup.State.UNSAFE)
        RiskEvent.objects.create(
            account=account,
            decision=trade.decision,
            at=at,
            kind="PROTECTION_AFTER_SPLIT",
            reason=(
                f"{instrument.symbol} was split: stops and targets of this trade may be gone at the broker, or still "
                "be for the old units and prices. Place them anew there, or close the position."
            ),
            numbers={"instrument": instrument.symbol},
        )
    projections.project_position(account, instrument)
