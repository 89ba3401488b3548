"""The hash chain: every fact is as it was written, in the order in which it was, and none is outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trading.selectors import chain

from .registry import Invariant, Offence

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper


def _broken(cursor: CursorWrapper) -> Iterator[Offence]:
    """What `verify_chain` finds, anchors apart: those lie outside the database."""
    for finding in chain.findings(cursor):
        at = "" if finding.block is None else f" (block {finding.block})"
        rows = str(finding.row if finding.row is not None else finding.block or "")
        if finding.last_row not in (None, finding.row):
            rows = f"{finding.row}-{finding.last_row}"
        yield Offence(None, finding.table or "chain", rows or "?", f"{finding.problem}{at}")


INVARIANTS = (
    Invariant(
        id="I-58",
        title="The hash chain is whole",
        rule="Blocks are numbered without a gap, each follows the one before and is what its hash was made of, the "
        "head is the last one, every sealed row is as it was written, and no row of a sealed table is in no block.",
        means="facts were changed, removed or added behind the application's back",
        todo="stop everything that writes; run `verify_chain`, and follow docs/operations.md, "
        '"When verify_chain finds something"',
        looks_at="SELECT NULL::bigint AS account_id FROM trading_chainblock",
        find=_broken,
    ),
)
