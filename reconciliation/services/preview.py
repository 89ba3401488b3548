"""What a resolution would post, as debit and credit lines, before anybody proposes it and before anybody approves it.

What always holds: it is a draft on paper. Nothing is written, no lock is taken and no approval is pretended, so a page
may show it to anybody; the lines come from `trading.services.moves`, which booking posts from as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from reconciliation.models import Discrepancy
from trading.clock import now, trading_day
from trading.domain.books import OpenLot
from trading.domain.broker import EventKind, Side
from trading.domain.lots import Execution, LotMethod, step
from trading.domain.money import ZERO, parse_decimal
from trading.models import Account, BrokerEvent, Entry, Fill, Instrument, LedgerAccount
from trading.selectors import lot_history
from trading.selectors.instruments import UnmappedInstrument, instrument_for
from trading.services import moves
from trading.services.booking import CASH_SIDE
from trading.services.lots import match, realised_instead

from .correction_payloads import REVERSAL
from .payloads import FILLS

Kind = LedgerAccount.Kind
CASH_KINDS = (Kind.CASH, Kind.UNSETTLED)


@dataclass(frozen=True, slots=True)
class Line:
    """One side of one transfer: `entry` counts from 1; exactly one of `debit` and `credit` is set."""

    entry: int
    kind: str
    ledger_account: str
    debit: Decimal | None
    credit: Decimal | None
    commodity: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What an account's position or cash would change by: `what` is the instrument or the currency."""

    what: str
    change: Decimal


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything a resolution would post. `refused` says why the lines cannot be drawn up."""

    lines: tuple[Line, ...]
    effects: tuple[Effect, ...]
    refused: str = ""


@dataclass(slots=True)
class _Lots:
    """The lots of each instrument as the entries before leave them: an entry may close what an earlier one opens."""

    after: dict[str, tuple[OpenLot, ...]] = field(default_factory=dict)

    def profit(
        self,
        account: Account,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        sequence: int | None = None,
    ) -> Decimal:
        """What an execution of a cash instrument realises, after those that were asked about before."""
        known = self.after.get(instrument.symbol)
        standing = known if known is not None else lot_history.standing(account, instrument)
        execution = Execution(f"draft {len(standing)}", side, quantity, price, sequence)
        method, multiplier = LotMethod(account.lot_method), instrument.multiplier
        made, self.after[instrument.symbol] = step(method, standing, execution, multiplier=multiplier)
        if known is not None:
            return made.realised
        return match(account, instrument, side, quantity, price, sequence=sequence).profit


def draft(row: Discrepancy, payload: Mapping[str, Any]) -> Draft:
    """The lines of all entries of a payload, in the order in which they would be posted."""
    lines: list[Line] = []
    changes: dict[str, Decimal] = {}
    lots = _Lots()
    try:
        for number, entry in enumerate(payload.get("entries", []), 1):
            for move in _moves(row.account, entry, lots):
                lines.extend(_sides(row.account, number, entry["entry"], move))
                for kind, sign in ((move.into, 1), (move.out_of, -1)):
                    if kind == Kind.POSITION or kind in CASH_KINDS:
                        changes[move.commodity] = changes.get(move.commodity, ZERO) + sign * move.amount
    except (UnmappedInstrument, Instrument.DoesNotExist) as error:
        return Draft((), (), f"The lines cannot be drawn up: {error}")
    return Draft(tuple(lines), tuple(Effect(what, change) for what, change in changes.items() if change))


def _moves(account: Account, entry: Mapping[str, Any], lots: _Lots) -> list[moves.Move]:
    kind = entry["entry"]
    if kind == REVERSAL:
        return mirror(Entry.objects.get(pk=entry["reverses"], account=account))
    if kind in ("SPLIT", "SYMBOL_CHANGE"):
        symbol, before, after = entry["instrument"], parse_decimal(entry["before"]), parse_decimal(entry["after"])
        into = entry.get("into", symbol)
        sides = ((symbol, -before), (into, after))
        return [moves.Move(name, moved, Kind.POSITION, Kind.MARKET) for name, moved in sides]
    if kind in FILLS:
        instrument = instrument_for(account, entry["instrument"])
        return moves.of_fill(_executed(account, instrument, entry, lots))
    if kind in ("ADOPTION", "ESTIMATE"):
        instrument = Instrument.objects.get(symbol=entry["instrument"])
        return moves.of_fill(_estimated(account, instrument, entry, lots))
    other = Kind.SUSPENSE if kind == "ADJUSTMENT" else CASH_SIDE[EventKind(kind)][0]
    return moves.of_cash(
        entry["currency"],
        parse_decimal(entry["amount"]),
        other,
        counter_currency=entry.get("counter_currency", ""),
        counter_amount=parse_decimal(entry["counter_amount"]) if "counter_amount" in entry else None,
    )


def mirror(entry: Entry) -> list[moves.Move]:
    """What the reversal of an entry moves."""
    transfers = entry.transfers.select_related("debit", "credit").order_by("id")
    return [moves.Move(t.commodity_id, t.amount, t.credit.kind, t.debit.kind) for t in transfers]


def _executed(account: Account, instrument: Instrument, entry: Mapping[str, Any], lots: _Lots) -> Fill:
    """The fill that booking would store, not stored."""
    side, quantity, price = Side(entry["side"]), parse_decimal(entry["quantity"]), parse_decimal(entry["price"])
    realised = parse_decimal(entry["realised"])
    if not instrument.is_margin and "instead_of" in entry:
        realised = realised_instead(Fill.objects.get(pk=entry["instead_of"]), quantity, price)
    elif not instrument.is_margin:
        event = BrokerEvent.objects.filter(pk=entry.get("event", 0), account=account).first()
        sequence = event.sequence if event is not None else None
        realised = lots.profit(account, instrument, side, quantity, price, sequence)
    return Fill(
        account=account,
        instrument=instrument,
        side=side,
        quantity=quantity,
        price=price,
        realised=realised,
        financing=parse_decimal(entry["financing"]),
        commission=parse_decimal(entry["commission"]),
        settles_on=None if instrument.is_margin else trading_day(account, now(account)),
    )


def _estimated(account: Account, instrument: Instrument, entry: Mapping[str, Any], lots: _Lots) -> Fill:
    """The fill of an adoption or an estimate that booking would store, not stored."""
    signed, price = parse_decimal(entry["quantity"]), parse_decimal(entry["price"])
    side, realised = Side.BUY if signed > 0 else Side.SELL, parse_decimal(entry.get("realised", "0"))
    settles_on = None
    if not instrument.is_margin:
        settles_on = trading_day(account, now(account)) if realised else None
        realised = lots.profit(account, instrument, side, abs(signed), price)
    return Fill(
        account=account,
        instrument=instrument,
        side=side,
        quantity=abs(signed),
        price=price,
        realised=realised,
        financing=ZERO,
        commission=ZERO,
        settles_on=settles_on,
    )


def _sides(account: Account, number: int, kind: str, move: moves.Move) -> list[Line]:
    into, out_of = (move.into, move.out_of) if move.amount > 0 else (move.out_of, move.into)
    amount = abs(move.amount)
    return [
        Line(number, kind, f"{account.name}:{into}:{move.commodity}", amount, None, move.commodity),
        Line(number, kind, f"{account.name}:{out_of}:{move.commodity}", None, amount, move.commodity),
    ]
