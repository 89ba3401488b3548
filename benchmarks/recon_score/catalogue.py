"""What a fault is: who makes it, where it can be made, what it touches, and the cases that must come of it.

What always holds: what must be found follows from the table of kinds and from the rules written here, never from what
the comparison says:
 1. one thing that differs is one case, under the kind that the table gives it;
 2. of one instrument there is one case about units; it covers the cost, and the protection of units that the broker
    does not hold;
 3. what a fill that is not booked moved of cash belongs to its case; cash is a case of its own only where no stored
    event moves it;
 4. what the broker's history tells us and our books follow is no difference at all;
 5. a difference that one run sees and the next does not is never opened.
Two faults are planted together only where they touch different things; then each must be found as if alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.recon_score.house import House
from reconciliation.domain.kinds import Kind

Wanted = set[tuple[Kind, str]]
Plant = Callable[[House, str], Wanted]
EVERY = ("oanda", "alpaca", "kite")
HELD, FREE = ("first", "second"), ("free",)
# Things of which an account has one; what touches `everything` is planted alone.
OF_ALL = frozenset({"cash", "answers", "everything", "free units", "others"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. `touches` are units, stop, target or order of its role, or things of the whole account.

    `on_wire` says that something happens at the broker when it is planted.
    """

    name: str
    by: str
    plant: Plant
    roles: tuple[str, ...]
    touches: tuple[str, ...]
    brokers: tuple[str, ...]
    on_wire: bool

    def things(self, role: str) -> frozenset[str]:
        """What it touches when it is planted on a role."""
        return frozenset(each if each in OF_ALL else f"{role} {each}" for each in self.touches)


FAULTS: dict[str, Fault] = {}


def fault(
    by: str,
    *touches: str,
    roles: tuple[str, ...] = HELD,
    brokers: tuple[str, ...] = EVERY,
    sends: bool = False,
) -> Callable[[Plant], Plant]:
    """Add a plant to the catalogue, under its own name. `by` is `broker` or `books`: whose side is made to differ."""

    def add(plant: Plant) -> Plant:
        name = plant.__name__
        FAULTS[name] = Fault(name, by, plant, roles, touches, brokers, sends or by == "broker")
        return plant

    return add


def of(broker: str) -> list[Fault]:
    """The faults that can be planted at a broker."""
    return [each for each in FAULTS.values() if broker in each.brokers]


def together(broker: str) -> list[tuple[Fault, str, Fault, str]]:
    """Every two faults of a broker that touch different things, each with its role; one fault on two roles included."""
    placed = [(each, role) for each in of(broker) for role in each.roles if "everything" not in each.touches]
    return [
        (one, here, other, there)
        for index, (one, here) in enumerate(placed)
        for other, there in placed[index + 1 :]
        if not one.things(here) & other.things(there)
    ]


def shares_instrument(pair: tuple[Fault, str, Fault, str]) -> bool:
    """Whether both faults of a pair are about the same instrument."""
    one, here, other, there = pair
    return here == there and not any(set(each.touches) <= OF_ALL for each in (one, other))
