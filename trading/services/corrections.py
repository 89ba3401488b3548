"""Corrections: an entry is taken back by its exact mirror, once, and what is booked in its place names it.

What always holds: it happens under the application of an approved proposal that names each entry to be reversed, in one
transaction with everything that follows: the payment on the value date goes back with its fill, lots and the profit of
later fills become what they would be without it, and trades, positions, days and equity follow. A reversal is dated
like what it takes back: by when it happened it never did, by when we knew it stood until then. Orders keep their state,
which is the broker's word; how much of one has filled is what its fills in the books add up to. A reversal is never
reversed: what was taken back wrongly is booked again. Callers hold the account's lock.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from trading.domain.broker import FillData
from trading.domain.money import STORED_STEP, ZERO, plain, round_to_step
from trading.domain.orders import TERMINAL
from trading.models import (
    Account,
    Application,
    BrokerEvent,
    Decision,
    Entry,
    Fill,
    Order,
    OrderGroup,
    RiskEvent,
    Trade,
)
from trading.selectors.lot_history import RESTATED

from . import audit, booking, projections, trades
from .audit import Actor
from .errors import RuleBroken
from .ledger import Draft, post_many, reversal
from .lots import Undone, match_without, restating_without

Kind = Entry.Kind
WITHOUT_LOTS = (Kind.SETTLEMENT, Kind.REVERSAL)
OF_TWO_HALVES = (Kind.SPLIT, Kind.SYMBOL_CHANGE)


def why_not(entry: Entry) -> str:
    """Why an entry cannot be reversed, as a sentence for people; "" when it can."""
    if entry.kind == Kind.REVERSAL:
        return (
            f"Entry {entry.pk} is a reversal itself, and those stand: what entry {entry.reverses_id} had booked is "
            "booked again instead, under its own approval."
        )
    taken_back = entry.reversals.first()
    if taken_back is not None:
        return f"Entry {entry.pk} was reversed already, by entry {taken_back.pk}: that happens once."
    if entry.account.is_paper_book:
        return (
            f"{entry.account.name} is a paper book: its own history is what happened, and nothing ever reconciles the "
            "two. Replay it on a new account instead."
        )
    if entry.kind in OF_TWO_HALVES:
        return (
            f"Entry {entry.pk} is one half of a {str(entry.kind).replace('_', ' ').lower()}, and units since then are "
            "counted in new ones: it cannot be taken back alone. Resolve the difference that the next reconciliation "
            "shows instead."
        )
    if entry.kind == Kind.SETTLEMENT or entry.idempotency_key.startswith(RESTATED):
        own = Entry.objects.filter(fill=entry.fill).exclude(kind__in=WITHOUT_LOTS).order_by("id").first()
        named = f"entry {own.pk}" if own is not None else "its fill's own entry"
        return f"Entry {entry.pk} follows from a fill: reverse {named}, and it goes with it."
    return ""


def taken_back_with(entry: Entry) -> list[Entry]:
    """The entries that a reversal of this one takes back, the newest first: of a fill also its payment."""
    if entry.fill_id is None:
        return [entry]
    follows = Entry.objects.filter(fill=entry.fill_id, reversals=None).exclude(kind=Kind.REVERSAL)
    return list(follows.select_related("account", "fill__instrument", "cash_event").order_by("-id"))


def reverse(*, entry: Entry, application: Application, actor: Actor) -> Entry:
    """Take an entry back, with what follows from it, under an application that names each of them.

    Returns the reversal. Raises RuleBroken when it cannot be reversed; then nothing is changed.
    """
    refused = why_not(entry)
    if refused:
        raise RuleBroken(f"{refused} Nothing was changed.")
    undone = without_it(entry)
    drafts = [_mirror(each, application, undone if each == entry else None) for each in taken_back_with(entry)]
    if undone is not None and entry.fill is not None:
        drafts += restating_without(entry.fill, undone, application)
    posted = post_many(drafts)
    made = next(each for each in posted if each.reverses_id == entry.pk)
    _follow(entry, min(each.at for each in posted))
    audit.record(
        kind="entry.reversed",
        actor=actor,
        account=entry.account,
        obj=entry,
        after={"entry": made.pk, "reverses": entry.pk, "kind": str(entry.kind), "proposal": application.proposal_id},
        reason=application.proposal.reason,
    )
    return made


def book_fill_instead(
    *,
    account: Account,
    event: BrokerEvent,
    says: FillData,
    order: Order | None,
    application: Application,
    actor: Actor,
) -> Fill:
    """Book what the broker says now of an execution in the place of what was taken back; `order` is locked."""
    fill = booking.book_fill(account=account, event=event, fill=says, order=order, application=application, actor=actor)
    if order is not None:
        recount(order)
    return fill


def recount(order: Order) -> None:
    """What an order has filled is what its fills in the books add up to; its state stays the broker's word."""
    fills = [(f.quantity, f.price) for f in trades.standing(Fill.objects.filter(order=order))]
    filled = sum((quantity for quantity, _ in fills), ZERO)
    paid = sum((quantity * price for quantity, price in fills), ZERO)
    order.filled_quantity = filled
    order.average_price = round_to_step(paid / filled, STORED_STEP) if filled else None
    order.save(update_fields=["filled_quantity", "average_price", "updated_at"])


def without_it(entry: Entry) -> Undone | None:
    """What the lots become without an entry's fill; None where it moved no lots. Raises RuleBroken."""
    if entry.fill is None or not (entry.lots.exists() or entry.lot_closes.exists()):
        return None
    return match_without(entry.account, entry.fill.instrument, entry.fill)


def _mirror(entry: Entry, application: Application, undone: Undone | None) -> Draft:
    draft = reversal(entry, application=application, at=entry.at, memo=f"reversal of entry {entry.pk}: {entry.memo}")
    # What it is about, so that everything of a fill adds up under the fill: what it leaves to be paid is nothing.
    draft.fill, draft.cash_event = entry.fill, entry.cash_event
    draft.value_date = entry.value_date
    if undone is not None:
        draft.lots, draft.lot_closes = list(undone.lots), list(undone.closes)
    return draft


def _follow(entry: Entry, since: datetime) -> None:
    account, fill = entry.account, entry.fill
    if fill is None:
        projections.project_equity(account, since)
        return
    if fill.order is not None:
        recount(fill.order)
    own = booking.decision_of(fill)
    # What others closed may have moved on to the units of other trades.
    moved_on = projections.decisions_touched_by(fill, restated=True)
    concerned = list(dict.fromkeys([*([own] if own is not None else []), *moved_on]))
    had = set(Trade.objects.filter(account=account, decision__in=concerned).values_list("decision_id", flat=True))
    for decision, trade in zip(concerned, projections.project_trades(account, concerned, since=since), strict=True):
        if decision.pk in had and trade is None:
            _tell_unguarded(account, decision, fill)
    projections.project_position(account, fill.instrument)


def _tell_unguarded(account: Account, decision: Decision, fill: Fill) -> None:
    """A trade that never was: its stops and targets may still rest at the broker, and would open a position."""
    resting = Order.objects.filter(account=account, decision=decision).exclude(state__in=[str(s) for s in TERMINAL])
    names = ", ".join(resting.order_by("id").values_list("client_order_id", flat=True))
    if not names:
        return
    OrderGroup.objects.filter(account=account, decision=decision).update(state=OrderGroup.State.UNSAFE)
    RiskEvent.objects.create(
        account=account,
        decision=decision,
        at=fill.at,
        kind="ORDERS_WITHOUT_TRADE",
        reason=(
            f"the broker took back {fill}: the orders {names} guard units that are not held any more, and would open "
            "a position when they fill. Cancel them at the broker."
        )[:300],
        numbers={"fill": fill.external_id, "units": plain(Decimal(fill.quantity))},
    )
