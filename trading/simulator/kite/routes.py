"""What a route of the dialect is: each family of endpoints gives a list of them."""

from __future__ import annotations

from collections.abc import Callable

from ..core.calls import Answer

ONE = "/([^/]+)"
# Called with the account, the call and the parts of the path; raises `answers.Refusal`.
Door = Callable[..., Answer]
# Method, path as a regular expression, door.
Route = tuple[str, str, Door]
