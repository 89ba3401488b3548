"""What orders need and what an account can spend: margins, premiums, shares to deliver.

What always holds here: a working order keeps what it would need set aside; what reduces a position needs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from ..core.model import Account, Order
from ..core.numbers import ZERO
from ..core.world import World
from .books import pays_in_full
from .contracts import CALL, CONTRACTS
from .facts import CNC, facts, held, in_book, product_of

_PAISA = Decimal("0.01")


def margin_on(name: str, product: str, units: Decimal, price: Decimal) -> Decimal:
    """What holding `units` (signed) at a price takes out of the spendable cash, besides what was paid for them."""
    contract = CONTRACTS[name]
    if contract.kind == CALL:
        worth = abs(units) * contract.strike if units < 0 else ZERO
    else:
        worth = ZERO if product == CNC else abs(units) * price
    return (worth * contract.item.margin_rate).quantize(_PAISA, rounding=ROUND_UP)


def need_of(account: Account, name: str, product: str, units: Decimal, price: Decimal) -> Decimal:
    """What trading `units` (signed) at a price would need."""
    now = held(account, name, product)
    opens = units if now * units >= 0 else max(ZERO, abs(units) - abs(now)).copy_sign(units)
    paid = opens * price if opens > 0 and pays_in_full(name, product) else ZERO
    return paid + margin_on(name, product, opens, price)


def reckoned_price(world: World, name: str, units: Decimal, price: Decimal, trigger: Decimal) -> Decimal:
    """The price at which an order is reckoned: its own, or the market's."""
    if price or trigger:
        return price or trigger
    quote = world.quote(name)
    if quote is None:
        return CONTRACTS[name].item.around
    return quote.ask if units > 0 else quote.bid


def set_aside(world: World, account: Account, order: Order) -> Decimal:
    """What a working order keeps for itself."""
    now = facts(order).now
    price = reckoned_price(world, order.instrument, order.units, now.price, now.trigger_price)
    return need_of(account, order.instrument, facts(order).product, order.remaining, price)


@dataclass(frozen=True, slots=True)
class Funds:
    """An account's money: its cash, what positions and working orders keep of it, and what is left."""

    cash: Decimal
    positions: Decimal
    orders: Decimal

    @property
    def available(self) -> Decimal:
        """What new orders may use."""
        return self.cash - self.positions - self.orders


def funds(world: World, account: Account, without: Order | None = None) -> Funds:
    """The account's money at this moment; `without` leaves out what one order keeps."""
    kept = sum(
        (margin_on(one.instrument, product_of(one), one.units, one.price) for one in account.open_trades()), ZERO
    )
    working = [one for one in account.pending_orders() if in_book(one) and one is not without]
    return Funds(account.cash, kept, sum((set_aside(world, account, one) for one in working), ZERO))


def deliverable(account: Account, name: str, without: Order | None = None) -> Decimal:
    """Shares that can still be sold for delivery: what is held less what working orders sell."""
    selling = sum(
        (
            abs(one.remaining)
            for one in account.pending_orders()
            if in_book(one) and one is not without and one.instrument == name
            if one.units < 0 and facts(one).product == CNC
        ),
        ZERO,
    )
    return max(ZERO, held(account, name, CNC)) - selling
