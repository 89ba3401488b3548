"""A replay that is killed half-way and run again ends where an undisturbed one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Model

from backoffice.desk import paths
from tests.conftest import CommittedDatabase
from tests.trading.engine.conftest import Undisturbed
from tests.trading.engine.running import replay
from tests.trading.services.histories import left_behind
from trading.brokers.paper import PaperBroker
from trading.domain.broker import OrderRequest, SubmitOutcome
from trading.engine import sender
from trading.models import Account, Decision, Fill, Order


def same_as(undisturbed: Undisturbed, printed: str) -> None:
    """Text and books are those of the undisturbed run."""
    assert printed == undisturbed.printed
    assert left_behind(Account.objects.get(broker="PAPER")) == undisturbed.left


@pytest.mark.faults
@pytest.mark.parametrize(("model", "rows"), [(Decision, 2), (Fill, 5)])
def test_killed_half_way_it_ends_with_the_same_books(
    committed_db: CommittedDatabase, undisturbed: Undisturbed, tmp_path: Path, model: type[Model], rows: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.trading.engine.killed", str(tmp_path)],
        cwd=paths.PROJECT,
        env={**committed_db.environment(), "DJANGO_SETTINGS_MODULE": "backoffice.settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        end = time.monotonic() + 60
        while model._base_manager.count() < rows:
            assert process.poll() is None and time.monotonic() < end, process.stderr and process.stderr.read()[-2000:]
            time.sleep(0.002)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert left_behind(Account.objects.get(broker="PAPER")) != undisturbed.left, "killed too late to mean anything"
    same_as(undisturbed, replay(tmp_path))


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize(
    ("step", "order"),
    [
        ("before the claim", 1),
        ("before the claim", 4),
        ("after the claim", 1),
        ("after the book took it", 4),
        ("before its events are stored", 2),
    ],
)
def test_stopped_at_any_step_of_an_order_it_goes_on_and_adds_no_second_one(
    committed_db: CommittedDatabase,
    undisturbed: Undisturbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    order: int,
) -> None:
    seen = 0

    def at(here: str) -> None:
        nonlocal seen
        if here == step:
            seen += 1
            if seen == order:
                raise Killed

    claim, submit, events_since = sender.claim, PaperBroker.submit, PaperBroker.events_since

    def claims(*planned: Any) -> list[Order]:
        at("before the claim")
        claimed = claim(*planned)
        at("after the claim")
        return claimed

    def submits(self: PaperBroker, request: OrderRequest) -> SubmitOutcome:
        outcome = submit(self, request)
        at("after the book took it")
        return outcome

    def tells(self: PaperBroker, cursor: str) -> Any:
        page = events_since(self, cursor)
        if any(event.fills for event in page.events):
            at("before its events are stored")
        return page

    with monkeypatch.context() as patched:
        patched.setattr(sender, "claim", claims)
        patched.setattr(PaperBroker, "submit", submits)
        patched.setattr(PaperBroker, "events_since", tells)
        with pytest.raises(Killed):
            replay(tmp_path)
    same_as(undisturbed, replay(tmp_path))
