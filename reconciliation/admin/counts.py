"""What a run counted, in the order of a case's life, and the columns of its proof."""

from decimal import Decimal
from typing import Any

COUNTED = (
    "findings", "suspected", "opened", "reopened", "accepted", "flattened", "closed", "cleared", "linked",
    "broker_positions", "books_positions",
)  # fmt: skip
PROOF_COLUMNS = ("Commodity", "Broker", "Books", "Explained", "Unexplained", "Holds")


def numbers_of(counts: dict[str, Any]) -> list[tuple[str, Decimal]]:
    """The counts in the order of a case's life."""
    return [(name.replace("_", " "), Decimal(counts[name])) for name in COUNTED if name in counts]


def counts_text(counts: dict[str, Any]) -> str:
    """`findings 2, opened 1`: what is not zero."""
    return ", ".join(f"{name} {count}" for name, count in numbers_of(counts) if count) or "nothing"
