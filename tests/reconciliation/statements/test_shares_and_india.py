"""Statements of Alpaca and Kite, made from the simulator's own history of each, end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from reconciliation.engine.statements import Outcome, import_file
from reconciliation.models import Discrepancy, Run, Statement
from tests.reconciliation.conftest import TEST, People
from tests.reconciliation.engine.share_desk import AAPL, ShareDesk, share_desk, verified
from tests.reconciliation.statements.files import alpaca_rows, kite_tradebook, save, written
from tests.servers import Simulator
from tests.trading.brokers.kite.kite_desk import Desk as KiteAccount
from trading.clock import trading_day
from trading.models import Fill

__all__ = ["share_desk"]
INFY = "NSE:INFY"


def standing() -> list[tuple[str, str]]:
    """Kind and key of the live cases."""
    rows = Discrepancy.objects.filter(state__in=Discrepancy.LIVE).order_by("kind", "key")
    return [(row.kind, row.key) for row in rows]


def booked(desk: ShareDesk, people: People) -> None:
    """What somebody else traded, approved by two people."""
    for _ in range(2):
        desk.reconcile()
    for case in Discrepancy.objects.filter(state="OPEN"):
        desk.resolve(case, "book_fills" if case.kind.endswith("POSITION") else "book_cash", people)
    desk.reconcile()
    assert standing() == []


@pytest.fixture
def shares(share_desk: ShareDesk, people: People) -> ShareDesk:
    """Two executions of shares and a dividend, all booked."""
    share_desk.external("trade", instrument=AAPL, quantity="10", price="100")
    share_desk.external("trade", instrument=AAPL, quantity="-4", price="100")
    share_desk.external("dividend", instrument=AAPL, amount="3.5")
    booked(share_desk, people)
    return share_desk


def give(desk: ShareDesk, path: Path, text: str) -> Outcome:
    """The text as a file, imported."""
    return import_file(account=desk.account, path=save(path, text), actor=TEST)


def test_a_clean_statement_of_shares_opens_no_case_as_json_and_as_csv(shares: ShareDesk, tmp_path: Path) -> None:
    rows = alpaca_rows(shares.simulator)
    for name, text in (("a.json", json.dumps(rows)), ("a.csv", written(rows))):
        outcome = give(shares, tmp_path / name, text)
        assert outcome.result.findings is not None and outcome.result.findings.findings == (), standing()
    assert set(Statement.objects.values_list("format", flat=True)) == {"alpaca-json", "alpaca-csv"}
    proof = Run.objects.get(pk=outcome.result.run_id).proof
    assert proof["AAPL"]["broker"] == "6" and all(line["unexplained"] == "0" for line in proof.values())
    verified()


def test_each_difference_of_shares_is_exactly_its_case(shares: ShareDesk, tmp_path: Path) -> None:
    rows = alpaca_rows(shares.simulator)
    sold = next(row for row in rows if row.get("side") == "sell")
    paid = next(row for row in rows if row["activity_type"] == "DIV")
    give(shares, tmp_path / "less.json", json.dumps([row for row in rows if row is not sold]))
    assert standing() == [("EXTRA_FILL", f"fill:{sold['id']}")]
    give(shares, tmp_path / "price.json", json.dumps([row | {"price": "101"} if row is sold else row for row in rows]))
    assert standing() == [("FILL_MISMATCH", f"event:{sold['id']}")], "the corrected one took the first one's place"
    give(shares, tmp_path / "cash.json", json.dumps([row for row in rows if row is not paid]))
    assert standing() == [("CASH_UNEXPLAINED", f"cash:{paid['id']}")]
    more = paid | {"id": paid["id"][:-4] + "ffff", "net_amount": "9"}
    give(shares, tmp_path / "more.json", json.dumps([*rows, more]))
    assert standing() == [("DIVIDEND_NOT_BOOKED", f"cash:{more['id']}")]
    give(shares, tmp_path / "clean.json", json.dumps(rows))
    assert standing() == []
    assert Statement.objects.filter(replaced_by=None).count() == 1
    verified()


@pytest.fixture
def india(committed_db: object, simulator: Simulator, people: People, monkeypatch: pytest.MonkeyPatch) -> ShareDesk:
    """A Kite account with two executions by somebody else, booked by two people."""
    monkeypatch.delenv("SIMULATOR_URL", raising=False)
    kite = KiteAccount(simulator)
    desk = ShareDesk(kite.account, simulator, kite.broker)
    desk.external("trade", instrument=INFY, quantity="10", price="1500")
    desk.external("trade", instrument=INFY, quantity="-3", price="1500")
    booked(desk, people)
    assert Fill.objects.count() == 2
    keys = kite.connection.credentials
    desk.trades = _trades(simulator, keys)  # type: ignore[attr-defined]
    return desk


def _trades(simulator: Simulator, keys: dict[str, str]) -> list[dict[str, Any]]:
    headers = {"Authorization": f"token {keys['key']}:{keys['access_token']}", "X-Kite-Version": "3"}
    answer = requests.get(f"{simulator.kite_url}/trades", headers=headers, timeout=10)
    assert answer.ok, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_a_tradebook_is_compared_by_the_exchanges_ids(india: ShareDesk, tmp_path: Path) -> None:
    trades: list[dict[str, Any]] = india.trades  # type: ignore[attr-defined]
    outcome = give(india, tmp_path / "tradebook.csv", kite_tradebook(trades))
    assert outcome.result.findings is not None and outcome.result.findings.findings == (), standing()
    assert (outcome.imported.statement.kind, outcome.result.findings.linked) == ("TRADES", 2)
    fill = Fill.objects.order_by("id").last()
    assert fill is not None
    bought, sold = trades
    give(india, tmp_path / "other.csv", kite_tradebook([bought, sold | {"average_price": "1501"}]))
    assert standing() == [("FILL_MISMATCH", f"event:{fill.external_id}")]
    more = [bought, sold, sold | {"trade_id": "99"}]
    give(india, tmp_path / "more.csv", kite_tradebook(more))
    assert [kind for kind, _ in standing()] == ["MISSING_FILL"]
    assert standing()[0][1].endswith(":NSE:99")
    verified()


def ledger(day: str, opening: str, closing: str, paid: str = "") -> str:
    """A ledger of one day as Console writes it."""
    row = f"Funds added using UPI,{day},NSE-EQ - Z,Bank Receipts,0,{paid},{closing}\n" if paid else ""
    return (
        "particulars,posting_date,cost_center,voucher_type,debit,credit,net_balance\n"
        f"Opening Balance,,,,,,{opening}\n{row}Closing Balance,,,,,,{closing}\n"
    )


def test_of_a_ledger_the_settled_balance_is_compared(india: ShareDesk, tmp_path: Path) -> None:
    day = str(trading_day(india.account))
    days = (day, day)
    for name, opening, closing in (("a", "1000000", "1000000"), ("b", "999000", "999000")):
        path = save(tmp_path / f"{name}.csv", ledger(day, opening, closing))
        outcome = import_file(account=india.account, path=path, actor=TEST, days=days)
        found = outcome.result.findings
        assert found is not None
        assert [(one.kind, one.difference) for one in found.findings] == (
            [] if name == "a" else [("CASH_UNEXPLAINED", -1000)]
        )
    give(india, tmp_path / "tradebook.csv", kite_tradebook(india.trades))  # type: ignore[attr-defined]
    assert standing() == [("CASH_UNEXPLAINED", f"statement:SETTLED:{day}:INR")], "the other one says nothing of it"
