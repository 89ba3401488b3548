"""Stops and targets end to end at the simulator: what is missing, what is too much, and how two people put it right."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import transaction

from reconciliation.engine.applications import apply_proposal, sweep
from reconciliation.engine.stops import ask_for
from reconciliation.models import Discrepancy
from reconciliation.services import applying
from reconciliation.services.payloads import preview
from tests.reconciliation.conftest import EURUSD, TEST, Desk, People
from tests.reconciliation.engine.share_desk import books_hold
from tests.reconciliation.engine.test_own_orders import bracket, oanda
from trading.clock import now
from trading.domain.orders import OrderState, Tag
from trading.engine.canceller import half_cancelled
from trading.engine.inflow import catch_up
from trading.engine.sender import send_order
from trading.engine.watcher import watch_once
from trading.models import BrokerMessage, Order, Restriction, Trade
from trading.selectors.policies import policy_of
from trading.services import leases, orders
from trading.services.orders import plan_order
from trading.services.setup import ensure_version

D = Decimal


def found(desk: Desk) -> list[tuple[str, str]]:
    """What a run finds: kinds and keys."""
    result = desk.reconcile()
    assert result.ok and result.findings is not None, result.error
    return [(str(finding.kind), finding.key) for finding in result.findings.findings]


def opened(desk: Desk, kind: str) -> Discrepancy:
    """The case of that kind, confirmed."""
    desk.reconcile()
    desk.reconcile()
    return desk.case(kind=kind, state="OPEN")


def resting(desk: Desk) -> dict[str, Decimal]:
    """What rests at the broker, by our client ids."""
    rows = [row for row in desk.simulator.truth()["orders"] if row["status"] == "PENDING"]
    return {row["client_id"]: D(row["quantity"] or "0") for row in rows}


def naked(desk: Desk) -> Order:
    """An entry of ours whose stop somebody has cancelled."""
    entry = bracket(desk)
    stop = Order.objects.get(tag="STOP")
    oanda(desk, "PUT", f"/orders/{stop.broker_order_id}/cancel")
    return entry


def own_stop(desk: Desk, entry: Order, units: str) -> Order:
    """A stop of ours that stands alone, for so many units."""
    order = plan_order(
        account=desk.account,
        intent=entry.decision,  # type: ignore[arg-type]
        tag=Tag.STOP,
        instrument=entry.instrument,
        side="SELL",
        quantity=D(units),
        type="STOP",
        price=D("1.09"),
        at=now(desk.account),
        reduce_only=True,
        sequence=2,
        actor=TEST,
    )
    return send_order(order_id=order.pk, broker=desk.broker)


def test_a_naked_trade_gets_the_stop_that_two_people_saw_and_its_case_is_closed_by_a_run(
    desk: Desk, people: People
) -> None:
    naked(desk)
    case = opened(desk, "UNPROTECTED_POSITION")
    assert (case.evidence["actions"], case.evidence["suggestion"]) == (["resize_stop", "accept"], "resize_stop")
    seen = preview(case, "resize_stop")
    (stop,) = seen.payload["stops"]
    assert (stop["do"], stop["side"], stop["quantity"], stop["price"]) == ("place", "SELL", "1000", "1.09")
    assert seen.sentences == (
        f"Place a stop at the broker: SELL 1000 EURUSD at 1.09, which may only reduce the position "
        f"(order {stop['client_id']}).",
    )
    desk.resolve(case, "resize_stop", people)
    order = Order.objects.get(client_order_id=stop["client_id"])
    assert (order.state, order.tag, order.decision_id, order.reduce_only) == (
        "PLANNED", "STOP", Trade.objects.get().decision_id, True,
    )  # fmt: skip
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "APPLIED", "the stop has not left yet: nothing is over, and nothing has failed"
    assert send_order(order_id=order.pk, broker=desk.broker).state == "WORKING"
    assert resting(desk)[stop["client_id"]] == 1000
    assert found(desk) == []
    case.refresh_from_db()
    assert case.state == "CLOSED"


def test_a_stop_for_a_part_is_made_to_cover_all_in_its_place(desk: Desk, people: People) -> None:
    stop = own_stop(desk, naked(desk), "400")
    case = opened(desk, "PARTIAL_PROTECTION")
    assert (case.severity, case.evidence["evidence"]["missing"]) == ("CRITICAL", "600")
    (planned,) = preview(case, "resize_stop").payload["stops"]
    assert (planned["do"], planned["client_id"], planned["quantity"]) == ("resize", stop.client_order_id, "1000")
    desk.resolve(case, "resize_stop", people)
    assert resting(desk)[stop.client_order_id] == 1000
    stop.refresh_from_db()
    assert (stop.state, stop.quantity) == ("WORKING", 1000)
    books_hold()
    assert found(desk) == []
    case.refresh_from_db()
    assert case.state == "CLOSED"


def test_a_stop_that_the_broker_will_not_change_goes_on_as_it_is_and_its_case_is_open_again(
    desk: Desk, people: People
) -> None:
    stop = own_stop(desk, naked(desk), "400")
    case = opened(desk, "PARTIAL_PROTECTION")
    fault = {"broker": "oanda", "route": "PUT *", "when": "before", "action": "status", "times": 1}
    desk.simulator.post("/faults", {**fault, "args": {"status": 503}})
    desk.resolve(case, "resize_stop", people)
    assert resting(desk)[stop.client_order_id] == 400
    sweep(desk.account)
    assert resting(desk)[stop.client_order_id] == 400, "asked for once"
    desk.reconcile()
    case.refresh_from_db()
    assert (case.state, case.events.latest("sequence").kind) == ("OPEN", "NOT_CURED")


def test_a_stop_that_outlives_its_trade_is_an_orphan_and_is_cancelled(desk: Desk, people: People) -> None:
    stop = own_stop(desk, naked(desk), "1000")
    assert found(desk) == []
    desk.simulator.post("/prices", {"instrument": EURUSD, "bid": "1.12100", "ask": "1.12110"})
    case = opened(desk, "OCO_ORPHAN")
    assert (case.key, case.severity) == (f"order:{stop.client_order_id}", "CRITICAL")
    assert Discrepancy.objects.filter(state="OPEN").count() == 1
    (planned,) = preview(case, "resize_stop").payload["stops"]
    assert (planned["do"], planned["client_id"], planned["quantity"]) == ("cancel", stop.client_order_id, "1000")
    desk.resolve(case, "resize_stop", people)
    stop.refresh_from_db()
    assert stop.state == "CANCELLED" and resting(desk) == {}
    books_hold()
    assert found(desk) == []
    case.refresh_from_db()
    assert case.state == "CLOSED"


def test_a_leg_that_ended_here_and_rests_at_the_broker_is_taken_back_there(desk: Desk, people: People) -> None:
    """Our books were told that it had ended; the broker goes on with it."""
    stop = own_stop(desk, naked(desk), "1000")
    desk.simulator.post("/prices", {"instrument": EURUSD, "bid": "1.12100", "ask": "1.12110"})
    catch_up(account=desk.account, broker=desk.broker)
    with_end = Order.objects.get(pk=stop.pk)
    _end(with_end)
    case = opened(desk, "OCO_ORPHAN")
    desk.resolve(case, "resize_stop", people)
    assert resting(desk) == {}
    assert BrokerMessage.objects.filter(order=stop, purpose="cancel").count() == 1
    stop.refresh_from_db()
    assert stop.state == "EXPIRED", "an end stays an end"
    assert found(desk) == []
    case.refresh_from_db()
    assert case.state == "CLOSED"


def _end(order: Order) -> None:
    with transaction.atomic():
        message = order.messages.latest("id")
        orders.move(
            orders.locked(order.pk), OrderState.EXPIRED, at=now(order.account), reason="a test", message=message
        )


def test_nothing_is_placed_when_the_trade_has_changed_since_the_approval(desk: Desk, people: People) -> None:
    naked(desk)
    case = opened(desk, "UNPROTECTED_POSITION")
    proposal = desk.propose(case, "resize_stop", people.ada)
    desk.simulator.post("/prices", {"instrument": EURUSD, "bid": "1.12100", "ask": "1.12110"})
    catch_up(account=desk.account, broker=desk.broker)
    desk.approve(proposal, people.bob)
    assert sweep(desk.account) == 0
    case.refresh_from_db()
    assert case.state == "OPEN" and "has changed since this was seen" in case.events.latest("sequence").reason
    assert Order.objects.filter(tag="STOP").count() == 1


def test_a_cancel_that_the_broker_did_not_hear_opens_the_case_again_or_is_asked_again(
    desk: Desk, people: People
) -> None:
    stop = own_stop(desk, naked(desk), "1000")
    desk.simulator.post("/prices", {"instrument": EURUSD, "bid": "1.12100", "ask": "1.12110"})
    case = opened(desk, "OCO_ORPHAN")
    desk.simulator.post(
        "/faults", {"broker": "oanda", "route": "PUT *", "when": "before", "action": "drop", "times": 1}
    )
    desk.resolve(case, "resize_stop", people)
    stop.refresh_from_db()
    assert stop.state == "CANCELLING" and stop.client_order_id in resting(desk)
    desk.reconcile()
    case.refresh_from_db()
    assert case.state == "APPLIED"
    Order.objects.filter(pk=stop.pk).update(next_check_at=None)
    assert [order.pk for order in half_cancelled()] == [stop.pk]
    watch_once()
    assert resting(desk) == {} and found(desk) == []
    case.refresh_from_db()
    assert case.state == "CLOSED"


def test_what_a_click_carried_out_is_asked_of_the_broker_by_the_next_sweep(desk: Desk, people: People) -> None:
    stop = own_stop(desk, naked(desk), "400")
    case = opened(desk, "PARTIAL_PROTECTION")
    proposal = desk.propose(case, "resize_stop", people.ada)
    desk.approve(proposal, people.bob)
    assert applying.apply(proposal_id=proposal.pk, actor=TEST).application is not None
    assert resting(desk)[stop.client_order_id] == 400
    sweep(desk.account)
    assert resting(desk)[stop.client_order_id] == 1000 and found(desk) == []


def test_an_application_asks_its_broker_once(desk: Desk, people: People) -> None:
    own_stop(desk, naked(desk), "400")
    case = opened(desk, "PARTIAL_PROTECTION")
    proposal = desk.propose(case, "resize_stop", people.ada)
    desk.approve(proposal, people.bob)
    assert apply_proposal(proposal_id=proposal.pk) == apply_proposal(proposal_id=proposal.pk)
    sweep(desk.account)
    requests = [row for row in desk.simulator.journal() if row["kind"] == "request" and row["data"]["method"] == "PUT"]
    assert sum("orders" in json.dumps(row["data"]) and "cancel" not in json.dumps(row["data"]) for row in requests) == 1


def test_a_filled_bracket_and_its_own_end_give_no_case(desk: Desk) -> None:
    bracket(desk)
    assert found(desk) == []
    desk.simulator.post("/prices", {"instrument": EURUSD, "bid": "1.12100", "ask": "1.12110"})
    assert found(desk) == [] and resting(desk) == {}


def _without_patience(desk: Desk) -> None:
    """From now on nothing that was applied counts as being on its way any more."""
    policy = replace(policy_of(desk.account), race_window_seconds=0)
    desk.account.policy = ensure_version(kind="POLICY", name="at once", body=policy.canonical)
    desk.account.save()


def _try_to_send(desk: Desk, order: Order, expected: str) -> None:
    """Nobody sends it, or nothing is heard of it."""
    if expected == "UNKNOWN":
        fault = {"broker": "oanda", "route": "POST *", "when": "before", "action": "drop", "times": 1}
        desk.simulator.post("/faults", fault)
        order = send_order(order_id=order.pk, broker=desk.broker)
    assert order.state == expected


def _looked_at(desk: Desk, case: Discrepancy) -> tuple[str, str]:
    desk.reconcile()
    case.refresh_from_db()
    return case.state, case.events.latest("sequence").kind


@pytest.mark.parametrize("state", ["PLANNED", "UNKNOWN"])
def test_a_placed_stop_that_never_reaches_the_broker_opens_its_case_again(
    desk: Desk, people: People, state: str
) -> None:
    naked(desk)
    case = opened(desk, "UNPROTECTED_POSITION")
    desk.resolve(case, "resize_stop", people)
    order = Order.objects.get(tag="STOP", state="PLANNED")
    _try_to_send(desk, order, state)
    assert _looked_at(desk, case) == ("APPLIED", "APPLIED"), "it may still be on its way"
    _without_patience(desk)
    assert _looked_at(desk, case) == ("OPEN", "NOT_CURED")


@pytest.mark.parametrize("state", ["PLANNED", "UNKNOWN"])
def test_a_closing_order_that_never_reaches_the_broker_is_told(desk: Desk, people: People, state: str) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    case = opened(desk, "EXTERNAL_POSITION")
    desk.resolve(case, "flatten", people)
    order = Order.objects.get(tag="FLATTEN")
    _try_to_send(desk, order, state)
    assert _looked_at(desk, case) == ("APPLIED", "APPLIED"), "it may still be on its way"
    _without_patience(desk)
    assert _looked_at(desk, case) == ("CLOSED", "NOT_FLATTENED")


def test_a_closing_order_that_the_broker_works_on_is_waited_for(desk: Desk, people: People) -> None:
    desk.external("trade", instrument=EURUSD, quantity="1000", price="1.1")
    case = opened(desk, "EXTERNAL_POSITION")
    desk.resolve(case, "flatten", people)
    with transaction.atomic():
        order = orders.locked(Order.objects.get(tag="FLATTEN").pk)
        for to in (OrderState.SENDING, OrderState.WORKING):
            orders.move(order, to, at=now(desk.account), reason="a test")
    _without_patience(desk)
    assert _looked_at(desk, case) == ("APPLIED", "APPLIED")


def test_the_lock_of_an_instrument_names_the_oldest_case_that_stands_and_keeps_its_time(
    desk: Desk, people: People
) -> None:
    def lock() -> Restriction:
        return Restriction.objects.get(account=desk.account, instrument__symbol="EURUSD", lifted_at=None)

    naked(desk)
    unprotected = opened(desk, "UNPROTECTED_POSITION")
    first = lock()
    assert first.reason.startswith("UNPROTECTED_POSITION ")
    desk.external("trade", instrument=EURUSD, quantity="700", price="1.1")
    opened(desk, "QUANTITY_MISMATCH")
    assert lock() == first, "its case stands"
    desk.resolve(unprotected, "accept", people)
    desk.reconcile()
    second = lock()
    assert second.reason.startswith("QUANTITY_MISMATCH ") and second.at == first.at
    desk.reconcile()
    assert lock() == second


def test_while_one_process_asks_a_broker_about_stops_no_other_does(desk: Desk, people: People) -> None:
    stop = own_stop(desk, naked(desk), "400")
    case = opened(desk, "PARTIAL_PROTECTION")
    proposal = desk.propose(case, "resize_stop", people.ada)
    desk.approve(proposal, people.bob)
    key = f"stops:{desk.account.pk}"
    token = leases.acquire(key=key, holder="another process", seconds=60)
    assert token is not None
    assert applying.apply(proposal_id=proposal.pk, actor=TEST).application is not None
    assert ask_for(desk.account) == 0 and resting(desk)[stop.client_order_id] == 400
    leases.release(key=key, token=token)
    assert ask_for(desk.account) == 1 and resting(desk)[stop.client_order_id] == 1000
    assert ask_for(desk.account) == 0 and not leases.held(key)
