"""The first look at an account that has a past: what its history does not explain, as one opening balance.

What always holds here: only an account whose books have not begun has one, and only a whole answer gives it; what the
history explains is booked as history, and only what is left is taken over: units of before the history, each
instrument at a cost, and the cash that nothing explains. Adopted units, the fills of the history and that cash
together make the broker's account, to the last digit. A cost that the broker does not name is said to be an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from reconciliation.domain.bad_data import Inspection
from reconciliation.domain.causes import held
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import POSITION_KINDS, Action, Confidence, Kind
from reconciliation.domain.policy import DefaultProposal, ReconciliationPolicy
from reconciliation.domain.severity import severity_of
from reconciliation.domain.snapshots import BooksSnapshot
from trading.domain.broker import BrokerSnapshot, Completeness, Side
from trading.domain.money import STORED_STEP, ZERO, parse_decimal, plain, round_to_step

KEY = "account"
NAMED = 5
"""So many positions are named in the cause; the evidence has them all."""
_SHAPES = frozenset({Kind.EXTERNAL_POSITION, Kind.MISSING_FILL})


@dataclass(frozen=True, slots=True)
class Adopted:
    """Units of before the history (below zero: short) and what one of them is said to have cost."""

    instrument: str
    quantity: Decimal
    price: Decimal
    estimated: bool

    def told(self) -> dict[str, Any]:
        """As evidence keeps it."""
        return {
            "instrument": self.instrument,
            "quantity": plain(self.quantity),
            "price": plain(self.price),
            "estimated": self.estimated,
        }


def with_opening(
    found: Sequence[Finding],
    broker: BrokerSnapshot,
    books: BooksSnapshot,
    policy: ReconciliationPolicy,
    seen: Inspection,
) -> list[Finding]:
    """The findings of a first look, those that are the account's past put together as one."""
    if not books.opening:
        return list(found)
    if broker.completeness is not Completeness.COMPLETE:
        return [_held_back(finding) for finding in found]
    costs = {symbol: _cost(symbol, broker, seen) for symbol in seen.quantities}
    past = [finding for finding in found if _is_past(finding, costs, policy, seen)]
    adopted = [made for finding in past if (made := _adopted(finding, costs.get(finding.key))) is not None]
    if not adopted:
        return list(found)
    cash = [finding for finding in found if finding.kind is Kind.CASH_UNEXPLAINED]
    folded = {id(finding) for finding in (*past, *cash)}
    return [*(finding for finding in found if id(finding) not in folded), _opening(adopted, past, cash, policy)]


def _held_back(finding: Finding) -> Finding:
    """A part of the past that only a whole answer says how to take over: booked alone, it would be booked twice."""
    if finding.kind not in {*_SHAPES, *POSITION_KINDS, Kind.CASH_UNEXPLAINED}:
        return finding
    return replace(finding, actions=(), suggestion=None)


def _is_past(
    finding: Finding, costs: Mapping[str, tuple[Decimal, bool] | None], policy: ReconciliationPolicy, seen: Inspection
) -> bool:
    """Whether it is a position that two people may take over as it is; its cost is known wherever it is held."""
    if finding.kind not in _SHAPES or finding.key != finding.instrument:
        return False
    if min(seen.both_ways.get(finding.key, (ZERO, ZERO))) > 0 or (finding.broker_value and not costs.get(finding.key)):
        return False
    return policy.backfill_enabled or not finding.evidence["fills"]


def _cost(symbol: str, broker: BrokerSnapshot, seen: Inspection) -> tuple[Decimal, bool] | None:
    """What a unit cost by the broker, all its products together; or the market's price, and True: an estimate."""
    shown = [p for p in broker.positions if p.instrument == seen.rules[symbol].broker_symbol]
    if all(position.average_price > 0 for position in shown):
        units = sum((position.quantity for position in shown), ZERO)
        paid = sum((position.quantity * position.average_price for position in shown), ZERO)
        return round_to_step(paid / units, STORED_STEP), False
    market = next((p.market_price for p in shown if p.market_price is not None and p.market_price > 0), None)
    return (market, True) if market is not None else None


def _adopted(finding: Finding, cost: tuple[Decimal, bool] | None) -> Adopted | None:
    """The units that no fill explains, at the cost that makes the broker's average as far as that can be said."""
    units = parse_decimal(finding.evidence["unexplained"])
    if units == 0:
        return None
    fills = [
        (Side(told["side"]).sign * parse_decimal(told["quantity"]), parse_decimal(told["price"]))
        for told in finding.evidence["fills"]
    ]
    closing = next((price for moved, price in fills if moved * units < 0), None)
    holds = finding.broker_value or ZERO
    if closing is not None and (cost is None or holds * units <= 0):
        return Adopted(finding.key, units, closing, True)
    assert cost is not None  # it is held, or else something has closed it
    price, estimated = cost
    if fills and closing is None:
        implied = (price * holds - sum((moved * paid for moved, paid in fills), ZERO)) / units
        exact = round_to_step(implied, STORED_STEP)
        return Adopted(finding.key, units, exact if exact > 0 else price, estimated or exact <= 0)
    return Adopted(finding.key, units, price, estimated or bool(fills))


def _opening(
    adopted: Sequence[Adopted], past: Sequence[Finding], cash: Sequence[Finding], policy: ReconciliationPolicy
) -> Finding:
    explains: dict[str, Decimal] = {}
    for finding in (*past, *cash):
        for commodity, amount in finding.explains.items():
            explains[commodity] = explains.get(commodity, ZERO) + amount
    left = {finding.commodity: finding.difference or ZERO for finding in cash}
    counted = {finding.commodity: (finding.broker_value or ZERO) - left[finding.commodity] for finding in cash}
    fills = [told for finding in past for told in finding.evidence["fills"]]
    ordered = sorted(adopted, key=lambda position: position.instrument)
    return Finding(
        kind=Kind.OPENING_BALANCE,
        key=KEY,
        severity=severity_of(Kind.OPENING_BALANCE),
        cause=_cause(ordered, left, len(fills)),
        relies_on=Confidence.EVERYTHING,
        explains={commodity: amount for commodity, amount in sorted(explains.items()) if amount != 0},
        event_ids=tuple(sorted({event for finding in past for event in finding.event_ids})),
        evidence={
            "positions": [position.told() for position in ordered],
            "cash": {currency: plain(amount) for currency, amount in sorted(left.items())},
            "counted": {currency: plain(amount) for currency, amount in sorted(counted.items())},
            "fills": fills,
        },
        actions=(Action.ADOPT_POSITION,),
        suggestion=None if policy.default_proposal is DefaultProposal.ASK else Action.ADOPT_POSITION,
        matter=" ".join(
            f"{p.instrument} {plain(p.quantity)}{'' if p.estimated else f' {plain(p.price)}'}" for p in ordered
        ),
    )


def _cause(adopted: Sequence[Adopted], cash: Mapping[str, Decimal], fills: int) -> str:
    named = [f"{held(position.quantity)} {position.instrument}" for position in adopted[:NAMED]]
    if len(adopted) > NAMED:
        named.append(f"{len(adopted) - NAMED} more positions")
    estimated = [position.instrument for position in adopted if position.estimated]
    told = f"Our books of this account begin now, and it has a past: its history does not explain {', '.join(named)}"
    told += "".join(f", and {plain(amount)} {currency} of cash" for currency, amount in sorted(cash.items()))
    told += f". The {fills} fills that its history has beside that are booked with it." if fills > 1 else "."
    told += " The fill that its history has beside that is booked with it." if fills == 1 else ""
    if estimated:
        more = f" and {len(estimated) - NAMED} more" if len(estimated) > NAMED else ""
        told += f" The broker does not say what {', '.join(estimated[:NAMED])}{more} cost: the price is an estimate."
    return f"{told} Until it is taken over, no entry is allowed on the account."
