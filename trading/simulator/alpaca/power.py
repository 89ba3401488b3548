"""What an account can still pay for, and which shares it can still sell.

What always holds here: shares are paid in full (a short sale sets the same amount aside); what working orders will
need is set aside when they are taken in; of shares that working orders will sell none is sold twice.
"""

from __future__ import annotations

from decimal import Decimal

from ..core.model import Account
from ..core.numbers import ZERO, plain
from ..core.world import World
from .answers import forbidden
from .facts import facts, position, reserving, set_aside
from .render import held


def reserved(account: Account) -> Decimal:
    """Money set aside for working orders that open positions."""
    total = ZERO
    for order in account.pending_orders():
        known = facts(order)
        if known.opens:
            whole = known.notional if known.notional is not None else abs(order.units) * known.basis
            total += max(ZERO, whole - abs(order.filled) * known.basis)
    return total


def buying_power(world: World, account: Account) -> Decimal:
    """Money that a new order may use."""
    _, short = held(world, account)
    return max(ZERO, account.cash + 2 * short - reserved(account))


def need_power(world: World, account: Account, cost: Decimal, freed: Decimal = ZERO) -> None:
    """Raises Refusal when an order that costs so much is too much; `freed` is what the replaced one sets aside."""
    power = buying_power(world, account) + freed
    if cost > power:
        raise forbidden("insufficient buying power", buying_power=plain(power), cost_basis=plain(cost))


def need_shares(account: Account, name: str, wanted: Decimal, freed: Decimal = ZERO) -> None:
    """Raises Refusal when so many shares cannot be closed beside the working orders."""
    existing, aside = abs(position(account, name)), set_aside(account, name) - freed
    available = max(ZERO, existing - aside)
    if wanted > available:
        raise forbidden(
            f"insufficient qty available for order (requested: {plain(wanted)}, available: {plain(available)})",
            available=plain(available),
            existing_qty=plain(existing),
            held_for_orders=plain(aside),
            related_orders=[order.id for order in reserving(account, name)],
            symbol=name,
        )
