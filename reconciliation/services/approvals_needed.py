"""How many people must approve a resolution: one, or two where the account's policy calls what is at stake material.

What always holds: what is at stake is told from the payload and its case, and compared with the policy of now, again
when it is carried out; what cannot be valued in the account's currency is material, as is a cost that nobody knows and
that is only estimated; without a limit one is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from reconciliation.domain.kinds import Action, Kind
from reconciliation.models import Discrepancy
from trading.domain.money import ONE, ZERO, parse_decimal
from trading.models import Account, Entry, Instrument, InstrumentAlias, Mark, Rate
from trading.selectors.policies import policy_of

USUALLY, WHEN_MATERIAL = 1, 2
APPROVALS = "approvals"


def needed(row: Discrepancy, payload: Mapping[str, Any]) -> int:
    """The approvals that a payload about this case needs by the account's policy of now."""
    limit = policy_of(row.account).materiality
    if limit == 0:
        return USUALLY
    stake = at_stake(row, payload)
    return WHEN_MATERIAL if stake is None or stake > limit else USUALLY


def with_approvals(row: Discrepancy, payload: dict[str, Any]) -> dict[str, Any]:
    """The payload with `approvals`, the number it needs, where that is more than the usual one: people see it, too."""
    number = needed(row, payload)
    return payload if number == USUALLY else {**payload, APPROVALS: number}


def of(payload: Mapping[str, Any]) -> int:
    """The approvals that a payload says it needs."""
    return int(payload.get(APPROVALS, USUALLY))


def told(payload: Mapping[str, Any]) -> list[str]:
    """The sentence of a payload that needs more than the usual one."""
    if of(payload) == USUALLY:
        return []
    return [f"{of(payload)} other people must approve it: more is at stake than the account's policy calls material."]


def at_stake(row: Discrepancy, payload: Mapping[str, Any]) -> Decimal | None:
    """What a payload moves, in the account's currency: cash and units at their prices, all taken as positive.

    None where a part of it has no price, or its cost is only estimated, or no rate to the account's currency is known.
    """
    parts = [part for entry in payload["entries"] for part in _parts(row, entry)]
    parts += [_units(row.account, s["instrument"], s["quantity"], s.get("price")) for s in payload.get("stops", ())]
    if payload["action"] == Action.ACCEPT:
        parts.append(_accepted(row))
    total = ZERO
    for part in parts:
        if part is None:
            return None
        total += part
    return total


def _accepted(row: Discrepancy) -> Decimal | None:
    """What a difference that is left as it is comes to; None where units are at stake and nobody says how many."""
    if row.difference is None:
        return None if row.instrument is not None or row.kind == Kind.UNMAPPED_INSTRUMENT else ZERO
    if row.instrument is None or row.commodity != row.instrument.symbol:
        return _money(row.account, row.commodity, row.difference) if row.commodity else ZERO
    evidence = row.evidence.get("evidence", {})
    price = evidence.get("broker_average_price") or evidence.get("books_average_price")
    return _units(row.account, row.instrument.symbol, row.difference, price)


def _parts(row: Discrepancy, entry: Mapping[str, Any]) -> list[Decimal | None]:
    """What an entry moves: its units or its amount, and the cash that goes with a fill or an estimate."""
    account = row.account
    if entry.get("estimated"):
        return [None]
    if entry["entry"] in ("ADOPTION", "ESTIMATE"):
        entry = {**entry, "price": _dearest(row, entry)}
    elif entry["entry"] == "REVERSAL":
        undone = Entry.objects.select_related("fill").get(pk=entry["reverses"]).fill
        moved = (undone.realised, undone.financing, undone.commission) if undone is not None else ()
        return [_entry(account, entry), *(_money(account, account.currency, each) for each in moved)]
    told = [entry[name] for name in ("realised", "financing", "commission") if name in entry]
    return [_entry(account, entry), *(_money(account, account.currency, each) for each in told)]


def _dearest(row: Discrepancy, entry: Mapping[str, Any]) -> Decimal:
    """The highest price that is known of units whose price the proposer chose: a low one makes nothing immaterial."""
    evidence = row.evidence.get("evidence", {})
    known = [entry["price"], *(evidence[n] for n in ("broker_average_price", "books_average_price") if n in evidence)]
    marks = Mark.objects.filter(account=row.account, instrument__symbol=entry["instrument"])
    mark = marks.order_by("-at", "-id").first()
    return max(*(_number(price) for price in known), mark.price if mark is not None else ZERO)


def _entry(account: Account, entry: Mapping[str, Any]) -> Decimal | None:
    if entry["entry"] == "REVERSAL":
        undone = Entry.objects.select_related("fill__instrument", "cash_event").get(pk=entry["reverses"])
        if undone.fill is not None:
            return _units(account, undone.fill.instrument.symbol, undone.fill.quantity, undone.fill.price)
        moved = undone.cash_event
        return _money(account, moved.currency, moved.amount) if moved is not None else None
    if "instrument" in entry:
        return _units(account, entry["instrument"], entry.get("quantity"), entry.get("price"))
    return _money(account, entry["currency"], entry["amount"])


def _units(account: Account, name: str, quantity: Any, price: Any) -> Decimal | None:
    """Units at a price; `name` is ours of the instrument, or its broker's."""
    instrument = Instrument.objects.filter(symbol=name).first()
    if instrument is None:
        alias = InstrumentAlias.objects.filter(broker=account.broker, symbol=name, valid_until=None).first()
        instrument = alias.instrument if alias is not None else None
    if instrument is None or quantity is None:
        return None
    units: Decimal = abs(_number(quantity)) * instrument.multiplier
    if instrument.base == account.currency:
        return units
    return _money(account, instrument.quote, units * _number(price)) if price is not None else None


def _money(account: Account, currency: str, amount: Any) -> Decimal | None:
    """An amount in the account's currency, by the last rate that is known; None without one."""
    if currency == account.currency:
        return abs(_number(amount))
    known = Rate.objects.filter(base__in=(currency, account.currency), quote__in=(currency, account.currency))
    rate = known.order_by("-at", "-id").first()
    if rate is None or not rate.value:
        return None
    worth: Decimal = rate.value if rate.base == currency else ONE / rate.value
    return abs(_number(amount)) * worth


def _number(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else parse_decimal(str(value))
