"""What an invariant is: its number, the rule in words, what a breach means for the money, and how to find breaches.

What always holds here: a check only reads; it names every offending row; and it says how many rows it had to look at,
so that "no breach" can be told from "nothing to look at".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

    Find = Callable[["CursorWrapper"], Iterable["Offence"]]


@dataclass(frozen=True, slots=True)
class Offence:
    """One row that breaks a rule. `account_id` is None where the row belongs to no account."""

    account_id: int | None
    object: str
    id: str
    problem: str


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule that the data can show.

    `rule` is the rule in words, `means` what a breach means for the money, `todo` what to do then. `looks_at` is a
    query for the rows the check looks at, with a column `account_id`. `find` is either a query with the columns
    account_id, object, id, problem, one row an offence, or a function from a cursor to offences.
    """

    id: str
    title: str
    rule: str
    means: str
    todo: str
    looks_at: str
    find: str | Find


def either(*queries: str) -> str:
    """One query from several that find the same kind of breach in different shapes."""
    return " UNION ALL ".join(f"({query})" for query in queries)
