"""Which resolutions make sense for which difference, and which one is suggested first.

What always holds here: an action is offered only when carrying it out makes books and broker agree, or brings what
the broker's history says into the books, so that only the rest is left to explain (or, for `accept`, when people may
knowingly live with it); nothing is suggested where the policy says to ask, nor for fills that our books may hold in
another form already; flattening is offered only for what the broker holds beyond our books, so that it never closes
what a strategy holds.
"""

from __future__ import annotations

from decimal import Decimal

from reconciliation.domain.kinds import CASH_NOT_BOOKED, POSITION_KINDS, UNGUARDED, Action, Kind
from reconciliation.domain.policy import DefaultProposal, ReconciliationPolicy
from trading.domain.money import ZERO


def can_flatten(*, books: Decimal, broker: Decimal) -> bool:
    """Whether closing the difference at the broker would leave exactly what our books hold."""
    difference = broker - books
    return difference != 0 and difference * broker > 0 and abs(difference) <= abs(broker)


def estimated_close(*, books: Decimal, broker: Decimal) -> Decimal:
    """The signed units by which our books hold more than the broker: 0 when they do not.

    On opposite sides only what we hold is closed; the broker's own side then shows as a position that is not ours.
    """
    if books == 0 or (broker * books > 0 and abs(broker) >= abs(books)):
        return ZERO
    return -books if broker * books <= 0 else broker - books


def actions_for_position(
    kind: Kind,
    *,
    books: Decimal,
    broker: Decimal | None,
    has_fills: bool,
    unexplained: Decimal,
    priced: bool,
    estimable: bool,
    stored: bool,
    net_is_all: bool,
    policy: ReconciliationPolicy,
) -> tuple[tuple[Action, ...], Action | None]:
    """The actions for a position's case, and the suggestion.

    `unexplained` is what no fill explains; `priced` says that the broker named an average price, `estimable`
    that it does not but the market's price is known, at which units may be taken over, not closed; `stored` that every
    fill is a stored event (a report-only comparison stores none); `net_is_all` that no side hides behind the net.
    """
    actions: list[Action] = []
    fills_explain_all = has_fills and unexplained == 0
    if has_fills and stored and policy.backfill_enabled:
        actions.append(Action.BOOK_FILLS)
    if kind in POSITION_KINDS and broker is not None and net_is_all:
        beyond_our_books = can_flatten(books=books, broker=broker)
        if not has_fills and (priced or estimable) and beyond_our_books and kind is not Kind.OVERSIZE:
            actions.append(Action.ADOPT_POSITION)
        if not has_fills and estimated_close(books=books, broker=broker) != 0 and policy.mark_unknown_closed:
            actions.append(Action.CLOSE_AT_ESTIMATE)
        if (fills_explain_all or not has_fills) and priced and stored and beyond_our_books:
            actions.append(Action.FLATTEN)
    actions.append(Action.ACCEPT)
    replaces = kind is Kind.MISSING_FILL and broker is not None and unexplained != 0
    return tuple(actions), None if replaces else _suggest(actions, policy)


def _suggest(actions: list[Action], policy: ReconciliationPolicy) -> Action | None:
    if policy.default_proposal is DefaultProposal.ASK:
        return None
    if policy.default_proposal is DefaultProposal.FLATTEN_EXTERNAL and Action.FLATTEN in actions:
        return Action.FLATTEN
    for wish in (Action.BOOK_FILLS, Action.ADOPT_POSITION, Action.CLOSE_AT_ESTIMATE):
        if wish in actions:
            return wish
    return None


def actions_for_correction(
    *, fills: bool, cash: bool, policy: ReconciliationPolicy
) -> tuple[tuple[Action, ...], Action | None]:
    """The actions for an event whose body changed, and the suggestion: booking what the broker says now."""
    wanted = Action.BOOK_FILLS if fills else Action.BOOK_CASH
    if (fills and policy.backfill_enabled) or (cash and not fills):
        return (wanted, Action.ACCEPT), wanted
    return (Action.ACCEPT,), None


def actions_for(kind: Kind, *, stored: bool = True) -> tuple[tuple[Action, ...], Action | None]:
    """The actions for every other kind, and the suggestion. What was not read leaves nothing to decide on."""
    if kind is Kind.FETCH_FAILED:
        return (), None
    if kind in CASH_NOT_BOOKED and stored:
        return (Action.BOOK_CASH, Action.ACCEPT), Action.BOOK_CASH
    if kind is Kind.MISSING_FILL and stored:
        return (Action.BOOK_FILLS, Action.ACCEPT), Action.BOOK_FILLS
    if kind is Kind.CASH_UNEXPLAINED:
        return (Action.ADJUST, Action.ACCEPT), None
    if kind is Kind.CORPORATE_ACTION:
        return (Action.ADJUST, Action.ACCEPT), Action.ADJUST
    if kind in UNGUARDED:
        return (Action.RESIZE_STOP, Action.ACCEPT), Action.RESIZE_STOP
    return (Action.ACCEPT,), None
