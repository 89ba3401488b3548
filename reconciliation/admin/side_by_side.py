"""Our books beside the broker, row by row, as the last run saw both: what is equal is shown too, so that it can be
told from what was not looked at.

What always holds: the first row is the case's own numbers; a row says whether it differs, never its colour alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.safestring import SafeString

from reconciliation.domain.kinds import Kind
from reconciliation.models import Discrepancy, Snapshot
from trading.admin import values
from trading.domain.money import ZERO, BadNumber, parse_decimal

from .titles import is_about_cash, is_money

MOVES_CASH = ("realised", "financing", "commission")
ORDER_ROWS = (("State", "state", "status"), ("Side", "side", "side"), ("Quantity", "quantity", "quantity"),
              ("Filled", "filled", "filled"), ("Price", "price", "price"))  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One thing on both sides. None is "has none" where the other side has one."""

    name: str
    books: Any
    broker: Any
    unit: str = ""
    is_context: bool = False
    is_money: bool = False

    @property
    def differs(self) -> bool:
        """Whether the sides are not equal."""
        return bool(self.books != self.broker)

    @property
    def difference(self) -> str:
        """Broker − books, signed; "" where that is no number."""
        if isinstance(self.books, Decimal) and isinstance(self.broker, Decimal) and self.differs:
            difference = self.broker - self.books
            return values.signed_money(difference) if self.is_money else values.signed_number(difference)
        return ""

    @property
    def tone(self) -> str:
        """The colour that repeats the sign of the difference."""
        if not self.difference:
            return ""
        return "more" if self.broker > self.books else "less"

    @property
    def sides(self) -> list[SafeString]:
        """Both values as a page shows them."""
        return [self._side(self.books), self._side(self.broker)]

    def _side(self, value: Any) -> SafeString:
        return values.amount(value) if self.is_money and isinstance(value, Decimal) else values.show(value)


def rows(case: Discrepancy) -> list[Row]:
    """What differs, and beside it what the account looks like in both."""
    ours, theirs = _body(case.last_run.books_snapshot), _body(case.last_run.broker_snapshot)
    shown = [Row(_name(case), case.books_value, case.broker_value, case.commodity, is_money=is_money(case))]
    if case.books_value is None and case.broker_value is None:
        shown = _order_rows(case, ours, theirs) or []
    if case.instrument is not None and ours and theirs:
        shown += _position_rows(case, ours, theirs)
    if ours and theirs:
        shown += [row for row in _cash_rows(case, ours, theirs) if is_about_cash(case) or _explained(case, row)]
    return shown


def _name(case: Discrepancy) -> str:
    if case.kind == "COST_BASIS":
        return "Average price"
    if case.instrument is not None:
        return "Quantity"
    return "Cash" if case.commodity else "Value"


def _body(snapshot: Snapshot | None) -> dict[str, Any]:
    return json.loads(snapshot.body) if snapshot is not None else {}


def _number(value: Any) -> Any:
    """A number out of JSON; text that is none stays text."""
    if not isinstance(value, str):
        return value
    try:
        return parse_decimal(value)
    except BadNumber:
        return value


def _broker_name(symbol: str, ours: dict[str, Any]) -> str:
    rule = ours.get("instruments", {}).get(symbol)
    return str(rule["broker_symbol"]) if rule else symbol


def _position_rows(case: Discrepancy, ours: dict[str, Any], theirs: dict[str, Any]) -> list[Row]:
    symbol = case.instrument.symbol if case.instrument is not None else ""
    name = _broker_name(symbol, ours)
    mine: dict[str, Any] = next((p for p in ours.get("positions", []) if p["instrument"] == symbol), {})
    held = [p for p in theirs.get("positions", []) if p["instrument"] == name]
    quote = case.instrument.quote if case.instrument is not None else ""
    shown = []
    if case.kind == "COST_BASIS":
        net = sum((_signed(position) for position in held), ZERO)
        shown.append(Row("Quantity", _number(mine.get("quantity")) or ZERO, net, symbol, True))
    elif len(held) <= 1:
        price = _number(held[0]["average_price"]) if held else None
        shown.append(Row("Average price", _number(mine.get("average_price")), price, quote, True))
    names = {order["client_id"] for order in theirs.get("orders", [])}
    working = [o for o in ours.get("orders", []) if o["instrument"] == symbol and _may_rest(o, names)]
    resting = [order for order in theirs.get("orders", []) if order["instrument"] == name]
    shown.append(Row("Working orders", Decimal(len(working)), Decimal(len(resting)), "", True))
    return shown


def _may_rest(order: dict[str, Any], at_broker: set[str]) -> bool:
    """Whether our order is one that the broker should show as working."""
    return order["state"] in ("WORKING", "PARTIAL", "CANCELLING", "UNKNOWN") or order["client_id"] in at_broker


def _signed(position: dict[str, Any]) -> Decimal:
    quantity = parse_decimal(position["quantity"])
    return quantity if position["side"] == "BUY" else -quantity


def _cash_rows(case: Discrepancy, ours: dict[str, Any], theirs: dict[str, Any]) -> list[Row]:
    currencies = sorted(set(ours.get("cash", {})) | set(theirs.get("cash", {})))
    own = case.commodity if case.kind == Kind.CASH_UNEXPLAINED else ""  # the first row, whatever the case is called
    return [
        Row(
            f"Cash {currency}",
            _number(ours.get("cash", {}).get(currency)),
            _number(theirs.get("cash", {}).get(currency)),
            currency,
            is_context=True,
            is_money=True,
        )
        for currency in currencies
        if currency != own
    ]


def _explained(case: Discrepancy, row: Row) -> bool:
    """Whether the case's own fills moved the cash that differs: what another case is about is not shown here."""
    fills = [fill for fill in case.evidence.get("evidence", {}).get("fills", []) if isinstance(fill, dict)]
    moved = sum((parse_decimal(fill.get(part) or "0") for fill in fills for part in MOVES_CASH), ZERO)
    if row.unit != case.account.currency or not isinstance(row.books, Decimal) or not isinstance(row.broker, Decimal):
        return False
    return moved != 0 and row.broker - row.books == moved


def _order_rows(case: Discrepancy, ours: dict[str, Any], theirs: dict[str, Any]) -> list[Row]:
    """The order that a case is about, ours beside the broker's."""
    evidence = case.evidence.get("evidence", {})
    wanted = evidence.get("order")
    mine = next((o for o in ours.get("orders", []) if wanted and o["order_id"] == wanted), None)
    named = {str(evidence.get("broker_order") or ""), *(str(n) for n in evidence.get("broker_orders", []))} - {""}
    client_id = mine["client_id"] if mine else ""
    other = next(
        (
            o
            for o in theirs.get("orders", [])
            if o["broker_order_id"] in named or (client_id and o["client_id"] == client_id)
        ),
        None,
    )
    if mine is None and other is None:
        return []
    return [
        Row(name, _number((mine or {}).get(ours_key)), _number((other or {}).get(theirs_key)))
        for name, ours_key, theirs_key in ORDER_ROWS
    ]
