"""What the history says happened to shares themselves is told with the difference it makes, and books nothing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from reconciliation.domain.compare import reconcile
from reconciliation.domain.findings import Finding
from reconciliation.domain.kinds import Action, Kind
from reconciliation.domain.policy import ReconciliationPolicy
from reconciliation.domain.snapshots import CorporateEvent
from tests.reconciliation.domain.sides import AT, books, broker, event, fill, held, position
from trading.domain.broker import BrokerPosition

MERGER = CorporateEvent("77", AT - timedelta(days=1), "merger", "AAPL", Decimal(-5))


def found(*shown: BrokerPosition, ours: str) -> Finding:
    (one,) = reconcile(
        broker(*shown),
        books(held("AAPL", ours, "100"), corporate=(MERGER,)),
        ReconciliationPolicy(),
    ).findings
    return one


def test_a_position_that_changed_with_a_merger_says_so_and_offers_what_it_offered_before() -> None:
    one = found(ours="5")
    assert one.kind is Kind.PHANTOM_POSITION and "a merger of AAPL on 2026-03-01, -5 units (its event 77)" in one.cause
    assert one.evidence["corporate"] == ["77"] and "Nothing is booked for it by itself" in one.cause
    without = reconcile(broker(), books(held("AAPL", "5", "100")), ReconciliationPolicy()).findings[0]
    assert (one.actions, one.suggestion, one.substance) == (without.actions, without.suggestion, without.substance)


def test_what_fills_explain_or_what_is_equal_is_not_told_of_it() -> None:
    bought = (event(fill(quantity="2", price="100", symbol="AAPL")),)
    cash = str(100000 - 200)
    one = reconcile(
        broker(position("AAPL", "7", "100"), cash=cash),
        books(held("AAPL", "5", "100"), corporate=(MERGER,), unposted=bought),
        ReconciliationPolicy(),
    ).findings[0]
    assert "merger" not in one.cause and Action.BOOK_FILLS in one.actions
    equal = books(held("AAPL", "5", "100"), corporate=(MERGER,))
    assert reconcile(broker(position("AAPL", "5", "100")), equal, ReconciliationPolicy()).findings == ()


def test_units_of_another_share_are_not_explained_by_it() -> None:
    other = reconcile(broker(position("EURUSD")), books(corporate=(MERGER,)), ReconciliationPolicy()).findings[0]
    assert "merger" not in other.cause
