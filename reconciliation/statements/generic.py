"""The documented CSV of our own, for every broker whose statements have no reader here: docs/statements.md.

What always holds here: pure; the notes before the header say what it is, of whom, and from when to when; a column that
is not known is refused, so that nothing of a file is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping

from trading.domain.money import ZERO

from .cells import Row
from .document import About, BadStatement, Covers, Draft, Line
from .text import Table

NAME = "generic-csv"
NOTES = ("statement", "account", "currency", "first_day", "last_day", "opening", "closing")
NEEDED_NOTES = ("statement", "account", "currency", "first_day", "last_day")
COLUMNS = ("id", "order", "time", "instrument", "side", "product", "quantity", "price", "amount", "currency")


def fits(table: Table) -> bool:
    """Whether a CSV file is one of these."""
    return "statement" in table.notes


def read(table: Table, about: About) -> Draft:
    """What the file says. Raises `BadStatement`."""
    notes = _notes(table.notes)
    unknown = [name for name in table.columns if name not in COLUMNS]
    if unknown or "time" not in table.columns:
        wrong = f"the column {unknown[0]!r:.40} is not known" if unknown else "the column time is missing"
        raise BadStatement(f"In the header {wrong}; the columns are {', '.join(COLUMNS)}.")
    covers = notes.text("statement").upper()
    if covers not in set(Covers):
        raise notes.bad("statement", f"{covers!r:.40} is none of {', '.join(Covers)}.")
    currency = notes.currency("currency", "")
    return Draft(
        covers=Covers(covers),
        format=NAME,
        lines=[_line(Row(number, cells), Covers(covers), currency, about) for number, cells in table.rows],
        account_id=notes.needed("account"),
        currency=currency,
        first_day=notes.day("first_day"),
        last_day=notes.day("last_day"),
        whole_days=True,
        opening=notes.number("opening"),
        closing=notes.number("closing"),
    )


def _notes(notes: Mapping[str, tuple[int, str]]) -> Row:
    for name, (line, _) in notes.items():
        if name not in NOTES:
            raise BadStatement(f"the note {name!r:.40} is not known; the notes are {', '.join(NOTES)}.", line=line)
    for name in NEEDED_NOTES:
        if name not in notes:
            raise BadStatement(f"The note '# {name}: …' is missing before the header.")
    return Row(min(line for line, _ in notes.values()), {name: value for name, (_, value) in notes.items()})


def _line(row: Row, covers: Covers, currency: str, about: About) -> Line:
    at = row.moment("time", about)
    side = row.side("side") if row.text("side") else ""
    if not side and row.text("quantity"):
        raise row.bad("side", "a quantity needs a side.")
    needs_price = side and covers is not Covers.POSITIONS
    price = row.above_zero("price") if needs_price or row.text("price") else None
    amount = row.number("amount")
    if not side and amount == ZERO:
        raise row.bad("amount", "a movement of nothing is none.")
    return Line(
        number=row.line,
        at=at,
        day=about.day(at),
        currency=row.currency("currency", currency),
        external_id=row.text("id"),
        order_id=row.text("order"),
        instrument=row.needed("instrument", most=40) if side else row.text("instrument", most=40),
        side=side,
        product=row.text("product", most=20),
        quantity=row.above_zero("quantity") if side else None,
        price=price,
        amount=amount,
        raw=dict(row.cells),
    )
