"""Requests and answers of the dialect, free of any web server, so that a stored request can be acted on again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from .render import Wire


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `query` is the raw query string, `body` the raw text."""

    method: str
    path: str
    query: str = ""
    body: str = ""

    def parameters(self) -> dict[str, str]:
        """Query parameters; a repeated one is joined with commas."""
        found: dict[str, str] = {}
        for key, value in parse_qsl(self.query, keep_blank_values=True):
            found[key] = f"{found[key]},{value}" if key in found else value
        return found

    def json(self) -> Wire:
        """The body as an object. Raises Refusal when it is not one."""
        try:
            found = json.loads(self.body, parse_float=str, parse_constant=_no_constant) if self.body else {}
        except (ValueError, RecursionError):
            raise Refusal(400, "Invalid JSON, ParseErrorCode: 1, Message: The document is not valid.") from None
        if not isinstance(found, dict):
            raise Refusal(400, "The request body must be a JSON object.")
        return found


@dataclass(slots=True)
class Answer:
    """What goes back: status, JSON body, headers."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    outcome: str = ""


class Refusal(Exception):
    """An error answer without a transaction."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code

    def answer(self) -> Answer:
        """As it goes over the wire."""
        body = {"errorMessage": self.message}
        if self.code:
            body = {"errorCode": self.code, **body}
        return Answer(self.status, body)


class Rejection(Exception):
    """An error answer with a reject transaction, which takes an id. `reason` is the broker's code."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def without_nulls(value: Any) -> Any:
    """The same JSON with every null member left out."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
