"""Lots of an account: what an execution closes and opens, as rows for `ledger_post`, by the account's method.

What always holds: closes come before what is opened; nothing is written here but the method of an account that has no
lot yet; after every booking the open lots are those of the broker's order, whatever the order of arrival: a fill that
the broker's order puts before another one closes every lot that stands at its own cost, without profit, and opens the
lots that the right order leaves, oldest first, each remembering the fill that opened its units, and since when.

What it changes of the profit of later fills of a cash instrument is `later`: booked on those fills, when they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from django.db import transaction

from trading.domain.books import OpenLot
from trading.domain.broker import Side
from trading.domain.lots import Execution, LotMethod, Step, Walk, in_order, walk
from trading.domain.lots import step as step_of
from trading.domain.money import ZERO, plain
from trading.locks import lock_account
from trading.models import Account, Application, Entry, Fill, Instrument, Lot
from trading.selectors import lot_history
from trading.selectors.lot_history import LotHistory

from . import audit
from .audit import Actor
from .errors import RuleBroken
from .ledger import Draft
from .moves import of_cost

NEW = "new"
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What a restatement adds to what a fill of a cash instrument realised, and to its rounding, in quote currency."""

    fill_id: int
    realised: Decimal
    rounding: Decimal


@dataclass(frozen=True, slots=True)
class Matched:
    """What an execution does to the lots. Money is our own number for what it closes, in the quote currency.

    `realised` and `rounding` are its own, by the broker's order; `later` is what it changes of fills after it.
    """

    lots: tuple[Row, ...]
    closes: tuple[Row, ...]
    realised: Decimal
    rounding: Decimal
    later: tuple[Change, ...] = ()
    restated: bool = False

    @property
    def profit(self) -> Decimal:
        """All that its booking realises, with what it changes of later fills: so the sum over all fills is right."""
        return self.realised + sum((change.realised for change in self.later), ZERO)


@dataclass(frozen=True, slots=True)
class Undone:
    """The lots as if a fill had never been: rows for the reversal of its entry, which closes and opens them.

    `later` is what that changes of the profit of other fills, once every entry of the fill is mirrored exactly.
    """

    lots: tuple[Row, ...]
    closes: tuple[Row, ...]
    later: tuple[Change, ...] = ()


def match(
    account: Account,
    instrument: Instrument,
    side: Side,
    quantity: Decimal,
    price: Decimal,
    *,
    sequence: int | None = None,
    replaces: Fill | None = None,
) -> Matched:
    """Match an execution with the account's lots of the instrument.

    `sequence` is the broker's (None for what people decide now); `replaces` the fill, already reversed, in whose
    place it stands in the broker's order.
    """
    named = str(replaces.pk) if replaces is not None else ""
    execution = Execution(NEW, side, quantity, price, sequence, named)
    standing = lot_history.standing(account, instrument)
    late = sequence is not None and lot_history.something_came_later(account, instrument, sequence)
    if late or replaces is not None:
        past = lot_history.history(account, instrument)
        without = _walked(account, instrument, past, past.booked)
        if _same(without.lots, standing):  # books from before this rule go on in the order of arrival
            ordered = in_order((*past.booked, execution))
            if not ordered or ordered[-1] is not execution:
                return _restated(account, instrument, past, without, standing, ordered)
    made, after = step_of(_method(account), standing, execution, multiplier=instrument.multiplier)
    return Matched(
        lots=_opened(instrument, (lot for lot in after if lot.lot_id == NEW)),
        closes=tuple(_closed(part.lot_id, part.quantity, part.close_price, part.pnl_quote) for part in made.closings),
        realised=made.realised,
        rounding=ZERO if instrument.is_margin else made.rounding,
    )


def match_without(account: Account, instrument: Instrument, fill: Fill) -> Undone:
    """What restates the instrument's lots as if a booked fill had never been. Call it before its entry is reversed.

    Raises RuleBroken for a fill from before a split or change of symbol, and where the books do not agree with their
    own history.
    """
    past = lot_history.history(account, instrument)
    name = str(fill.pk)
    if not any(each.fill == name and each.counts for each in past.booked):
        raise RuleBroken(
            f"{fill} is from before the units of {instrument.symbol} were changed, or was taken back already: its lots "
            "are in other units now. Nothing was changed; correct the position as it is now."
        )
    standing = lot_history.standing(account, instrument)
    with_it = _walked(account, instrument, past, past.booked)
    if not _same(with_it.lots, standing):
        raise RuleBroken(
            f"The open lots of {instrument.symbol} are not those that its fills give, so what is left without {fill} "
            "is not known. Nothing was changed; run `manage.py verify`."
        )
    kept = [each for each in in_order(past.booked) if each.fill != name]
    left = walk(_method(account), kept, lots=past.lots, multiplier=instrument.multiplier)
    return Undone(
        lots=_opened(instrument, left.lots),
        closes=_all_closed(standing),
        later=() if instrument.is_margin else _changes(with_it.steps, left.steps),
    )


def _changes(before: Iterable[Step], after: Iterable[Step]) -> tuple[Change, ...]:
    """What each fill realises otherwise now, without those that realise the same."""
    stood = {made.fill: made for made in before}
    made_now = [
        Change(int(made.fill), made.realised - was.realised, made.rounding - was.rounding)
        for made in after
        if (was := stood.get(made.fill)) is not None
    ]
    return tuple(change for change in made_now if change.realised or change.rounding)


def realised_instead(fill: Fill, quantity: Decimal, price: Decimal) -> Decimal:
    """What a booked fill of a cash instrument would realise with another quantity and price, for a preview."""
    past = lot_history.history(fill.account, fill.instrument)
    name = str(fill.pk)
    booked = [replace(e, quantity=quantity, price=price) if e.fill == name else e for e in past.booked]
    walked = _walked(fill.account, fill.instrument, past, booked)
    return next((made.realised for made in walked.steps if made.fill == name), ZERO)


def restating(fill: Fill, matched: Matched) -> list[Draft]:
    """The entries beside a late fill's own: what it changes of each later fill's profit, on that fill, when it was.

    So a fill's entries say what it realised by the broker's order, at any past moment too. They move cost and profit
    between ledger accounts, never cash or units.
    """
    memo = f"profit restated: {fill.external_id} came before it and was told later"
    return _restating(fill, matched.later, fill.application, str(fill.pk), memo)


def restating_without(fill: Fill, undone: Undone, application: Application) -> list[Draft]:
    """The entries beside the reversal of a fill: what its absence changes of each later fill's profit."""
    memo = f"profit restated: {fill.external_id} came before it and was taken back"
    return _restating(fill, undone.later, application, f"without:{fill.pk}", memo)


def _restating(
    fill: Fill, changes: Iterable[Change], application: Application | None, cause: str, memo: str
) -> list[Draft]:
    changes = tuple(changes)
    others = Fill.objects.select_related("account").in_bulk([change.fill_id for change in changes])
    drafts = []
    for change in changes:
        other = others[change.fill_id]
        draft = Draft(
            account=fill.account,
            key=f"{lot_history.RESTATED}{cause}:{other.pk}",
            kind=Entry.Kind.FILL,
            at=other.at,
            fill=other,
            application=application,
            memo=memo,
        )
        for moved in of_cost(fill.account.currency, change.realised, change.rounding):
            draft.move(commodity=moved.commodity, amount=moved.amount, into=moved.into, out_of=moved.out_of)
        drafts.append(draft)
    return drafts


@transaction.atomic
def choose_method(*, account: Account, method: str, actor: Actor) -> Account:
    """Let an account count its lots FIFO or at AVERAGE. Raises RuleBroken once it has a lot: a cost was counted."""
    lock_account(account.pk)
    account.refresh_from_db(fields=["lot_method"])
    chosen = LotMethod(method)
    if account.lot_method == chosen:
        return account
    if Lot.objects.filter(account=account).exists():
        raise RuleBroken(
            f"{account.name} counts its lots {account.lot_method} and has lots: with another method its past profits "
            "would be other ones. Nothing was changed; use another account for another method."
        )
    before, account.lot_method = account.lot_method, str(chosen)
    account.save(update_fields=["lot_method"])
    audit.record(
        kind="account.changed",
        actor=actor,
        account=account,
        obj=account,
        before={"lot_method": before},
        after={"lot_method": account.lot_method},
    )
    return account


def _restated(
    account: Account,
    instrument: Instrument,
    past: LotHistory,
    without: Walk,
    standing: Sequence[OpenLot],
    ordered: Sequence[Execution],
) -> Matched:
    walked = walk(_method(account), ordered, lots=past.lots, multiplier=instrument.multiplier)
    own = next(made for made in walked.steps if made.fill == NEW)
    return Matched(
        lots=_opened(instrument, walked.lots),
        closes=_all_closed(standing),
        realised=own.realised,
        rounding=ZERO if instrument.is_margin else own.rounding,
        later=() if instrument.is_margin else _changes(without.steps, walked.steps),
        restated=True,
    )


def _walked(account: Account, instrument: Instrument, past: LotHistory, booked: Iterable[Execution]) -> Walk:
    return walk(_method(account), in_order(booked), lots=past.lots, multiplier=instrument.multiplier)


def _method(account: Account) -> LotMethod:
    return LotMethod(account.lot_method)


def _same(walked: Sequence[OpenLot], rows: Sequence[OpenLot]) -> bool:
    """Whether lots that were worked out are the rows that stand: side, quantity, cost, origin and order."""
    return [(lot.side, lot.quantity, lot.price, lot.origin) for lot in walked] == [
        (lot.side, lot.quantity, lot.price, lot.origin) for lot in rows
    ]


def _opened(instrument: Instrument, lots: Iterable[OpenLot]) -> tuple[Row, ...]:
    """Rows of lots to be opened; units that an earlier fill opened keep it, and its time."""
    lots = list(lots)
    origins = Fill.objects.only("at").in_bulk({int(lot.origin) for lot in lots if lot.origin != NEW})
    rows = []
    for lot in lots:
        row = {
            "instrument_id": str(instrument.pk),
            "side": str(lot.side.sign),
            "quantity": plain(lot.quantity),
            "unit_cost": plain(lot.price),
        }
        if lot.origin != NEW:
            row |= {"origin_id": lot.origin, "opened_at": origins[int(lot.origin)].at.isoformat()}
        rows.append(row)
    return tuple(rows)


def _closed(lot_id: str, quantity: Decimal, price: Decimal, profit: Decimal) -> Row:
    return {
        "lot_id": lot_id,
        "quantity": plain(quantity),
        "unit_price": plain(price),
        "profit_quote": plain(profit),
    }


def _all_closed(standing: Sequence[OpenLot]) -> tuple[Row, ...]:
    return tuple(_closed(lot.lot_id, lot.quantity, lot.price, ZERO) for lot in standing)
