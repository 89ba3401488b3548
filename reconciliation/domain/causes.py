"""Why we think a difference is there, as a sentence a person understands.

What always holds here: numbers are written plainly and signed as people say them (BUY or SELL with units); a sentence
says what is known and from where, and never more than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from reconciliation.domain.kinds import Kind
from reconciliation.domain.snapshots import ChangedBody, CorporateEvent
from trading.domain.broker import CashData, FillData
from trading.domain.money import plain


def held(quantity: Decimal) -> str:
    """`long 1000`, `short 500` or `nothing`."""
    if quantity == 0:
        return "nothing"
    return f"{'long' if quantity > 0 else 'short'} {plain(abs(quantity))}"


def fills_in_words(fills: Sequence[FillData]) -> str:
    """`1 fill of EUR_USD BUY 1000 at 1.1`, or several by their orders, the first three of them."""
    orders: dict[tuple[str, str, str], list[FillData]] = {}
    for fill in fills:
        orders.setdefault((fill.broker_order_id, fill.instrument, fill.side), []).append(fill)
    told = [_one_order(parts) for parts in list(orders.values())[:3]]
    more = f" and {len(orders) - 3} more orders" if len(orders) > 4 else " and 1 more order" if len(orders) == 4 else ""
    return f"{', '.join(told)}{more}"


def _one_order(fills: Sequence[FillData]) -> str:
    """`3 fills of order 6 (EUR_USD BUY 3000 at 1.1 to 1.2)`."""
    first, units = fills[0], plain(sum((fill.quantity for fill in fills), Decimal(0)))
    low, high = (plain(edge(fill.price for fill in fills)) for edge in (min, max))
    terms = f"{first.instrument} {first.side} {units} at {low if low == high else f'{low} to {high}'}"
    if len(fills) == 1:
        return f"1 fill of {terms}"
    return (
        f"{len(fills)} fills of order {first.broker_order_id} ({terms})"
        if first.broker_order_id
        else (f"{len(fills)} fills of {terms}")
    )


def position_cause(
    kind: Kind, symbol: str, *, books: Decimal, broker: Decimal | None, fills: Sequence[FillData], unexplained: Decimal
) -> str:
    """Why a position differs. `fills` are somebody else's fills that our books lack."""
    are = "are" if len(fills) > 1 else "is"
    whose = f"the {'orders were' if len({fill.broker_order_id for fill in fills}) > 1 else 'order was'} not ours."
    if any(fill.margin_closeout for fill in fills):
        whose = "the broker closed it by its own margin close-out: too little margin was left."
    history = f"{fills_in_words(fills)} {are} in the broker's history and not in our books; {whose}"
    if kind is Kind.MISSING_FILL and (broker is None or unexplained == 0):
        tail = " Together they leave the position as it is, but they moved cash." if broker is not None else ""
        return f"{history}{tail}"
    if kind is Kind.MISSING_FILL and unexplained != 0:
        return (
            f"Broker and books both hold {held(books)} of {symbol}, although {fills_in_words(fills)} {are} in the "
            "broker's history and not in our books: our books contain something that these fills should replace. "
            "Booked, they leave that something as a difference of its own."
        )
    shape = f"The broker holds {held(broker or Decimal(0))} of {symbol}, our books hold {held(books)}."
    if fills and unexplained == 0:
        return f"{history} {shape}"
    if fills:
        return f"{history} {shape} That leaves {plain(unexplained)} units without any fill that explains them."
    return f"{shape} The broker's history has no fill that explains it."


def estimated_cause(symbol: str) -> str:
    """What taking units over means whose cost the broker does not name."""
    return (
        f" The broker does not say what its {symbol} cost: taken over, they would stand in our books at the market's "
        "price, which is an estimate."
    )


def corporate_cause(told: Sequence[CorporateEvent]) -> str:
    """What the history says happened to the shares themselves, beside the cause of a position that differs."""
    named = [
        f"a {event.word} of {event.instrument} on {event.at.date()}"
        f"{f', {plain(event.units)} units' if event.units is not None else ''} (its event {event.external_id})"
        for event in told[-3:]
    ]
    return (
        f" The broker's history has {' and '.join(named)}: units that change so are no trade. Nothing is booked for it "
        "by itself; decide by the broker's notice what our lots became, and what they cost."
    )


def both_ways_cause(symbol: str, *, broker: tuple[Decimal, Decimal], books: tuple[Decimal, Decimal]) -> str:
    """An instrument that is held long and short at once, and otherwise than in our books."""
    return (
        f"The broker holds {held(broker[0])} and {held(-broker[1])} of {symbol} at once; our books hold "
        f"{held(books[0])} and {held(-books[1])}. The net of both says nothing: each side must agree, so nothing but "
        "a fill can be booked for it. Close at the broker what is not ours."
    )


def oversize_cause(cap: Decimal) -> str:
    """What is graver about a position than that it differs."""
    return f" No more than {plain(cap)} of it may be held at all: look first for what opened the rest."


def own_fill_cause(fill: FillData, *, stored: bool, of_order: Sequence[FillData]) -> str:
    """A fill of an order of ours that is not in the books. `of_order` are all of that order that are not."""
    where = "it is stored and not yet in the books" if stored else "this comparison read it and stored nothing"
    why = (
        " It came after a difference about this instrument was opened, and the account's policy asks people about "
        "such fills."
        if stored
        else ""
    )
    order = fill.client_id or fill.broker_order_id
    if len(of_order) > 1:
        return (
            f"{len(of_order)} fills of our order {order} are in the broker's history and not in our books; this case "
            f"is {fills_in_words([fill])}, and {where}.{why}"
        )
    return f"The broker's history has {fills_in_words([fill])} for our order {order}; {where}.{why}"


def correction_cause(change: ChangedBody) -> str:
    """An event that the broker took back or corrected after our books had it."""
    undone = [fills_in_words(change.undone)] if change.undone else []
    undone += [f"{cash.kind} of {plain(cash.amount)} {cash.currency}" for cash in change.cash_undone]
    instead = [fills_in_words(change.instead)] if change.instead else []
    instead += [f"{cash.kind} of {plain(cash.amount)} {cash.currency}" for cash in change.cash_instead]
    says = f"corrected it to {' and '.join(instead)}" if instead else "took it back"
    return (
        f"Our books hold {' and '.join(undone)} of the broker's event {change.external_id}; since then the broker "
        f"{says}. Booking that reverses what stands{' and books what it says now in its place' if instead else ''}."
    )


def changed_cause(change: ChangedBody) -> str:
    """An event that came again with another body which moves nothing otherwise, or whose new words were not read."""
    return (
        f"The broker showed its event {change.external_id} again with another body. The first one stands in our "
        "books; compare both before deciding which is right."
    )


def cash_cause(currency: str, *, books: Decimal, broker: Decimal, explained: Decimal, difference: Decimal) -> str:
    """Cash that no event explains."""
    known = f" Events not yet booked explain {plain(explained)} of it." if explained else ""
    return (
        f"The broker's {currency} balance is {plain(broker)}, our books say {plain(books)}.{known} "
        f"{plain(difference)} {currency} moved without any event in the broker's history."
    )


def cash_event_cause(cash: CashData, *, stored: bool) -> str:
    """A typed movement of cash in the history that is not booked."""
    why = "our books do not have it yet" if stored else "this comparison read it and stored nothing"
    about = f" for {cash.instrument}" if cash.instrument else ""
    return (
        f"The broker booked {cash.kind} of {plain(cash.amount)} {cash.currency}{about} (its event {cash.external_id}); "
        f"{why}."
    )


def split_cause(symbol: str, ratio: Fraction, *, books: Decimal, broker: Decimal, cost: Decimal, price: Decimal) -> str:
    """Units and price differ by one ratio, so that what they cost together is equal."""
    return (
        f"The broker holds {held(broker)} of {symbol} at {plain(price)}, our books hold {held(books)} at "
        f"{plain(cost)}: {ratio.numerator} new for {ratio.denominator} old at the same total cost, as after a split. "
        "No cash moved. Stops and targets may be gone at the broker, or still be for the old units and prices."
    )


def rename_cause(old: str, new: str, *, units: Decimal, price: Decimal) -> str:
    """The same units at the same cost, under another name."""
    return (
        f"Our books hold {held(units)} of {old} and the broker none; the broker holds {held(units)} of {new} at "
        f"{plain(price)}, which is what ours cost, and no fill explains either: as after a change of symbol. No cash "
        "moved. A strategy's trade in the old name ends with it: nothing of ours guards the units in the new one."
    )


def cost_cause(symbol: str, *, books: Decimal, broker: Decimal) -> str:
    """Same quantity at another average price."""
    return (
        f"Quantities of {symbol} agree, but the broker's average price is {plain(broker)} and ours {plain(books)}: "
        "it closed other lots than first in, first out, or adjusted the price."
    )
