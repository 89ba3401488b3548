"""Statements as the brokers would write them, made from the simulator's own history of an account."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from tests.servers import Simulator

Rows = list[dict[str, Any]]


def written(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows as CSV; without `columns` all that any row has."""
    names = list(columns) or list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def save(path: Path, text: str) -> Path:
    """The file, as the tests' import finds it."""
    path.write_text(text, encoding="utf-8")
    return path


def oanda_rows(simulator: Simulator) -> Rows:
    """All transactions of the account, as the broker's API gives them."""
    address = f"{simulator.oanda_url}/v3/accounts/{simulator.account}/transactions/sinceid"
    headers = {"Authorization": f"Bearer {simulator.token}"}
    answer = requests.get(address, params={"id": "0"}, headers=headers, timeout=10)
    assert answer.ok, answer.text
    rows: Rows = answer.json()["transactions"]
    return rows


def oanda_json(simulator: Simulator, change: Callable[[Rows], Rows] = list) -> str:
    """The answer of the API, after a change."""
    return json.dumps({"transactions": change(oanda_rows(simulator))})


def alpaca_rows(simulator: Simulator) -> Rows:
    """All activities of the account, the oldest first."""
    headers = {"APCA-API-KEY-ID": "SIMKEY", "APCA-API-SECRET-KEY": "sim-alpaca-secret"}
    address = f"{simulator.alpaca_url}/v2/account/activities"
    answer = requests.get(address, params={"direction": "asc", "page_size": "100"}, headers=headers, timeout=10)
    assert answer.ok, answer.text
    rows: Rows = answer.json()
    return rows


KITE_COLUMNS = (
    "symbol", "isin", "trade_date", "exchange", "segment", "series", "trade_type", "auction", "quantity", "price",
    "trade_id", "order_id", "order_execution_time",
)  # fmt: skip


def kite_tradebook(trades: Sequence[Mapping[str, Any]]) -> str:
    """The tradebook as Console writes it, from the trades that the API lists."""
    rows = [
        {
            "symbol": trade["tradingsymbol"],
            "isin": "INE009A01021",
            "trade_date": str(trade["fill_timestamp"])[:10],
            "exchange": trade["exchange"],
            "segment": "EQ",
            "series": "EQ",
            "trade_type": str(trade["transaction_type"]).lower(),
            "auction": "false",
            "quantity": f"{trade['quantity']}",
            "price": f"{trade['average_price']}",
            "trade_id": trade["trade_id"],
            "order_id": trade["order_id"],
            "order_execution_time": str(trade["fill_timestamp"]).replace(" ", "T"),
        }
        for trade in trades
    ]
    return written(rows, KITE_COLUMNS)
