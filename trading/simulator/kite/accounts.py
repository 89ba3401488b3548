"""Account endpoints: who it is, what it has to spend, what orders would need.

What always holds here: `available.cash` is the account's cash itself; `net` and `live_balance` are what new orders may
use; everything is in the equity segment, the commodity segment is empty.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ..core.calls import Answer, Call
from ..core.model import Account
from ..core.numbers import ZERO
from ..core.world import World
from .answers import bad_input, success
from .contracts import CONTRACTS, EQUITY
from .facts import line_key, product_of
from .parse import MARKET, ORDER_TYPES, PRODUCTS, SIDES, amount, choice, contract_of, json_rows, text_in, whole
from .power import funds, margin_on, need_of, reckoned_price
from .render import Wire, figure
from .routes import ONE, Route
from .session import profile
from .venue import KiteVenue

SEGMENTS = ("equity", "commodity")


class AccountCalls:
    """The account endpoints of one simulator."""

    def __init__(self, world: World, venue: KiteVenue) -> None:
        self.world, self.venue = world, venue

    def routes(self) -> list[Route]:
        """The doors."""
        return [
            ("GET", "/user/profile", self.profile),
            ("GET", "/user/margins", self.margins),
            ("GET", f"/user/margins{ONE}", self.segment),
            ("POST", "/margins/orders", self.order_margins),
            ("POST", "/margins/basket", self.basket_margins),
        ]

    def profile(self, account: Account, call: Call) -> Answer:
        """GET /user/profile."""
        return success(profile(account))

    def margins(self, account: Account, call: Call) -> Answer:
        """GET /user/margins."""
        return success({name: self._segment(account, name) for name in SEGMENTS})

    def segment(self, account: Account, call: Call, name: str) -> Answer:
        """GET /user/margins/{segment}."""
        if name not in SEGMENTS:
            raise bad_input("Invalid `segment`.")
        return success(self._segment(account, name))

    def _segment(self, account: Account, name: str) -> Wire:
        zeros: dict[str, Decimal] = dict.fromkeys(
            (
                "debits", "exposure", "m2m_realised", "m2m_unrealised", "option_premium", "payout", "span",
                "holding_sales", "turnover", "liquid_collateral", "stock_collateral", "equity", "delivery",
            ),
            ZERO,
        )  # fmt: skip
        there = dict.fromkeys(
            ("adhoc_margin", "cash", "opening_balance", "live_balance", "collateral", "intraday_payin"), ZERO
        )
        if name == "equity":
            money, opening = funds(self.world, account), self.venue.book(account).opening
            there |= {"cash": money.cash, "opening_balance": opening, "live_balance": money.available}
            span = sum(
                (
                    margin_on(one.instrument, product_of(one), one.units, one.price)
                    for one in account.open_trades()
                    if CONTRACTS[one.instrument].kind != EQUITY
                ),
                ZERO,
            )
            zeros |= {
                "debits": opening - money.available,
                "exposure": money.positions - span,
                "span": span,
                "m2m_unrealised": self._unrealised(account),
            }
        return {
            "enabled": name == "equity",
            "net": figure(there["live_balance"]),
            "available": {key: figure(value) for key, value in there.items()},
            "utilised": {key: figure(value) for key, value in zeros.items()},
        }

    def _unrealised(self, account: Account) -> Decimal:
        """What today's positions would realise at the present price."""
        found, lines = ZERO, self.venue.book(account).lines
        for trade in account.open_trades():
            quote = self.world.quote(trade.instrument)
            if quote is not None and line_key(trade.instrument, product_of(trade)) in lines:
                found += trade.units * (CONTRACTS[trade.instrument].item.price(quote.mid) - trade.price)
        return found

    # what orders would need

    def order_margins(self, account: Account, call: Call) -> Answer:
        """POST /margins/orders."""
        return success([self._need(account, row)[0] for row in json_rows(call)])

    def basket_margins(self, account: Account, call: Call) -> Answer:
        """POST /margins/basket."""
        found = [self._need(account, row) for row in json_rows(call)]
        total = {"total": figure(sum((need for _, need in found), ZERO))}
        return success({"initial": total, "final": total, "orders": [row for row, _ in found], "charges": _charges()})

    def _need(self, account: Account, row: dict[str, Any]) -> tuple[Wire, Decimal]:
        contract = contract_of(text_in(row, "exchange"), text_in(row, "tradingsymbol"))
        side, product = choice(row, "transaction_type", SIDES), choice(row, "product", PRODUCTS)
        choice(row, "order_type", ORDER_TYPES, MARKET)
        size, name = Decimal(whole(row, "quantity", 1)), contract.item.name
        units = size if side == "BUY" else -size
        own = amount(row, "price") or ZERO
        price = reckoned_price(self.world, name, units, own, amount(row, "trigger_price") or ZERO)
        need = need_of(account, name, product, units, price)
        equity = contract.kind == EQUITY
        wire: Wire = {
            "type": "equity",
            "tradingsymbol": contract.symbol,
            "exchange": contract.exchange,
            "span": 0 if equity else figure(need),
            "exposure": 0,
            "option_premium": 0,
            "additional": 0,
            "bo": 0,
            "cash": 0,
            "var": figure(need) if equity else 0,
            "pnl": {"realised": 0, "unrealised": 0},
            "leverage": 5 if equity and product == "MIS" else 1,
            "charges": _charges(),
            "total": figure(need),
        }
        return wire, need


def _charges() -> Wire:
    """This broker charges nothing by itself: fees are booked from outside."""
    return {
        "transaction_tax": 0, "transaction_tax_type": "stt", "exchange_turnover_charge": 0, "sebi_turnover_charge": 0,
        "brokerage": 0, "stamp_duty": 0, "gst": {"igst": 0, "cgst": 0, "sgst": 0, "total": 0}, "total": 0,
    }  # fmt: skip
