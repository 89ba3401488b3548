"""What a resolution would do, exactly: the entries it would post and the orders it would place.

What always holds: the payload is computed from current facts and the proposal's own parameters alone, so computing it
again at application shows whether anything has moved in between; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from reconciliation.domain.actions import estimated_close
from reconciliation.domain.kinds import Action, Kind
from reconciliation.models import Discrepancy
from reconciliation.selectors.books import unposted_parts
from trading.domain.broker import CashData, FillData, Side
from trading.domain.canonical import canonical_json, sha256_hex
from trading.domain.money import STORED_STEP, ZERO, parse_decimal, plain, round_to_step
from trading.domain.settlement import payment
from trading.models import Account, BrokerEvent, Instrument, Trade
from trading.selectors.instruments import UnmappedInstrument, instrument_for
from trading.services.booking import kind_of_fill
from trading.services.errors import RuleBroken

from . import approvals_needed, opening, remaining, stop_payloads
from .correction_payloads import REVERSAL, correction_entries, sentence_of, symbol_change_entry
from .discrepancies import stored
from .remaining import held

MARKET = "MARKET"
FILLS = {
    "FILL": "our order",
    "EXTERNAL_FILL": "somebody else's order",
    "MARGIN_CLOSEOUT": "the broker's margin close-out",
}
"""The entries that book an execution of the broker's, and whose it is."""
FLATTEN_TAG = "FLATTEN"
MARKET_PRICE = "market_price"
"""The evidence of a case about units of which the broker does not say what they cost."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A resolution as people see it before they decide. `sentences` say the same as `payload`."""

    action: Action
    payload: dict[str, Any]
    sha256: str
    sentences: tuple[str, ...]


def preview(row: Discrepancy, action: str, *, price: Decimal | None = None, realised: Decimal | None = None) -> Preview:
    """What `action` would do about this case now.

    `price` (quote currency per unit) and `realised` (account currency) are for `adopt_position` and
    `close_at_estimate`; left out, they are estimated from what is known. Raises RuleBroken when the action does not
    fit the case.
    """
    chosen = _action(row, action)
    parameters = _parameters(row, chosen, price, realised)
    payload = build(row, chosen, parameters)
    return Preview(chosen, payload, sha256_hex(canonical_json(payload)), sentences(row, payload))


def build(row: Discrepancy, action: Action, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The payload of an action with these parameters, from current facts. Raises RuleBroken when it does not fit."""
    entries, orders = _work(row, action, parameters)
    if not opening.is_opening(row):
        remaining.refuse_when_moved(row, action)
    payload: dict[str, Any] = stored(
        {
            "action": action,
            "account": row.account.name,
            "discrepancy": row.pk,
            "fingerprint": row.fingerprint,
            "kind": row.kind,
            "key": row.key,
            "version": row.version,
            "substance": row.evidence.get("substance", ""),
            "difference": row.difference,
            "parameters": dict(parameters),
            "entries": entries,
            "orders": orders,
            **stop_payloads.effects(row, action),
        }
    )
    return approvals_needed.with_approvals(row, payload)


def _action(row: Discrepancy, action: str) -> Action:
    offered = list(row.evidence.get("actions", []))
    if action not in offered:
        choices = ", ".join(offered) or "nothing yet"
        raise RuleBroken(f"{action} does not resolve {row.kind} {row.key}. What can be proposed for it: {choices}.")
    return Action(action)


def _parameters(row: Discrepancy, action: Action, price: Decimal | None, realised: Decimal | None) -> dict[str, str]:
    for name, given in (("price", price), ("realised amount", realised)):
        if given is not None and (not given.is_finite() or given != round_to_step(given, STORED_STEP)):
            raise RuleBroken(f"The {name} {given} cannot be booked: give a plain number with at most twelve decimals.")
    if price is not None and price <= 0:
        raise RuleBroken(f"The price {plain(price)} must be above zero.")
    if opening.is_opening(row):
        return opening.parameters(row, price, realised)
    if action is Action.CLOSE_AT_ESTIMATE:
        if row.instrument is not None and not row.instrument.is_margin:
            return _estimated_payment(row, row.instrument, price, realised)
        moved = realised if realised is not None else remaining.likely_profit(row)
        return {"price": plain(price or _estimated_price(row, moved)), "realised": plain(moved)}
    if action is Action.ADOPT_POSITION or (action is Action.FLATTEN and not _fills(row)):
        return {"price": plain(price or _adoption_price(row))}
    return {}


def _work(
    row: Discrepancy, action: Action, parameters: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if opening.is_opening(row):
        opening.refuse_when_begun(row)
        history = _fill_entries(row) if opening.has_fills(row) else []
        return [*opening.adoptions(row, parameters), *history, *opening.cash(row)], []
    if row.kind == Kind.FILL_MISMATCH and action in (Action.BOOK_FILLS, Action.BOOK_CASH):
        return correction_entries(row, next(iter(_events(row)), None)), []
    if action is Action.BOOK_FILLS:
        return _fill_entries(row), []
    if action is Action.BOOK_CASH:
        return _cash_entries(row), []
    if action is Action.ADOPT_POSITION:
        return [_adoption(row, parameters)], []
    if action is Action.CLOSE_AT_ESTIMATE:
        return [_estimate(row, parameters)], []
    if action is Action.FLATTEN:
        _refuse_beside_our_own(row)
        entries = _fill_entries(row) if _fills(row) else [_adoption(row, parameters)]
        return entries, [_closing_order(row)]
    if action is Action.ADJUST and row.kind == Kind.CORPORATE_ACTION:
        into = row.evidence.get("evidence", {}).get("into")
        return [symbol_change_entry(row, held(row), into) if into else _split(row)], []
    if action is Action.ADJUST:
        return [{"entry": "ADJUSTMENT", "currency": row.commodity, "amount": _difference(row)}], []
    return [], []


def _events(row: Discrepancy) -> list[BrokerEvent]:
    wanted = [identity for identity in row.evidence.get("events", []) if identity]
    return list(BrokerEvent.objects.filter(account=row.account, pk__in=wanted).order_by("sequence", "id"))


def _fills(row: Discrepancy) -> list[tuple[BrokerEvent, FillData, bool]]:
    """The fills of the case that are not booked yet: event, fill, whether its order is ours."""
    wanted = {fill["id"] for fill in row.evidence.get("evidence", {}).get("fills", [])}
    found: list[tuple[BrokerEvent, FillData, bool]] = []
    for event in _events(row):
        parts = unposted_parts(row.account, event)
        found.extend((event, f, f.external_id in parts.ours) for f in parts.fills if f.external_id in wanted)
    return found


def _fill_entries(row: Discrepancy) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {
            "entry": kind_of_fill(fill, is_ours=ours),
            "event": event.pk,
            "event_sha256": event.body_sha256,
            "external_id": fill.external_id,
            "instrument": fill.instrument,
            "side": fill.side,
            "quantity": fill.quantity,
            "price": fill.price,
            "realised": fill.realised,
            "financing": fill.financing,
            "commission": fill.commission,
            **_paid(row.account, fill),
        }
        for event, fill, ours in _fills(row)
    ]
    if not entries:
        raise RuleBroken(f"All fills behind {row.kind} {row.key} are in the books already. Run a reconciliation again.")
    return entries


def _paid(account: Account, fill: FillData) -> dict[str, Decimal]:
    """What a fill of a cash instrument pays for the units themselves."""
    try:
        instrument = instrument_for(account, fill.instrument)
    except UnmappedInstrument:
        return {}
    if instrument.is_margin:
        return {}
    return {"paid": payment(fill.side, fill.quantity, fill.price, multiplier=instrument.multiplier)}


def _cash_entries(row: Discrepancy) -> list[dict[str, Any]]:
    wanted = row.evidence.get("evidence", {}).get("id")
    entries: list[dict[str, Any]] = [
        {
            "entry": cash.kind,
            "event": event.pk,
            "event_sha256": event.body_sha256,
            "external_id": cash.external_id,
            "currency": cash.currency,
            "amount": cash.amount,
            **_counter_side(cash),
        }
        for event in _events(row)
        for cash in unposted_parts(row.account, event).cash
        if cash.external_id == wanted
    ]
    if not entries:
        raise RuleBroken(f"The cash behind {row.kind} {row.key} is in the books already. Run a reconciliation again.")
    return entries


def _counter_side(cash: CashData) -> dict[str, Any]:
    if cash.counter_amount is None:
        return {}
    return {"counter_currency": cash.counter_currency, "counter_amount": cash.counter_amount}


def _difference(row: Discrepancy) -> Decimal:
    if row.difference is None or row.difference == 0:
        raise RuleBroken(f"{row.kind} {row.key} has no difference in numbers to book.")
    return Decimal(row.difference)


def _adoption(row: Discrepancy, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {
        "entry": "ADOPTION",
        "instrument": row.instrument.symbol if row.instrument else "",
        "quantity": _difference(row),
        "price": parameters["price"],
        **({"estimated": True} if MARKET_PRICE in row.evidence.get("evidence", {}) else {}),
    }


def _estimate(row: Discrepancy, parameters: Mapping[str, str]) -> dict[str, Any]:
    has = held(row)
    quantity = estimated_close(books=has, broker=has + _difference(row))
    if quantity == 0:
        raise RuleBroken(f"Our books no longer hold more of {row.key} than the broker. Run a reconciliation again.")
    remaining.refuse_beyond_cash(row, parameters["realised"])
    return {
        "entry": "ESTIMATE",
        "instrument": row.instrument.symbol if row.instrument else "",
        "quantity": quantity,
        "price": parameters["price"],
        "realised": parameters["realised"],
    }


def _split(row: Discrepancy) -> dict[str, Any]:
    has = held(row)
    return {
        "entry": "SPLIT",
        "instrument": row.instrument.symbol if row.instrument else "",
        "before": has,
        "after": has + _difference(row),
    }


def _refuse_beside_our_own(row: Discrepancy) -> None:
    """The broker reduces first in, first out: beside a trade of ours the order could close that one instead."""
    ours = Trade.objects.filter(account=row.account, instrument=row.instrument, state=Trade.State.OPEN)
    if ours.exists():
        raise RuleBroken(
            f"A trade of ours on {row.key} is open, and the broker would close the oldest units first, perhaps ours, "
            "stop and all. Book or adopt the units instead, or close them by hand at the broker; nothing was proposed."
        )


def _closing_order(row: Discrepancy) -> dict[str, Any]:
    difference = _difference(row)
    return {
        "tag": FLATTEN_TAG,
        "instrument": row.instrument.symbol if row.instrument else "",
        "side": Side.SELL if difference > 0 else Side.BUY,
        "quantity": abs(difference),
        "type": MARKET,
        "reduce_only": True,
    }


def _adoption_price(row: Discrepancy) -> Decimal:
    """The price of the adopted units that makes our average the broker's; the market's where it names no cost."""
    evidence = row.evidence.get("evidence", {})
    if MARKET_PRICE in evidence:
        return parse_decimal(evidence[MARKET_PRICE])
    if "broker_average_price" not in evidence:
        raise RuleBroken("The broker named no average price: give the price at which the position is taken over.")
    theirs = parse_decimal(evidence["broker_average_price"])
    has, difference = held(row), _difference(row)
    if has == 0 or "books_average_price" not in evidence:
        return theirs
    ours = parse_decimal(evidence["books_average_price"])
    implied = round_to_step((theirs * (has + difference) - ours * has) / difference, STORED_STEP)
    return implied if implied > 0 else theirs


def _estimated_price(row: Discrepancy, realised: Decimal) -> Decimal:
    """The closing price that realises `realised`; our own cost where that cannot be said."""
    evidence = row.evidence.get("evidence", {})
    if row.instrument is None or "books_average_price" not in evidence:
        raise RuleBroken("Our books have no cost for this position: give the price at which it is to be closed.")
    cost = parse_decimal(evidence["books_average_price"])
    has = held(row)
    closed = -estimated_close(books=has, broker=has + _difference(row))
    if closed == 0 or row.instrument.quote != row.account.currency:
        return round_to_step(cost, STORED_STEP)
    implied = round_to_step(cost + realised / (closed * row.instrument.multiplier), STORED_STEP)
    return implied if implied > 0 else round_to_step(cost, STORED_STEP)


def _estimated_payment(
    row: Discrepancy, instrument: Instrument, price: Decimal | None, realised: Decimal | None
) -> dict[str, str]:
    """How shares left: sold for what the broker's cash moved without an event, or gone without any payment.

    Left out, `realised` (what cash moves by) is the unexplained cash when that has the sign of such a sale, else 0.
    """
    has = held(row)
    units = estimated_close(books=has, broker=has + _difference(row))
    if units == 0:
        raise RuleBroken(f"Our books no longer hold more of {row.key} than the broker. Run a reconciliation again.")
    moved = remaining.likely_profit(row) if realised is None else realised
    if realised is None and moved * units >= 0:
        moved = ZERO
    implied = round_to_step(abs(moved / (units * instrument.multiplier)), STORED_STEP)
    chosen = price or implied or _estimated_price(row, ZERO)
    paid = payment(Side.BUY if units > 0 else Side.SELL, abs(units), chosen, multiplier=instrument.multiplier)
    if realised is not None and moved != 0 and (moved * units >= 0 or (price is not None and moved != paid)):
        raise RuleBroken(
            f"{plain(abs(units))} {row.key} at {plain(chosen)} pay {plain(paid)} {instrument.quote}, and not "
            f"{plain(moved)}: give that amount, 0 when no cash moved, or no price."
        )
    return {"price": plain(chosen), "realised": plain(paid if moved else ZERO)}


def sentences(row: Discrepancy, payload: Mapping[str, Any]) -> tuple[str, ...]:
    """What a payload would do, in words."""
    told = [_entry_sentence(entry, row.account.currency) for entry in payload["entries"]]
    told += [
        f"Send a {order['type']} order to the broker: {order['side']} {order['quantity']} {order['instrument']}, "
        "which may only reduce the position."
        for order in payload["orders"]
    ]
    if payload["action"] == Action.ACCEPT and "ends" not in payload:
        told.append(
            "Post nothing and send nothing: the difference stays as it is and counts as explained. It opens again "
            "when it changes."
        )
    return (*told, *stop_payloads.told(payload), *approvals_needed.told(payload))


def _entry_sentence(entry: Mapping[str, Any], currency: str) -> str:
    kind = entry["entry"]
    if kind == REVERSAL:
        return sentence_of(entry)
    if kind in FILLS:
        moved = ("realised", "financing", "commission", "paid")
        cash = sum((parse_decimal(entry[part]) for part in moved if part in entry), ZERO)
        instead = " in its place" if "instead_of" in entry else ""
        return (
            f"Post{instead} the fill {entry['external_id']} of {FILLS[kind]}: {entry['side']} {entry['quantity']} "
            f"{entry['instrument']} at {entry['price']}; cash moves by {plain(cash)} {currency}."
        )
    if kind == "ADOPTION":
        return (
            f"Take {entry['quantity']} {entry['instrument']} at {entry['price']} into the books as a position that is "
            "not ours; no cash moves."
            + (" The broker does not say what it cost: the price is an estimate." if "estimated" in entry else "")
        )
    if kind == "ESTIMATE":
        return (
            f"Change the books' {entry['instrument']} by {entry['quantity']} at the estimated price {entry['price']}; "
            f"cash moves by {entry['realised']} {currency}."
        )
    if kind == "SPLIT":
        return (
            f"Let {entry['before']} {entry['instrument']} become {entry['after']}, every lot at the cost per unit that "
            "leaves its total cost as it is; no cash moves and nothing is realised."
        )
    if kind == "SYMBOL_CHANGE":
        return (
            f"Let {entry['before']} {entry['instrument']} be {entry['after']} {entry['into']}, every lot at its own "
            "cost; no cash moves and nothing is realised. Trades of ours that are open in it end at their cost."
        )
    if kind == "ADJUSTMENT":
        return f"Adjust cash by {entry['amount']} {entry['currency']} against the suspense account."
    other = f" for {entry['counter_amount']} {entry['counter_currency']}" if "counter_amount" in entry else ""
    return f"Post {kind} of {entry['amount']} {entry['currency']}{other} (the broker's event {entry['external_id']})."
