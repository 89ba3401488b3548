"""The errors of the dialect: a status, the broker's code and a sentence, sometimes with figures beside them."""

from __future__ import annotations

from typing import Any

from ..core.calls import Answer

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, UNPROCESSABLE = 40010001, 40110000, 40310000, 40410000, 42210000


class Refusal(Exception):
    """An error answer. `more` stands beside code and message, as the broker's own figures do."""

    def __init__(self, status: int, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.more = status, code, message, more

    def body(self) -> dict[str, Any]:
        """The error as it goes over the wire."""
        return {**self.more, "code": self.code, "message": self.message}

    def answer(self) -> Answer:
        """The whole answer."""
        return Answer(self.status, self.body())


def malformed(message: str) -> Refusal:
    """A parameter that cannot be read, or a client order id that was used before."""
    return Refusal(422, BAD_REQUEST, message)


def unprocessable(message: str, **more: Any) -> Refusal:
    """Parameters that can be read but do not fit together, or not to the order's state."""
    return Refusal(422, UNPROCESSABLE, message, **more)


def forbidden(message: str, **more: Any) -> Refusal:
    """Too little buying power, too few shares, or a change that changes nothing."""
    return Refusal(403, FORBIDDEN, message, **more)


def not_found(message: str) -> Refusal:
    """Nothing of that name or id."""
    return Refusal(404, NOT_FOUND, message)
