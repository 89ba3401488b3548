"""The cells of the crash matrix: where a process is struck, how, at which broker and over what kind of work.

What always holds here: pure data; each point, mode, broker and kind has one name, which is also what the table shows; a
broker joins by its name in `BROKERS` (its place in `tests.faults.places` says how it is spoken to).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# What each point means; the points in whose midst the process holds a transaction open stand in `HOLDING`.
POINTS = {
    "decided": "the decision (exit, cancel) is written, its transaction not committed",
    "intent_committed": "the order (the cancel) is committed, nobody has taken it",
    "claimed": "somebody has taken it under a lease (a cancel: is asking again)",
    "before_send": "everything is ready, no byte has left",
    "after_send": "the broker has acted, its answer is not read",
    "after_response": "the answer is read, nothing of it is stored",
    "before_store": "the answer is written, its transaction not committed",
    "stored": "the answer is committed, the broker's events are not fetched",
    "events_read": "the broker's events are read, none is booked",
    "entry_written": "the fill's entry is in the ledger, trade and position are not, nothing is committed",
    "booked": "the booking is committed, nobody knows of it yet",
    "looked_up": "the request (the cancel: its answer) was lost; the look-up has its result and has not acted on it",
    "swept": "a round of the watcher has begun its work",
    "before_ack": "all is done, Celery has no acknowledgement",
}
HOLDING = frozenset({"decided", "before_store", "entry_written"})
MODES = ("kill", "stop", "raise")
KINDS = ("entry", "exit", "cancel", "oco")
BROKERS = ("oanda", "alpaca", "kite")
# Where an order that may never have arrived is not sent again by itself: it stays UNKNOWN until people decide.
NEVER_SENT_AGAIN = frozenset({"kite"})
# The points at which nobody can know that an order was never sent.
LOST = frozenset({"claimed", "before_send", "looked_up"})


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One run: at this broker, over this kind of work, struck at this point in this way."""

    broker: str
    kind: str
    mode: str
    point: str

    def __post_init__(self) -> None:
        """Refuse a name that is none."""
        if self.kind not in KINDS or self.mode not in MODES or self.point not in POINTS:
            raise ValueError(f"there is no cell {self}")

    def __str__(self) -> str:
        return f"{self.broker} {self.kind} {self.point}:{self.mode}"

    @property
    def name(self) -> str:
        """For rows and files."""
        return f"{self.broker}-{self.kind}-{self.point}-{self.mode}".replace("_", "-")

    @property
    def waits_for_people(self) -> bool:
        """Whether it is struck where nobody can know that nothing was sent, at a broker that is not asked twice.

        A bracket is struck there over the cancel of its sibling, which is asked again; only its exit may be lost.
        """
        lost = {"entry": LOST, "exit": LOST, "oco": {"looked_up"}, "cancel": frozenset[str]()}[self.kind]
        return self.broker in NEVER_SENT_AGAIN and self.point in lost

    @property
    def freezes_the_books(self) -> bool:
        """A process that is frozen with an open transaction keeps everybody from writing: it needs books of its own."""
        return self.mode == "stop" and self.point in HOLDING


def all_cells(brokers: Sequence[str] = BROKERS) -> list[Cell]:
    """The whole matrix."""
    return [Cell(b, kind, mode, point) for b in brokers for kind in KINDS for mode in MODES for point in POINTS]


def slice_of(brokers: Sequence[str] = BROKERS) -> list[Cell]:
    """Few cells that have every point, mode, and kind at each broker in them, and one that freezes the books."""
    cells = []
    for number, point in enumerate(POINTS):
        mode = MODES[(number + number // len(MODES)) % len(MODES)]
        if mode == "stop" and point in HOLDING and point != "entry_written":
            mode = "kill"
        turn, broker = divmod(number, len(brokers))
        kind = KINDS[(turn + broker) % len(KINDS)]
        cells.append(Cell(brokers[broker], kind, "stop" if point == "entry_written" else mode, point))
    return cells


def batches(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Cells that can run at once on the same books: alone where the books freeze, else as many as there are points.

    Those that are struck in the same way at the same broker are together, where there are that many.
    """
    together = sorted((cell for cell in cells if not cell.freezes_the_books), key=lambda c: (c.mode, c.broker, c.kind))
    for start in range(0, len(together), len(POINTS)):
        yield together[start : start + len(POINTS)]
    yield from ([cell] for cell in cells if cell.freezes_the_books)
