"""The rows of an answer, whatever the dialect, and what ordered faults do to them on the wire.

What always holds here: an answer is never changed in place, because its rows are the broker's own.
"""

from __future__ import annotations

import copy
from typing import Any

_LISTS = ("transactions", "orders", "trades", "positions", "bars", "data", "net", "day")


def rows_of(body: Any) -> list[list[Any]]:
    """The lists of rows in the body of an answer: the body itself, or its lists of history, orders and positions."""
    if isinstance(body, list):
        return [body]
    if not isinstance(body, dict):
        return []
    places = [body, *(inner for inner in (body.get("changes"), body.get("data")) if isinstance(inner, dict))]
    return [place[key] for place in places for key in _LISTS if isinstance(place.get(key), list)]


def duplicated(body: Any) -> Any:
    """The same answer with each row twice."""
    found = copy.deepcopy(body)
    for rows in rows_of(found):
        rows[:] = [row for row in rows for _ in range(2)]
    return found


def reordered(body: Any) -> Any:
    """The same answer with its rows the other way round."""
    found = copy.deepcopy(body)
    for rows in rows_of(found):
        rows.reverse()
    return found


def planted(body: Any, path: str, value: Any) -> Any:
    """The same answer with the members at a dotted path replaced; `*` is every row of a list or every member.

    A member of an object is set even if it was not there, but no object or row is made on the way to it.
    """
    found = copy.deepcopy(body)
    places: list[Any] = [found]
    *parents, last = path.split(".")
    for part in parents:
        places = [place[key] for place in places for key in _keys(place, part)]
    for place in places:
        if isinstance(place, dict) and last != "*":
            place[last] = copy.deepcopy(value)
        else:
            for key in _keys(place, last):
                place[key] = copy.deepcopy(value)
    return found


def _keys(place: Any, part: str) -> list[Any]:
    """The keys or indices of a container that one part of a path means."""
    if isinstance(place, dict):
        return list(place) if part == "*" else [part] if part in place else []
    if not isinstance(place, list):
        return []
    if part == "*":
        return list(range(len(place)))
    index = int(part) if part.lstrip("-").isdecimal() else len(place)
    return [index] if -len(place) <= index < len(place) else []
