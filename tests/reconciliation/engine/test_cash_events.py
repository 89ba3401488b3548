"""Cash that the broker moves without an order, end to end: typed, booked once, a case only where nobody may book."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.reconciliation.conftest import EURUSD, Desk, People
from trading.domain.policy import load_policy
from trading.models import CashEvent, Entry
from trading.selectors import books
from trading.services.setup import ensure_version

# What happens, what the books call it, and the instrument that they know it is about.
MOVEMENTS = [
    ("financing", {"amount": "-1.2345"}, "FINANCING", "-1.2345", None),
    ("financing", {"amount": "0.8"}, "FINANCING", "0.8", None),
    ("financing", {"amount": "-0.5", "instrument": "GBP_USD"}, "FINANCING", "-0.5", "GBPUSD"),
    ("dividend", {"amount": "-2.5", "instrument": EURUSD}, "DIVIDEND", "-2.5", "EURUSD"),
    ("fee", {"amount": "-3"}, "FEE", "-3", None),
    ("fee", {"amount": "0.25"}, "FEE", "0.25", None),
    ("transfer", {"amount": "250"}, "TRANSFER", "250", None),
    ("transfer", {"amount": "-40.01"}, "TRANSFER", "-40.01", None),
]


@pytest.mark.scenario("S-28")
def test_every_kind_and_sign_is_booked_by_the_policy_once_and_leaves_no_case(desk: Desk) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.external("trade", instrument=EURUSD, quantity="-1000", price="1.1")
    desk.simulator.post("/prices", {"instrument": "GBP_USD", "bid": "1.25", "ask": "1.25"})
    desk.reconcile()
    for kind, body, *_ in MOVEMENTS:
        desk.external(kind, currency="USD", **body)
    for _ in range(2):
        result = desk.reconcile()
    assert result.ok and result.findings is not None
    assert [finding.kind for finding in result.findings.findings] == ["MISSING_FILL"], "the hand's round trip alone"
    rows = CashEvent.objects.exclude(external_id="2").order_by("id").select_related("instrument")
    told = [(row.kind, row.amount, row.instrument.symbol if row.instrument else None) for row in rows]
    assert told == [(kind, Decimal(amount), symbol) for _, _, kind, amount, symbol in MOVEMENTS]
    assert Entry.objects.filter(cash_event__in=rows).count() == len(MOVEMENTS) and desk.agrees()
    assert -books.balances(desk.account, "FEE")["USD"] == Decimal("-2.75")


def test_financing_of_several_positions_is_one_movement_and_keeps_its_split(desk: Desk) -> None:
    desk.simulator.post("/prices", {"instrument": "GBP_USD", "bid": "1.25", "ask": "1.25"})
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    desk.external("trade", instrument="GBP_USD", quantity="-500", price="1.25")
    desk.reconcile()
    desk.external("financing", currency="USD", amount="-1.5")
    desk.reconcile()
    row = CashEvent.objects.get(kind="FINANCING")
    assert row.instrument is None and row.amount == Decimal("-1.5") and row.broker_event is not None
    split = {part["instrument"]: Decimal(part["financing"]) for part in row.broker_event.body["positionFinancings"]}
    assert split == {"EUR_USD": Decimal("-1"), "GBP_USD": Decimal("-0.5")}


@pytest.mark.parametrize(
    ("kind", "body", "named"),
    [
        ("financing", {"amount": "-1.5"}, "FINANCING_NOT_BOOKED"),
        ("dividend", {"amount": "4", "instrument": EURUSD}, "DIVIDEND_NOT_BOOKED"),
        ("fee", {"amount": "-2"}, "FEE_NOT_BOOKED"),
        ("transfer", {"amount": "-100"}, "TRANSFER_NOT_BOOKED"),
    ],
)
@pytest.mark.scenario("S-51")
def test_where_the_policy_books_nothing_by_itself_two_people_do(
    desk: Desk, people: People, kind: str, body: dict[str, str], named: str
) -> None:
    desk.reconcile()
    policy = load_policy("policy:\n  name: strict\n  apply_typed_cash_events: false\n")
    desk.account.policy = ensure_version(kind="POLICY", name="strict", body=policy.canonical)
    desk.account.save(update_fields=["policy"])
    desk.external(kind, currency="USD", **body)
    desk.reconcile()
    desk.reconcile()
    case = desk.case(state="OPEN")
    assert (case.kind, case.difference, case.severity) == (named, Decimal(body["amount"]), "MEDIUM")
    assert case.evidence["suggestion"] == "book_cash" and body["amount"] in case.cause
    desk.resolve(case, "book_cash", people)
    assert desk.agrees() and Entry.objects.filter(application__isnull=False).count() == 1
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "CLOSED"
