"""Orders: one for each leg of an intent, moved along the table by one writer; and the rows that must exist first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from tests.trading.engine.market import make_bars
from tests.trading.services.making import (
    START,
    TEST,
    bring_to,
    instrument,
    make_account,
    make_decision,
    make_entry,
    make_exit,
    moment,
)
from trading.domain.orders import OrderState
from trading.models import (
    Account,
    AuditEvent,
    Bar,
    ConfigVersion,
    ExitIntent,
    Instrument,
    InstrumentAlias,
    Order,
    OrderEvent,
    OrderGroup,
    Rate,
)
from trading.services import exits, market, orders, setup
from trading.services.errors import RuleBroken

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account()


def plan(account: Account, intent: orders.Intent, **changes: Any) -> Order:
    """An entry of 1000 EURUSD."""
    wanted: dict[str, Any] = {
        "tag": "ENTRY",
        "instrument": instrument(),
        "side": "BUY",
        "quantity": Decimal(1000),
        "type": "MARKET",
        "at": START,
        "actor": TEST,
        **changes,
    }
    return orders.plan_order(account=account, intent=intent, **wanted)


def test_the_same_leg_of_the_same_intent_is_the_same_order(account: Account) -> None:
    decision = make_decision(account)
    first = plan(account, decision)
    assert plan(account, decision, quantity=Decimal(5), side="SELL") == first
    assert Order.objects.count() == OrderEvent.objects.count() == 1
    others = [
        plan(account, decision, tag="STOP"),
        plan(account, decision, sequence=2),
        plan(make_account("oanda-other"), decision),
        plan(account, make_decision(account, 2)),
    ]
    assert len({order.client_order_id for order in (first, *others)}) == 5


def test_an_order_has_exactly_one_intent(account: Account) -> None:
    decision = make_decision(account)
    order = plan(account, decision)
    intent = ExitIntent.objects.create(
        account=account, decision=decision, exit_type="TIME", exit_reason="a test", at=START
    )
    for change in ({"decision": None}, {"exit_intent": intent}, {"kill_epoch": 1}):
        with pytest.raises(DatabaseError, match="exactly_one_intent"), transaction.atomic():
            Order.objects.filter(pk=order.pk).update(**change)
    order.pk, order.client_order_id = None, "another-id"
    with pytest.raises(DatabaseError, match="one_order_per_decision_leg"), transaction.atomic():
        order.save(force_insert=True)


@pytest.mark.parametrize("change", [{"quantity": 0}, {"quantity": -1}, {"side": "LONG"}, {"state": "DONE"}])
def test_an_order_that_makes_no_sense_is_refused_by_the_database(account: Account, change: dict[str, Any]) -> None:
    order = make_entry(account)
    with pytest.raises(DatabaseError, match="check constraint|cannot go from"), transaction.atomic():
        Order.objects.filter(pk=order.pk).update(**change)


def test_an_order_moves_along_the_table_only_and_each_move_is_an_event(account: Account) -> None:
    order = make_entry(account, state="WORKING")
    with pytest.raises(RuleBroken, match="cannot go from WORKING to SENDING"), transaction.atomic():
        orders.move(orders.locked(order.pk), OrderState.SENDING, at=START, reason="a test")
    order.refresh_from_db()
    assert order.state == "WORKING"
    events = OrderEvent.objects.filter(order=order).values_list("sequence", "from_state", "to_state")
    assert list(events) == [(1, "", "PLANNED"), (2, "PLANNED", "SENDING"), (3, "SENDING", "WORKING")]


def test_an_entry_that_ends_without_a_fill_takes_its_legs_with_it(account: Account) -> None:
    order = make_entry(account, legs=True, state="REJECTED")
    assert {leg.state for leg in Order.objects.filter(rides_on=order)} == {"CANCELLED"}
    assert OrderGroup.objects.get().state == "CLOSED"
    told = AuditEvent.objects.filter(kind="order.moved", object_id=str(order.pk)).order_by("id")
    assert [(event.before["state"], event.after["state"], event.level) for event in told] == [
        ("PLANNED", "SENDING", "INFO"),
        ("SENDING", "REJECTED", "WARNING"),
    ]


def test_an_order_is_locked_inside_a_transaction_only(account: Account, django_db_blocker: Any) -> None:
    order = make_entry(account)
    assert orders.locked(order.pk).account == account


def test_an_exit_closes_what_it_is_asked_to_and_never_opens(account: Account) -> None:
    entry = make_entry(account, quantity="1000")
    decision = entry.decision
    assert decision is not None
    order = exits.plan_exit(
        account=account, decision=decision, exit_type="TIME", reason="over", quantity=Decimal(700), at=moment(1)
    )
    assert (order.side, order.quantity, order.reduce_only, order.tag) == ("SELL", 700, True, "CLOSE")
    again = exits.plan_exit(
        account=account, decision=decision, exit_type="STOP", reason="too", quantity=Decimal(700), at=moment(2)
    )
    assert again == order and ExitIntent.objects.count() == 1, "one exit of a decision is alive at a time"
    bring_to(order, "CANCELLED")
    third = exits.plan_exit(
        account=account, decision=decision, exit_type="TIME", reason="over", quantity=Decimal(700), at=moment(3)
    )
    assert third.client_order_id != order.client_order_id
    assert AuditEvent.objects.filter(kind="exit.planned").count() == 2


def test_an_exit_follows_its_order(account: Account) -> None:
    entry = make_entry(account, quantity="1000")
    for number, (state, expected) in enumerate(
        {"WORKING": "SUBMITTED", "CANCELLED": "CANCELLED", "REJECTED": "CANCELLED", "EXPIRED": "MISSED"}.items(), 1
    ):
        order = make_exit(account, entry, quantity="1000", number=number, state=state)
        assert order.exit_intent is not None and order.exit_intent.state == expected


def test_an_entry_that_was_never_sent_is_cancelled_when_it_has_no_purpose(account: Account) -> None:
    unsent, sent = make_entry(account, 1, state="PLANNED", legs=True), make_entry(account, 2, state="SENDING")
    for order in (unsent, sent):
        assert order.decision is not None
        exits.cancel_unsent_entry(account=account, decision=order.decision, reason="over", at=moment(1))
        order.refresh_from_db()
    assert (unsent.state, sent.state) == ("CANCELLED", "SENDING")
    assert {leg.state for leg in Order.objects.filter(rides_on=unsent)} == {"CANCELLED"}


def test_what_must_exist_is_made_once(account: Account) -> None:
    counted = [m.objects.count() for m in (Instrument, InstrumentAlias, ConfigVersion, Account, AuditEvent)]
    setup.ensure_instruments()
    setup.ensure_policy()
    assert make_account() == account
    assert [m.objects.count() for m in (Instrument, InstrumentAlias, ConfigVersion, Account, AuditEvent)] == counted


def test_an_account_that_mirrors_one_cannot_be_turned_to_another_in_silence(account: Account) -> None:
    papers = [
        setup.ensure_account(
            name=name, broker="PAPER", environment="IN_PROCESS", external_id=name, currency="USD", opened_at=START
        )
        for name in ("paper-1", "paper-2")
    ]
    for _ in range(2):
        again = setup.ensure_account(
            name="x", broker="OANDA", environment="PRACTICE", external_id=account.external_id, currency="USD",
            endpoint="https://somewhere", mirror_of=papers[0],
        )  # fmt: skip
    assert (again, again.mirror_of, again.endpoint) == (account, papers[0], "https://somewhere")
    assert AuditEvent.objects.filter(kind="account.changed").count() == 1
    with pytest.raises(RuleBroken, match="already mirrors paper-1"):
        setup.ensure_account(
            name="x", broker="OANDA", environment="PRACTICE", external_id=account.external_id, currency="USD",
            mirror_of=papers[1],
        )  # fmt: skip


def test_live_mode_is_for_live_accounts_only(account: Account) -> None:
    with pytest.raises(DatabaseError, match="live_mode_only"), transaction.atomic():
        Account.objects.filter(pk=account.pk).update(mode="LIVE")


def test_a_live_bar_that_is_stored_stays_as_it_is(account: Account) -> None:
    bars = make_bars("EURUSD")[:3]
    assert market.store_bars(source="test", bars=bars) == 3
    changed = [replace(bar, close=bar.high) for bar in bars]
    assert market.store_bars(source="test", bars=changed) == 0
    assert [row.close for row in Bar.objects.order_by("start")] == [bar.close for bar in bars]
    assert market.store_bars(source="another", bars=bars) == 3


def test_a_rate_is_known_from_its_own_source_and_stored_once_a_moment(account: Account) -> None:
    for minutes, value in ((0, "0.7"), (5, "0.8"), (5, "0.9")):
        market.store_rate(
            base="GBP", quote="USD", value=Decimal(value), at=START + timedelta(minutes=minutes), source="one"
        )
    assert Rate.objects.count() == 2
    assert market.last_rate("GBP", "USD", source="one") == Decimal("0.8")
    assert market.last_rate("GBP", "USD", source="two") is None
