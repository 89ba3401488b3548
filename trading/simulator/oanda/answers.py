"""The errors of the dialect, and what its bodies leave out."""

from __future__ import annotations

from typing import Any

from ..core.calls import Answer, Call

__all__ = ["Answer", "Call", "Refusal", "Rejection", "without_nulls"]


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


def without_nulls(value: Any) -> Any:
    """The same JSON with every null member left out."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
