"""What of a difference still stands by the books of now, which may have moved since the run that found it.

What always holds: what a resolution posts from a difference is refused once the books, with what waits to be booked,
do not leave exactly that difference any more, so that nothing is booked twice: a late fill of ours, an event of the
broker's or another resolution may have brought it into the books since. Cash that nothing explains is the profit of
one vanished position at most. Nothing is written here.
"""

from __future__ import annotations

from decimal import Decimal

from reconciliation.domain.kinds import Action, Kind
from reconciliation.domain.positions import signed
from reconciliation.domain.snapshots import BooksSnapshot, InstrumentRule, cash_of, sides_of
from reconciliation.models import Discrepancy
from reconciliation.selectors.books import changed, instrument_rules, stored
from reconciliation.selectors.discrepancies import live
from trading.clock import now
from trading.domain.money import STORED_STEP, ZERO, parse_decimal, plain
from trading.models import Account, Instrument
from trading.selectors import books
from trading.services.errors import RuleBroken

FROM_DIFFERENCE = (Action.ADOPT_POSITION, Action.CLOSE_AT_ESTIMATE, Action.FLATTEN, Action.ADJUST)
"""What posts, or closes at the broker, the difference that a run has seen."""
ROUNDING = Decimal("0.01")
"""A payment is units at a price of twelve decimals: it may differ from the cash that it explains by so much."""
AGAIN = "Run a reconciliation again."


def held(row: Discrepancy) -> Decimal:
    """The signed units that our books hold of a position's case now."""
    assert row.instrument is not None  # position cases name an instrument of ours
    position = books.positions(row.account).get(row.instrument.symbol)
    return position.quantity if position is not None else ZERO


def refuse_when_moved(row: Discrepancy, action: Action) -> None:
    """Raises RuleBroken when an action that posts the difference would post what the books have by now."""
    if action not in FROM_DIFFERENCE or row.broker_value is None or row.difference is None:
        return
    has = _units(row, row.instrument) if row.instrument is not None else counted(row.account).get(row.commodity, ZERO)
    left = row.broker_value - has
    if abs(left - row.difference) > STORED_STEP:
        raise RuleBroken(
            f"Our books, with what waits to be booked, have {plain(has)} {row.commodity} by now, so that "
            f"{plain(left)} is left of the difference of {plain(row.difference)}, and the rest would be booked twice. "
            + AGAIN
        )


def counted(account: Account) -> dict[str, Decimal]:
    """Trade-date cash per currency, with what every event that waits to be booked moves: what nothing else explains
    is the broker's balance less this."""
    found = dict(books.cash_balances(account))
    snapshot, rules = _waiting(account)
    for event in snapshot.unposted:
        for fill in event.fills:
            found[account.currency] = found.get(account.currency, ZERO) + cash_of(fill, rules.get(fill.instrument))
        for moved in event.cash:
            for currency, amount in sides_of(moved):
                found[currency] = found.get(currency, ZERO) + amount
    for change in snapshot.changed:
        for currency, amount in change.cash(account.currency, rules).items():
            found[currency] = found.get(currency, ZERO) + amount
    return found


def unexplained_cash(account: Account) -> Decimal:
    """What the broker's cash moved without an event and our books still do not have, by the case of it; else 0."""
    case = _cash_case(account)
    if case is None or case.broker_value is None:
        return ZERO
    return Decimal(case.broker_value) - counted(account).get(account.currency, ZERO)


def likely_profit(row: Discrepancy) -> Decimal:
    """The unexplained cash where only this vanished position can have realised it.

    0 where another one could, or where people decide on that cash already.
    """
    others = live(row.account).filter(evidence__actions__contains=[Action.CLOSE_AT_ESTIMATE]).exclude(pk=row.pk)
    case = _cash_case(row.account)
    if case is None or case.state not in (Discrepancy.State.SUSPECTED, Discrepancy.State.OPEN) or others.exists():
        return ZERO
    return unexplained_cash(row.account)


def refuse_beyond_cash(row: Discrepancy, realised: str) -> None:
    """Raises RuleBroken when an estimate moves other cash than what is unexplained now, or more of it."""
    moved = parse_decimal(realised)
    left = unexplained_cash(row.account) if moved else ZERO
    if moved and (moved * left <= 0 or abs(moved) > abs(left) + ROUNDING):
        raise RuleBroken(
            f"The estimate would move cash by {plain(moved)}: that is more than the {plain(left)} "
            f"{row.account.currency} by which the broker's cash differs without an event, and our books would be wrong "
            "by the rest. Give 0 when no cash moved, or less. The cash may be in the books already: " + AGAIN
        )


def _units(row: Discrepancy, instrument: Instrument) -> Decimal:
    """What the books hold, with the fills of our own orders and the corrections that wait to be booked."""
    snapshot, rules = _waiting(row.account)
    names = {name for name, rule in rules.items() if rule.symbol == instrument.symbol}
    ours = (
        signed(fill)
        for event in snapshot.unposted
        for fill in event.fills
        if fill.instrument in names and fill.external_id in event.ours
    )
    return held(row) + sum(ours, ZERO) + sum((c.units(name) for c in snapshot.changed for name in names), ZERO)


def _waiting(account: Account) -> tuple[BooksSnapshot, dict[str, InstrumentRule]]:
    """What is stored and not booked as it stands, each fill and movement once; the rules by the broker's symbol."""
    snapshot = BooksSnapshot(
        account_id=account.external_id,
        currency=account.currency,
        at=now(account),
        cut_event_id="",
        cash={},
        positions=(),
        unposted=tuple(stored(account)),
        changed=tuple(changed(account)),
    )
    return snapshot.normalised(), {rule.broker_symbol: rule for rule in instrument_rules(account).values()}


def _cash_case(account: Account) -> Discrepancy | None:
    return live(account).filter(kind=Kind.CASH_UNEXPLAINED, key=account.currency).first()
