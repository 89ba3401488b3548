"""The envelope of the dialect: data in a success, a sentence and the name of an exception in an error."""

from __future__ import annotations

from typing import Any

from ..core.calls import Answer

INPUT, ORDER, MARGIN, HOLDING = "InputException", "OrderException", "MarginException", "HoldingException"
TOKEN, GENERAL = "TokenException", "GeneralException"


class Refusal(Exception):
    """An error answer. `error_type` is the name of the exception that clients raise."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error_type, self.message = status, error_type, message

    def answer(self) -> Answer:
        """As it goes over the wire."""
        body = {"status": "error", "message": self.message, "data": None, "error_type": self.error_type}
        return Answer(self.status, body)


def success(data: Any, outcome: str = "") -> Answer:
    """A good answer; `outcome` is the journal's word for a write."""
    return Answer(200, {"status": "success", "data": data}, outcome=outcome)


def bad_input(message: str) -> Refusal:
    """A missing or wrong parameter."""
    return Refusal(400, INPUT, message)


def bad_order(message: str) -> Refusal:
    """An order that is in no state for what is asked."""
    return Refusal(400, ORDER, message)


def no_order() -> Refusal:
    """There is no order of that id today."""
    return Refusal(404, GENERAL, "Couldn't find that `order_id`.")


def bad_token() -> Refusal:
    """The session is over, or never was."""
    return Refusal(403, TOKEN, "Incorrect `api_key` or `access_token`.")
