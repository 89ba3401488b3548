"""What our exact rule is measured against: the bare join of the same rows, and pandas, which first has to get them.

What always holds: everybody tells the same three numbers (differing, only at the broker, only in the books) of the same
rows; pandas compares floats, which flatters it, and only the columns that the rule compares leave the database.
"""

from __future__ import annotations

from io import BytesIO

import pandas
from django.db.backends.utils import CursorWrapper

Counts = tuple[int, int, int]

_JOIN = """
    SELECT count(*) FILTER (WHERE b.quantity <> k.quantity OR b.price <> k.price OR b.amount <> k.amount),
           count(*) FILTER (WHERE k.ref IS NULL), count(*) FILTER (WHERE b.ref IS NULL)
    FROM matching_broker b FULL OUTER JOIN matching_books k ON b.external_id = k.external_id"""
_OUT = "COPY (SELECT external_id, key, quantity, price, amount FROM {table}) TO STDOUT (FORMAT csv, HEADER)"
_TERMS = ("quantity", "price", "amount")


def bare_join(cursor: CursorWrapper) -> Counts:
    """One FULL OUTER JOIN on the id that counts, and writes nothing."""
    cursor.execute(_JOIN)
    row: Counts = cursor.fetchone()
    return row


def with_pandas(cursor: CursorWrapper) -> Counts:
    """Both sides out of the database, merged on the id."""
    broker, books = (_frame(cursor, table) for table in ("matching_broker", "matching_books"))
    named, other = broker[broker.external_id.notna()], books[books.external_id.notna()]
    merged = named.merge(other, on=["external_id", "key"], how="outer", suffixes=("", "_books"), indicator="side")
    both = merged[merged.side == "both"]
    unlike = pandas.Series(False, index=both.index)
    for term in _TERMS:
        unlike |= both[term] != both[f"{term}_books"]
    nameless = (len(broker) - len(named), len(books) - len(other))
    return (
        int(unlike.sum()),
        int((merged.side == "left_only").sum()) + nameless[0],
        int((merged.side == "right_only").sum()) + nameless[1],
    )


def _frame(cursor: CursorWrapper, table: str) -> pandas.DataFrame:
    text = BytesIO()
    with cursor.copy(_OUT.format(table=table)) as copy:
        for part in copy:
            text.write(part)
    text.seek(0)
    return pandas.read_csv(text, dtype={"external_id": "str"})
