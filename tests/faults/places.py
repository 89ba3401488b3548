"""The brokers at which fault tests trade: what is traded there, at which prices, and how its wire names things."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from trading.brokers.kite_parse import day_of
from trading.brokers.registry import SIMULATOR_ALPACA_ACCOUNT, SIMULATOR_KITE_ACCOUNT, SIMULATOR_OANDA_ACCOUNT


def _same(fill: Mapping[str, Any]) -> str:
    """A broker whose fills have ids that need nothing beside them."""
    return str(fill["data"]["id"])


@dataclass(frozen=True, slots=True)
class Place:
    """One broker. `away` is the distance of the stop; `posting` the route of new orders, `cancelling` of cancels.

    `id_in` finds the client id in the body of a request for an order; `fill_id` gives the id under which our books
    have a fill of the journal. `links_legs` is False where stop and target are orders of our own, of which only the
    stop rests. Without `history` no event can be read, while a cancel still can be asked for. At `begins`, on a
    Wednesday, the exchange is open, and no weekend gets into a test.
    """

    broker: str
    account: str
    symbol: str
    instrument: str
    bid: Decimal
    ask: Decimal
    away: Decimal
    weight: Decimal
    profile: str
    posting: str
    cancelling: str
    id_in: Callable[[str], object]
    currency: str = "USD"
    fill_id: Callable[[Mapping[str, Any]], str] = _same
    links_legs: bool = True
    history: str = "GET *"
    begins: str = "2026-01-14T15:00:00Z"

    @property
    def name(self) -> str:
        """As the simulator's faults and ports call it."""
        return self.broker.lower()

    @property
    def start(self) -> tuple[str, ...]:
        """How a simulator is started for it."""
        return "--always-open", "--speed", "1", "--start", self.begins

    def symbol_of(self, instrument: str) -> str:
        """Our name of what the broker calls so."""
        return self.symbol if instrument == self.instrument else instrument.replace("_", "")

    def ids(self, body: str) -> set[object]:
        """The client ids in the body of a request for an order."""
        try:
            return {self.id_in(body)}
        except (ValueError, KeyError, TypeError):
            return set()


SESSION = """
portfolio:
  symbols: [{symbol}]
  interval: 5m
  source: auto
  venue: {venue}
  spreads: {{{symbol}: 1.0}}
  warmup_days: 3
  session_start: "07:00"
  status_every_s: 180
  risk: {{global_daily_stop_r: -5.0, max_open_positions: 2, max_open_per_symbol: 1, per_strategy_daily_trades: 3,
         per_strategy_daily_stop_r: -2.0, per_strategy_daily_win_r: 6.0}}
  risk_parity: {{enabled: false, lookback_d: 20, floor: 0.15, cap: 0.60}}
  dd_lock: {{enabled: false, trailing_pct: 5.0, cooloff_min: 120}}
  news_guard: {{enabled: false, csv_path: news.csv, pad_before_m: 30, pad_after_m: 30}}
  budget: {{equity: 100000, daily_risk_pct: 2.0, per_trade_risk_pct: 0.5, per_strategy: {{}}}}
strategies:
  - name: orb
    params: {{retest: false, filter_min_or_pips: 2}}
    windows: [{{start: "00:00", end: "23:55"}}]
"""

OANDA = Place(
    broker="OANDA",
    account=SIMULATOR_OANDA_ACCOUNT,
    symbol="EURUSD",
    instrument="EUR_USD",
    bid=Decimal("1.10000"),
    ask=Decimal("1.10010"),
    away=Decimal("0.01000"),
    weight=Decimal("0.02"),
    profile=SESSION.format(symbol="EURUSD", venue="OANDA"),
    posting=f"POST /v3/accounts/{SIMULATOR_OANDA_ACCOUNT}/orders",
    cancelling=f"PUT /v3/accounts/{SIMULATOR_OANDA_ACCOUNT}/orders",
    id_in=lambda body: json.loads(body)["order"]["clientExtensions"]["id"],
)
ALPACA = Place(
    broker="ALPACA",
    account=SIMULATOR_ALPACA_ACCOUNT,
    symbol="AAPL",
    instrument="AAPL",
    bid=Decimal("200.00"),
    ask=Decimal("200.02"),
    away=Decimal("2.00"),
    weight=Decimal("0.02"),
    profile=SESSION.format(symbol="AAPL", venue="ALPACA"),
    posting="POST /v2/orders",
    cancelling="DELETE /v2/orders",
    id_in=lambda body: json.loads(body)["client_order_id"],
)
KITE = Place(
    broker="KITE",
    account=SIMULATOR_KITE_ACCOUNT,
    symbol="INFY",
    instrument="NSE:INFY",
    bid=Decimal("1500.00"),
    ask=Decimal("1500.10"),
    away=Decimal("10.00"),
    weight=Decimal("0.2"),
    profile=SESSION.format(symbol="INFY", venue="KITE"),
    posting="POST /orders",
    cancelling="DELETE /orders",
    id_in=lambda body: parse_qs(body)["tag"][0],
    currency="INR",
    fill_id=lambda row: f"{day_of(datetime.fromisoformat(row['at'])):%Y%m%d}:NSE:{row['data']['id']}",
    links_legs=False,
    history="GET /trades",
    begins="2026-01-14T05:00:00Z",
)
# Where stop and target ride on their entry and an order that was lost is sent again; all places by their names.
PLACES = (OANDA, ALPACA)
BY_NAME = {place.name: place for place in (*PLACES, KITE)}
