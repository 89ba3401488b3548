"""The judge of `make soak-orders`: the simulators' journals against the books.

What always holds: the journal alone says what happened at a broker; our rows are compared with it, to the last digit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.faults.world import World


def judge(worlds: Sequence[World]) -> dict[str, Any]:
    """What the journal says of our orders and fills, and what the books say."""
    from trading.models import Fill, Order, OrderAlias

    figures: dict[str, Any] = {
        "duplicates": [],
        "strangers": [],
        "fills_lost": [],
        "fills_invented": [],
        "differences": [],
        "fills": 0,
        "orders_at_broker": 0,
    }
    states: Counter[str] = Counter()
    planned = sent = 0
    for world in worlds:
        rows = [row for row in world.simulator.journal() if row["account"] == world.place.account]
        ours = dict(Order.objects.filter(account=world.account).values_list("client_order_id", "state"))
        entries = Order.objects.filter(account=world.account, tag="ENTRY")
        told = dict(entries.values_list("client_order_id", "state"))
        states.update(told.values())
        copies: dict[str, set[str]] = {}
        there = {row["data"]["id"]: row["data"]["client_id"] for row in rows if row["kind"] == "order"}
        for number, name in there.items():
            if name in ours:
                copies.setdefault(name, set()).add(number)
        # Nobody else trades there: every order is one of ours, under the id that it has or had.
        known = set(Order.objects.filter(account=world.account).values_list("broker_order_id", flat=True))
        known |= set(OrderAlias.objects.filter(account=world.account).values_list("broker_order_id", flat=True))
        figures["strangers"] += sorted(f"{world.account.name} {number}" for number in there.keys() - known)
        planned, sent = planned + len(told), sent + len(told.keys() & copies.keys())
        figures["duplicates"] += sorted(name for name, ids in copies.items() if len(ids) > 1)
        theirs = {fill[:3] for fill in world.fills()}
        booked = set(Fill.objects.filter(account=world.account).values_list("external_id", "quantity", "price"))
        figures["fills_lost"] += sorted(str(fill) for fill in theirs - booked)
        figures["fills_invented"] += sorted(str(fill) for fill in booked - theirs)
        figures["fills"] += len(theirs)
        figures["orders_at_broker"] += len(there)
        figures["differences"] += world.differences()
    figures["states"] = dict(states)
    figures["sent_share"] = round(sent / planned, 3) if planned else 0.0
    return figures
