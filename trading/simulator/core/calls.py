"""Requests and answers, free of any web server, so that a stored request can be acted on again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl


class BadBody(Exception):
    """The body of a request is not the JSON object that it must be."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `query` is the raw query string, `body` the raw text."""

    method: str
    path: str
    query: str = ""
    body: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it could change anything."""
        return self.method in ("POST", "PUT", "PATCH", "DELETE")

    def parameters(self) -> dict[str, str]:
        """Query parameters; a repeated one is joined with commas."""
        found: dict[str, str] = {}
        for key, value in parse_qsl(self.query, keep_blank_values=True):
            found[key] = f"{found[key]},{value}" if key in found else value
        return found

    def json(self) -> dict[str, Any]:
        """The body as an object, its fractions as text. Raises BadBody when it is not one."""
        try:
            found = json.loads(self.body, parse_float=str, parse_constant=_no_constant) if self.body else {}
        except (ValueError, RecursionError):
            raise BadBody("Invalid JSON, ParseErrorCode: 1, Message: The document is not valid.") from None
        if not isinstance(found, dict):
            raise BadBody("The request body must be a JSON object.")
        return found


@dataclass(slots=True)
class Answer:
    """What goes back: status, JSON body (None for no body at all), headers.

    `outcome` is the journal's word for what came of the request.
    """

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    outcome: str = ""


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
