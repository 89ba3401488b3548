"""`live_oanda --mode replay`: the mirror's orders exist once at the broker, and both books are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import CommittedDatabase
from tests.servers import Simulator
from tests.trading.engine.running import row_counts
from tests.trading.management.commands import Ended, Files, run
from tests.trading.services.histories import left_behind
from trading.brokers.paper import PaperBroker
from trading.models import Account, Fill, Order, OrderEvent, Trade
from trading.selectors import books

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def stage(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator that the environment names."""
    monkeypatch.setenv("SIMULATOR_URL", simulator.control_url)
    yield simulator


def live_oanda(capfd: Capture, files: Files, *more: str) -> Ended:
    return run(capfd, "live_oanda", *files.arguments(), "--mirror", "oanda", *more)


def orders_at(simulator: Simulator) -> Counter[str]:
    """How many orders of each client id the simulator's journal knows."""
    seen = {(row["data"]["id"], row["data"]["client_id"]) for row in simulator.journal() if row["kind"] == "order"}
    return Counter(client_id for _, client_id in seen if client_id)


def what_happened_at(simulator: Simulator) -> list[int]:
    """Everything in the simulator's journal but what was only asked."""
    rows = simulator.journal()
    return [row["seq"] for row in rows if row["kind"] != "request" or row["data"]["method"] != "GET"]


def both_sides_agree(simulator: Simulator, mirror: Account) -> None:
    """Positions, cash and fills of books and simulator, to the last digit."""
    truth = simulator.truth()
    assert books.cash_balances(mirror)["USD"] == Decimal(truth["cash"]["USD"])
    assert {p["instrument"]: p["quantity"] for p in truth["positions"]} == {} == books.positions(mirror)
    theirs = [row["data"] for row in simulator.journal() if row["kind"] == "fill"]
    ours = Fill.objects.filter(account=mirror).order_by("broker_event__sequence")
    assert [(Decimal(f["quantity"]), Decimal(f["price"]), Decimal(f["pl"])) for f in theirs] == [
        (fill.quantity, fill.price, fill.realised) for fill in ours
    ]


def test_every_mirror_order_is_once_at_the_broker_and_a_second_run_does_not_drive_it_again(
    committed_db: CommittedDatabase, stage: Simulator, capfd: Capture, files: Files
) -> None:
    first = live_oanda(capfd, files)
    assert first.code == 0, first
    paper, mirror = Account.objects.get(broker="PAPER"), Account.objects.get(broker="OANDA")
    approved = Order.objects.filter(account=paper, tag="ENTRY")
    ours = Order.objects.filter(account=mirror)
    assert 3 <= approved.count() == ours.filter(tag="ENTRY").count()
    sent = [order.client_order_id for order in ours.filter(rides_on=None)]
    assert {client_id: orders_at(stage)[client_id] for client_id in sent} == dict.fromkeys(sent, 1)
    assert set(orders_at(stage)) <= {order.client_order_id for order in ours}
    assert not ours.exclude(state__in=["FILLED", "CANCELLED"]).exists()
    assert OrderEvent.objects.filter(order__in=ours, to_state="SENDING").count() == len(sent)
    both_sides_agree(stage, mirror)
    mirrored = Trade.objects.filter(account=mirror)
    assert {t.decision_id for t in mirrored} == {t.decision_id for t in Trade.objects.filter(account=paper)}
    assert {trade.state for trade in mirrored} == {"CLOSED"}
    assert books.cash_balances(mirror)["USD"] == 100000 + sum(trade.pnl for trade in mirrored)
    assert "Reconciled" in first.err and first.blocks[-1]["broker"]["errors"] == "0"

    happened, counted = what_happened_at(stage), row_counts()
    again = live_oanda(capfd, files)
    assert again.code == 0 and what_happened_at(stage) == happened and row_counts() == counted
    assert again.blocks[-1]["total"] == first.blocks[-1]["total"]
    assert "not driven again" in again.blocks[-1]["notes"][0]


def test_the_paper_account_decides_the_same_with_a_mirror_as_without(
    committed_db: CommittedDatabase, stage: Simulator, capfd: Capture, files: Files
) -> None:
    alone = run(capfd, "live_port", *files.arguments())
    paper = Account.objects.get(broker="PAPER")
    before = left_behind(paper)
    mirrored = live_oanda(capfd, files)
    assert left_behind(paper) == before, "a paper run that is mirrored later stays as it was"
    assert mirrored.blocks[-1]["total"] == alone.blocks[-1]["total"]
    mirror = Account.objects.get(broker="OANDA")
    assert Order.objects.filter(account=mirror, tag="ENTRY").count() == Trade.objects.filter(account=paper).count()
    both_sides_agree(stage, mirror)


def test_a_simulator_of_its_own_is_started_when_the_environment_names_none(
    committed_db: CommittedDatabase, capfd: Capture, files: Files
) -> None:
    ended = live_oanda(capfd, files)
    assert ended.code == 0, ended
    mirror = Account.objects.get(broker="OANDA")
    assert not mirror.is_active, "its broker has ended with the replay"
    assert Trade.objects.filter(account=mirror).count() == Trade.objects.filter(account__broker="PAPER").count() > 0


def test_without_a_mirror_no_broker_is_asked(
    committed_db: CommittedDatabase, stage: Simulator, capfd: Capture, files: Files
) -> None:
    before = len(stage.journal())
    ended = run(capfd, "live_oanda", *files.arguments(), "--mirror", "none")
    assert ended.code == 0 and int(ended.blocks[-1]["total"]["trades"]) > 0
    assert len(stage.journal()) == before and not Account.objects.filter(broker="OANDA").exists()


def refused(capfd: Capture, files: Files, words: str) -> None:
    """A block that says why, and no row."""
    before = row_counts()
    ended = live_oanda(capfd, files)
    assert ended.code == 1 and "Traceback" not in ended.err
    (block,) = ended.blocks
    assert block["ok"] is False and words in block["error"]
    assert row_counts() == before


def test_real_credentials_are_refused_for_a_mirrored_replay(
    committed_db: CommittedDatabase, capfd: Capture, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OANDA_API_KEY", "a-key")
    monkeypatch.setenv("OANDA_ACCOUNT_ID", "101-001-1000001-001")
    refused(capfd, files, "which only the simulator allows")


def test_a_real_address_beside_a_simulator_is_refused(
    committed_db: CommittedDatabase, capfd: Capture, files: Files, stage: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OANDA_URL", "https://api-fxpractice.oanda.com")
    refused(capfd, files, "name different brokers")


def test_a_simulator_that_does_not_answer_is_a_sentence(
    committed_db: CommittedDatabase, capfd: Capture, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULATOR_URL", "http://127.0.0.1:9")
    ended = live_oanda(capfd, files)
    assert ended.code == 1 and ended.blocks[-1]["ok"] is False and "Traceback" not in ended.err
    assert not Trade.objects.exists() and not Order.objects.exists()


class Killed(BaseException):
    """The process ends here."""


def test_a_mirrored_replay_that_stopped_half_way_is_not_driven_again(
    committed_db: CommittedDatabase, stage: Simulator, capfd: Capture, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_bar, seen = PaperBroker.on_bar, 0

    def bars(self: PaperBroker, *bar: Any, **how: Any) -> None:
        nonlocal seen
        seen += Trade.objects.filter(account__broker="OANDA").count()
        if seen > 3:
            raise Killed
        on_bar(self, *bar, **how)

    with monkeypatch.context() as patched:
        patched.setattr(PaperBroker, "on_bar", bars)
        with pytest.raises(Killed):
            live_oanda(capfd, files)
    happened = what_happened_at(stage)
    ended = live_oanda(capfd, files)
    assert ended.code == 1 and "stopped half-way" in ended.blocks[-1]["error"]
    assert what_happened_at(stage) == happened
