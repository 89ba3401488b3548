"""Which limit entries may follow the market."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from tests.trading.services.making import START, TEST, bring_to, make_account, make_decision
from trading.clock import wall_now
from trading.domain.orders import OrderState
from trading.models import Account, AuditEvent, Decision, Order, Trade
from trading.selectors.policies import policy_of
from trading.services import entries, orders, restrictions
from trading.services.setup import ensure_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def paper() -> Account:
    account = make_account("decides")
    policy = replace(policy_of(account), chase_ticks=5)
    account.policy = ensure_version(kind="POLICY", name="chasing", body=policy.canonical)
    account.save()
    return account


@pytest.fixture
def decision(paper: Account) -> Decision:
    return make_decision(paper)


def a_limit(account: Account, decision: Decision) -> Order:
    """The decision's entry on an account, resting as a limit order under the broker's id."""
    order = orders.plan_order(
        account=account,
        intent=decision,
        tag="ENTRY",
        instrument=decision.signal.instrument,
        side="BUY",
        quantity=Decimal(1000),
        type="LIMIT",
        price=Decimal("1.1"),
        at=START,
        actor=TEST,
    )
    Order.objects.filter(pk=order.pk).update(broker_order_id=f"at-{account.pk}")
    order.refresh_from_db()
    return bring_to(order, "WORKING")


def test_an_entry_follows_as_far_as_the_policy_of_the_account_that_decided_says(
    paper: Account, decision: Decision
) -> None:
    order = a_limit(paper, decision)
    assert entries.left_behind(paper) == [order] and entries.most_ticks(order) == 5
    paper.policy = make_account("another").policy
    paper.save()
    assert entries.left_behind(paper) == []


@pytest.mark.parametrize(
    "change", [{"type": "STOP"}, {"tag": "TP1"}, {"filled_quantity": Decimal(1)}, {"broker_order_id": ""}]
)
def test_nothing_but_a_limit_entry_without_a_fill_follows(
    paper: Account, decision: Decision, change: dict[str, object]
) -> None:
    order = a_limit(paper, decision)
    Order.objects.filter(pk=order.pk).update(**change)
    assert entries.left_behind(paper) == []


def test_no_entry_follows_where_no_new_risk_may_be_taken(paper: Account, decision: Decision) -> None:
    a_limit(paper, decision)
    restrictions.restrict(account=paper, level="REDUCE_ONLY", source="test", reason="look first", actor=TEST)
    assert entries.left_behind(paper) == []


def test_an_entry_that_is_being_moved_is_left_alone_for_a_moment(paper: Account, decision: Decision) -> None:
    order = a_limit(paper, decision)
    assert [entries.claim(order_id=order.pk) for _ in range(2)] == [True, False]
    assert entries.left_behind(paper) == []
    Order.objects.filter(pk=order.pk).update(next_check_at=wall_now() - timedelta(seconds=1))
    assert entries.left_behind(paper) == [order]
    with transaction.atomic():
        orders.move(orders.locked(order.pk), OrderState.CANCELLING, at=START, reason="a test")
    assert not entries.claim(order_id=order.pk), "it is being cancelled"


def test_a_mirrors_entry_follows_only_while_its_paper_account_holds_the_trade(
    paper: Account, decision: Decision
) -> None:
    mirror = make_account("mirrors")
    mirror.mirror_of = paper
    mirror.save()
    order = a_limit(mirror, decision)
    assert entries.left_behind(mirror) == []
    trade = Trade.objects.create(
        account=paper,
        decision=decision,
        instrument=decision.signal.instrument,
        strategy="orb",
        side="BUY",
        quantity=Decimal(1000),
        open_quantity=Decimal(1000),
        entry_price=Decimal("1.1"),
        initial_stop=Decimal("1.0"),
        risk_amount=Decimal(500),
        opened_at=START,
        state=Trade.State.OPEN,
        trading_day=START.date(),
    )
    assert entries.left_behind(mirror) == [order]
    Trade.objects.filter(pk=trade.pk).update(state=Trade.State.CLOSED)
    assert entries.left_behind(mirror) == []


def test_the_price_that_the_broker_took_is_on_the_row_and_in_the_trail(paper: Account, decision: Decision) -> None:
    order = a_limit(paper, decision)
    entries.repriced(order_id=order.pk, price=Decimal("1.10005"))
    order.refresh_from_db()
    assert (order.price, order.quantity) == (Decimal("1.10005"), 1000)
    event = AuditEvent.objects.get(kind="order.resized")
    assert (event.before["price"], event.after["price"]) == ("1.1", "1.10005")
