"""How many requests may leave for one account: a token bucket whose last part only risk reduction may use.

What always holds: the general lane never takes the reserved tokens, so cancels and closes of a kill find room even
while polls saturate the account; a broker's "too many requests" silences the general lane, never the reserved one.
The bucket is this process's own; the caps leave room for the desk's few processes.
"""

from __future__ import annotations

import threading
import time
from typing import Literal

Lane = Literal["general", "reduce"]


class RateBudget:
    """Tokens refilled at `per_second` up to `burst`; the last `reserve` of them are for the lane "reduce"."""

    def __init__(self, *, per_second: float, burst: int, reserve: int) -> None:
        if not 0 <= reserve < burst or per_second <= 0:
            raise ValueError("a budget needs a positive rate and a reserve smaller than its burst")
        self._per_second = per_second
        self._burst = float(burst)
        self._reserve = float(reserve)
        self._tokens = float(burst)
        self._refilled = time.monotonic()
        self._quiet_until = 0.0
        self._lock = threading.Lock()

    def take(self, lane: Lane, *, wait: float) -> bool:
        """Take one token, waiting at most `wait` seconds for it. False: the budget is spent, nothing may be sent."""
        deadline = time.monotonic() + wait
        while True:
            delay = self._try(lane)
            if delay <= 0.0:
                return True
            if time.monotonic() + delay > deadline:
                return False
            time.sleep(delay)

    def back_off(self, seconds: float) -> None:
        """Silence the general lane for `seconds`: the broker has said that we ask too much."""
        with self._lock:
            self._quiet_until = max(self._quiet_until, time.monotonic() + seconds)

    def _try(self, lane: Lane) -> float:
        """Seconds until a token may be there; 0 when one was taken."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._refilled) * self._per_second)
            self._refilled = now
            floor = 0.0
            if lane == "general":
                if now < self._quiet_until:
                    return self._quiet_until - now
                floor = self._reserve
            missing = floor + 1.0 - self._tokens
            if missing > 0.0:
                return missing / self._per_second
            self._tokens -= 1.0
            return 0.0


_budgets: dict[str, RateBudget] = {}
_budgets_lock = threading.Lock()


def budget_for(account: str, *, per_second: float, burst: int, reserve: int) -> RateBudget:
    """The one budget of an account in this process, made on first use."""
    with _budgets_lock:
        if account not in _budgets:
            _budgets[account] = RateBudget(per_second=per_second, burst=burst, reserve=reserve)
        return _budgets[account]
