"""The hash of a run: the same for the same sides whenever they are compared, another for anything else."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from reconciliation.domain.compare import reconcile
from reconciliation.domain.policy import DefaultProposal, ReconciliationPolicy
from reconciliation.domain.rules import RULES_VERSION
from reconciliation.domain.run_hash import run_sha256
from reconciliation.domain.snapshots import BooksSnapshot, broker_text
from reconciliation.models import Run, Snapshot
from tests.reconciliation.conftest import EURUSD, Desk
from tests.reconciliation.domain import sides
from trading.domain.broker import BrokerSnapshot

POLICY = ReconciliationPolicy()


def named(
    broker: BrokerSnapshot,
    books: BooksSnapshot,
    policy: ReconciliationPolicy = POLICY,
    rules_version: str = RULES_VERSION,
) -> str:
    """The hash of a comparison of these sides."""
    return run_sha256(
        broker=(broker_text(broker), broker.at),
        books=(books.text(), books.at),
        policy=policy,
        findings=reconcile(broker, books, policy),
        rules_version=rules_version,
    )


def later(moment: datetime) -> datetime:
    """Some time afterwards."""
    return moment + timedelta(hours=5, seconds=1)


def test_sides_that_did_not_change_have_one_hash_at_every_moment() -> None:
    broker, books = sides.broker(), sides.books()
    moved = dataclasses.replace(broker, at=later(broker.at)), dataclasses.replace(books, at=later(books.at))
    assert named(broker, books) == named(*moved)
    assert broker_text(broker) != broker_text(moved[0]), "the snapshot itself keeps its moment"


def test_any_input_and_the_rules_change_it() -> None:
    broker, books = sides.broker(), sides.books()
    others = [
        named(dataclasses.replace(broker, cash={"USD": Decimal("1.01")}), books),
        named(dataclasses.replace(broker, flags=("blocked",)), books),
        named(broker, dataclasses.replace(books, cash={"USD": Decimal("2.02")})),
        named(broker, dataclasses.replace(books, hedging=not books.hedging)),
        named(broker, books, dataclasses.replace(POLICY, cash_default=Decimal("0.01"))),
        named(broker, books, dataclasses.replace(POLICY, default_proposal=DefaultProposal.FLATTEN_EXTERNAL)),
        named(broker, books, rules_version="another ladder"),
    ]
    assert len({named(broker, books), *others}) == len(others) + 1


def test_a_moment_inside_a_side_is_part_of_it() -> None:
    broker, books = sides.broker(), sides.books()
    wrong = dataclasses.replace(broker, account_id=f'{broker.account_id}","at":null,"')
    assert named(wrong, books) != named(broker, books)


def test_two_runs_over_unchanged_sides_have_the_same_hash_and_name_the_rules(desk: Desk) -> None:
    desk.external("silent_position", instrument=EURUSD, quantity="500")
    desk.reconcile()
    desk.simulator.post("/clock", {"step": 60})
    desk.reconcile()
    first, second = Run.objects.order_by("id")
    assert first.sha256 == second.sha256 and first.findings and first.rules_version == RULES_VERSION
    assert Snapshot.objects.filter(side="BROKER").values("sha256").distinct().count() == 2, "they were looked at twice"
    desk.external("silent_cash", currency="USD", amount="0.01")
    desk.reconcile()
    assert Run.objects.latest("id").sha256 != first.sha256


@pytest.mark.parametrize("name", ["cash_default", "max_retries"])
def test_the_whole_policy_counts(name: str) -> None:
    broker, books = sides.broker(), sides.books()
    assert named(broker, books, dataclasses.replace(POLICY, **{name: Decimal(7)})) != named(broker, books)
