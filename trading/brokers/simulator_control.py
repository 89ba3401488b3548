"""The simulator's control door: its clock, prices, accounts, journal and faults.

What always holds: it is for replays that drive a simulator of their own and for tests; nothing here can reach a real
broker. Errors are sentences: `BrokerUnreachable` when the simulator gives no usable answer, ValueError when it refuses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import requests

from trading.brokers.budget import RateBudget
from trading.brokers.errors import BadData
from trading.brokers.transport import BrokerSession, read_document
from trading.domain.bars import Bar
from trading.domain.broker import BrokerUnreachable
from trading.domain.money import parse_decimal, plain

CONTROL_TOKEN = "sim-control-token"
# Nobody limits the control door, and a whole history of bars takes a while to be played.
DEADLINE_SECONDS = 30.0
_JOURNAL_PAGE = 5000


class SimulatorControl:
    """A client of the control API at `url` (as http://127.0.0.1:9100)."""

    def __init__(self, url: str, token: str = CONTROL_TOKEN) -> None:
        self.url = url.rstrip("/")
        self._session = BrokerSession(
            budget=RateBudget(per_second=100_000, burst=100_000, reserve=1),
            headers={"X-Control-Token": token},
            secrets=(token,),
            deadline=DEADLINE_SECONDS,
        )

    def journal(self, since: int = 0) -> list[dict[str, Any]]:
        """The rows `{seq, at, kind, account, data}` after `since`."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._ask_any("GET", f"/journal?since={since}&limit={_JOURNAL_PAGE}")
            page = page.get("rows") if isinstance(page, dict) else page  # bare rows, or rows in an envelope
            if not isinstance(page, list):
                raise BrokerUnreachable("The simulator's journal is not a list of rows; is something else on its port?")
            found.extend(page)
            if len(page) < _JOURNAL_PAGE:
                return found
            since = page[-1]["seq"]

    def account(self, account_id: str) -> dict[str, Any]:
        """The truth about one account: cash, positions, orders, trades, last_event_id."""
        return self._ask("GET", f"/accounts/{account_id}")

    def create_account(
        self, *, broker: str, currency: str, cash: Decimal, hedging: bool = False
    ) -> tuple[str, dict[str, str]]:
        """Open an account; its id and credentials."""
        body = {"broker": broker, "currency": currency, "cash": plain(cash), "hedging": hedging}
        answer = self._ask("POST", "/accounts", body)
        return answer["id"], answer["credentials"]

    def reset_account(self, account_id: str) -> None:
        """Make the account fresh: its deposit and nothing else."""
        self._ask("POST", f"/accounts/{account_id}/reset", {})

    def set_price(self, instrument: str, bid: Decimal, ask: Decimal) -> None:
        """Let the market jump to this price."""
        self._ask("POST", "/prices", {"instrument": instrument, "bid": plain(bid), "ask": plain(ask)})

    def play_bars(self, instrument: str, bars: Sequence[Bar], *, half_spread: Decimal | None = None) -> None:
        """Trade these bars through, one after the other; each moves the clock to its end.

        Bid and ask are the mid minus and plus `half_spread`, which stays in force; None leaves the present one.
        """
        rows = [
            {
                "start": _utc(bar.start),
                "interval": bar.interval_seconds,
                "open": plain(bar.open),
                "high": plain(bar.high),
                "low": plain(bar.low),
                "close": plain(bar.close),
                "volume": plain(bar.volume),
            }
            for bar in bars
        ]
        body: dict[str, Any] = {"instrument": instrument, "bars": rows}
        if half_spread is not None:
            body["half_spread"] = plain(half_spread)
        self._ask("POST", "/bars", body)

    def clock(self) -> tuple[datetime, Decimal]:
        """The simulator's time, and how many of its seconds pass in one of the wall."""
        answer = self._ask("GET", "/clock")
        return datetime.fromisoformat(answer["now"]).astimezone(UTC), parse_decimal(answer["speed"])

    def set_clock(self, now: datetime) -> None:
        """Let time pass up to `now`."""
        self._ask("POST", "/clock", {"now": _utc(now)})

    def set_speed(self, speed: Decimal) -> None:
        """How many seconds pass in one second of the wall; 0 stops the clock."""
        self._ask("POST", "/clock", {"speed": plain(speed)})

    def step_clock(self, seconds: Decimal) -> None:
        """Let this many seconds pass."""
        self._ask("POST", "/clock", {"step": plain(seconds)})

    def add_fault(self, **fault: Any) -> dict[str, Any]:
        """Set a fault: broker, route, when, action, times, args."""
        return self._ask("POST", "/faults", fault)

    def clear_faults(self) -> None:
        """Remove every fault."""
        self._ask("DELETE", "/faults")

    def external(self, account_id: str, kind: str, **fields: Any) -> dict[str, Any]:
        """Let something happen on the account that is not ours: trade, cancel, transfer, financing, silent_cash, …"""
        return self._ask("POST", f"/accounts/{account_id}/external", {"kind": kind, **fields})

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = self._ask_any(method, path, body)
        if not isinstance(answer, dict):
            raise BrokerUnreachable(f"The simulator's answer to {method} {path} is not a JSON object.")
        return answer

    def _ask_any(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        self._session.prepare_call("general")
        data = None if body is None else json.dumps(body, allow_nan=False)
        try:
            response = self._session.request(
                method, self.url + path, data=data, headers={"Content-Type": "application/json"}
            )
            exchange = self._session.last
            assert exchange is not None
            answer = {} if response.status_code == 204 else read_document(exchange)
        except (requests.RequestException, BadData) as error:
            raise BrokerUnreachable(
                f"The simulator's control door at {self.url} gave no usable answer to {method} {path}: {error}. "
                "Start it with: manage.py simulator"
            ) from error
        if response.status_code >= 300:
            raise ValueError(f"The simulator refused {method} {path} (status {response.status_code}): {answer}")
        return answer


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
