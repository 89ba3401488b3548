"""What the broker has blocked, in the comparison."""

from __future__ import annotations

import pytest

from reconciliation.domain.compare import reconcile
from reconciliation.domain.kinds import Confidence, Kind, Severity
from reconciliation.domain.snapshots import broker_text
from tests.reconciliation.domain.sides import EXACT, FAILED, books, broker, kinds, one


@pytest.mark.fault("F-104", broker="every")
def test_each_thing_that_the_broker_blocks_is_a_case_of_its_own() -> None:
    finding = one(broker(flags=("trading_blocked",)), books())
    assert (finding.kind, finding.key, finding.severity) == (
        Kind.ACCOUNT_BLOCKED, "flag:trading_blocked", Severity.HIGH,
    )  # fmt: skip
    both = broker(flags=("trading_blocked", "account_blocked", "trading_blocked"))
    assert [f.key for f in reconcile(both, books(), EXACT).findings] == ["flag:account_blocked", "flag:trading_blocked"]


def test_a_broker_that_blocks_nothing_or_could_not_be_read_gives_no_case() -> None:
    assert kinds(broker(), books()) == []
    assert kinds(broker(cash_part=FAILED), books()) == []


def test_what_the_broker_says_it_has_blocked_counts_without_its_cash_and_silence_does_not() -> None:
    said = reconcile(broker(flags=("equity_disabled",), cash_part=FAILED), books(), EXACT)
    assert [(found.key, found.relies_on) for found in said.findings] == [("flag:equity_disabled", Confidence.FLAGS)]
    assert Confidence.FLAGS in said.complete_parts and Confidence.CASH not in said.complete_parts
    assert Confidence.FLAGS in reconcile(broker(), books(), EXACT).complete_parts
    assert Confidence.FLAGS not in reconcile(broker(cash_part=FAILED), books(), EXACT).complete_parts


@pytest.mark.parametrize("flags", [(), ("a", "b"), ("b", "a")])
def test_the_evidence_holds_what_the_broker_said(flags: tuple[str, ...]) -> None:
    assert (broker_text(broker(flags=flags)) == broker_text(broker())) is (flags == ())
    assert broker_text(broker(flags=flags)) == broker_text(broker(flags=flags[::-1]))
