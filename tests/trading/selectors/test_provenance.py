"""Every number leads down to the broker's words or to two people, in a fixed number of queries."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.trading.admin.world import World, build_world, grow
from tests.trading.selectors.corrected import correct
from tests.trading.services import making, shares
from trading.models import (
    Anchor,
    Application,
    BrokerMessage,
    ChainBlock,
    Entry,
    Order,
    OrderEvent,
    Trade,
)
from trading.selectors.provenance import (
    DecisionOrigin,
    entries_of_trade,
    provenance_of,
    provenance_of_balance,
    rows_of,
)
from trading.selectors.seals import key_of
from trading.selectors.statement import Period
from trading.services import approvals, booking, settlement
from trading.services.event_facts import fills_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    """One account: a deposit that was corrected, a trade that was closed, somebody else's fill that was approved."""
    made = build_world()
    grow(made, 8)
    deposit = Entry.objects.get(kind="TRANSFER")
    correct(deposit, Decimal(90000), made.people["ada"], made.people["bob"])
    held = made.account.broker_events.get(external_id="900")
    (fill,) = fills_in(held)
    with transaction.atomic():
        application = making_application(made)
        booking.book_fill(
            account=made.account, event=held, fill=fill, order=None, application=application, actor=making.TEST
        )
    leave = making.make_exit(made.account, made.entry, quantity="10000", number=7000)
    making.receive(made.account, making.fill_of(7001, leave, "10000", "1.1", realised="98.8"))
    return made


def making_application(made: World) -> Application:
    """Another approval of the same two people."""
    proposal = approvals.propose(
        kind="test", account=made.account, subject_type="a test", subject_id=1, subject_version=1,
        payload={"entries": [{"entry": str(kind)} for kind in Entry.NEEDS_APPROVAL]},
        reason="traded by hand", proposer=made.people["ada"], actor=making.TEST,
    )  # fmt: skip
    approvals.decide(
        proposal=proposal, approver=made.people["bob"], verdict="APPROVE", payload_sha256=proposal.payload_sha256,
        subject_version=1, actor=making.TEST,
    )  # fmt: skip
    return approvals.record_application(proposal=proposal, applied_by=made.people["bob"], result={}, actor=making.TEST)


def test_every_entry_reaches_an_event_of_the_broker_or_an_approval(world: World) -> None:
    found = provenance_of(Entry.objects.values_list("pk", flat=True))
    assert len(found.origins) == Entry.objects.count() >= 8
    assert all(origin.is_grounded for origin in found.origins)
    kinds = {str(origin.entry.kind): origin for origin in found.origins}
    assert set(kinds) >= {"FILL", "TRANSFER", "REVERSAL", "EXTERNAL_FILL"}
    assert kinds["FILL"].broker_events and not kinds["FILL"].approvals
    assert kinds["REVERSAL"].approvals and not kinds["REVERSAL"].broker_events
    outside = kinds["EXTERNAL_FILL"]
    assert outside.broker_events[0].external_id == "900"
    assert [verdict.approver.username for verdict in outside.approvals[0].approvals] == ["bob"]
    assert outside.fill is not None and outside.fill.order is None


def test_a_fill_leads_to_the_brokers_words_and_over_the_order_to_gates_signal_and_configuration(world: World) -> None:
    (origin,) = provenance_of([world.entry.fills.get().entries.get().pk]).origins
    fill = origin.fill
    assert fill is not None and fill.event is not None and fill.order is not None
    assert fill.event.body["type"] == "ORDER_FILL"
    assert [event.to_state for event in fill.order.events][:3] == ["PLANNED", "SENDING", "WORKING"]
    (message,) = fill.order.messages
    assert json.loads(message.request_body) == {"order": {"units": "10000"}} and message.status == 201
    decided = fill.order.decision
    assert isinstance(decided, DecisionOrigin)
    assert decided.decision == world.decision and decided.decision.gates[0]["name"] == "daily_stop"
    assert decided.signal.strategy == "orb" and decided.session.body


def test_an_exit_leads_to_its_intent_and_the_decision_it_leaves(world: World) -> None:
    entry = Entry.objects.get(fill__external_id="7001")
    (origin,) = provenance_of([entry.pk]).origins
    assert origin.fill is not None and origin.fill.order is not None and origin.fill.order.exit_intent is not None
    assert origin.fill.order.decision is not None and origin.fill.order.decision.decision == world.decision


def test_a_leg_leads_to_the_message_of_the_order_that_placed_it(world: World) -> None:
    making.receive(world.account, making.fill_of(8000, world.stop, "10000", "1.085", realised="-51.2"))
    entry = Entry.objects.get(fill__order=world.stop)
    (origin,) = provenance_of([entry.pk]).origins
    assert origin.fill is not None and origin.fill.order is not None and origin.fill.order.placed_by is not None
    assert not origin.fill.order.messages
    assert origin.fill.order.placed_by.order == world.entry
    assert origin.fill.order.placed_by.messages == tuple(BrokerMessage.objects.filter(order=world.entry))


def test_corrections_are_linked_both_ways(world: World) -> None:
    first = Entry.objects.get(kind="TRANSFER", replaces=None)
    reversal, again = Entry.objects.get(reverses=first), Entry.objects.get(replaces=first)
    wrong, back, right = provenance_of([first.pk, reversal.pk, again.pk]).origins
    assert (wrong.reversed_by, wrong.replaced_by) == (reversal, again)
    assert back.reverses == first == right.replaces
    assert right.reversed_by is None and right.replaced_by is None


def test_every_fact_of_the_tree_is_sealed_by_the_block_that_covers_it(world: World) -> None:
    found = provenance_of(Entry.objects.values_list("pk", flat=True))
    rows = [row for origin in found.origins for row in rows_of(origin)]
    assert {type(row) for row in rows} >= {Entry, OrderEvent, BrokerMessage, Application}
    assert not any(isinstance(row, Order) for row in rows)
    for row in rows:
        seal = found.seal_of(row)
        assert seal is not None, row
        block = ChainBlock.objects.get(number=seal.block)
        assert block.table_name == key_of(row)[0] and block.first_id <= row.pk <= block.last_id
        assert bytes(block.hash).hex() == seal.hash and not seal.is_anchored
    assert found.seal_of(world.entry) is None


def test_a_seal_says_whether_a_head_at_or_after_it_stands_outside(world: World) -> None:
    first, last = Entry.objects.order_by("id").first(), Entry.objects.order_by("id").last()
    assert first is not None and last is not None
    found = provenance_of([first.pk, last.pk])
    seals = [found.seal_of(row) for row in (first, last)]
    assert seals[0] is not None and seals[1] is not None
    Anchor.objects.create(at=making.START, number=seals[0].block, hash=bytes(32), sink="a file", seal="0" * 64)
    again = provenance_of([first.pk, last.pk])
    anchored = [seal.is_anchored for seal in map(again.seal_of, (first, last)) if seal is not None]
    assert anchored == [True, False]


def test_a_balance_is_the_sum_of_the_postings_that_lead_to_it(world: World) -> None:
    cash = world.account.ledger_accounts.get(kind="CASH")
    newest = provenance_of_balance(cash, size=3)
    shown = newest.statement
    assert len(shown.lines) == 3 and shown.carried_forward == shown.closing
    assert shown.brought_forward + sum((line.amount for line in shown.lines), Decimal(0)) == shown.closing
    for line in shown.lines:
        assert newest.origin_of(line.entry_id).entry.pk == line.entry_id
    with pytest.raises(KeyError):
        newest.origin_of(0)
    first = Entry.objects.order_by("id").first()
    assert first is not None
    then = provenance_of_balance(cash, Period(known_at=first.recorded_at))
    assert [origin.entry for origin in then.provenance.origins] == [first]


def test_a_trades_entries_are_those_of_its_own_fills_and_of_what_closed_it(world: World) -> None:
    trade = Trade.objects.get(decision=world.decision)
    booked = Entry.objects.filter(pk__in=entries_of_trade(trade))
    assert {entry.fill.external_id for entry in booked if entry.fill} == {"11", "7001"}
    others = making.fill_of(7100, None, "3000", "1.2", side="SELL")
    making.receive(world.account, others)
    held = world.account.broker_events.get(external_id="7100")
    (fill,) = fills_in(held)
    with transaction.atomic():
        booking.book_fill(
            account=world.account, event=held, fill=fill, order=None,
            application=making_application(world), actor=making.TEST,
        )  # fmt: skip
    ended = Trade.objects.filter(account=world.account).exclude(decision=world.decision).order_by("opened_at").first()
    assert ended is not None and ended.open_quantity < ended.quantity, (
        "the oldest units that were left are closed first"
    )
    assert "7100" in {e.fill.external_id for e in Entry.objects.filter(pk__in=entries_of_trade(ended)) if e.fill}


def test_a_payment_on_its_value_date_leads_to_the_fill_that_it_pays() -> None:
    account = shares.make_share_account()
    order = shares.entry(account)
    bought = shares.bought(1, order, "10", "100", settles_on=making.START.date())
    making.receive(account, bought)
    shares.put_clock(account, shares.noon(making.START.date()))
    settlement.settle_due(account)
    (origin,) = provenance_of([Entry.objects.get(kind="SETTLEMENT").pk]).origins
    assert origin.is_grounded and origin.fill is not None and origin.fill.event is not None


def test_it_costs_the_same_queries_however_many_entries_there_are(world: World) -> None:
    stops = Order.objects.filter(tag="STOP").exclude(pk=world.stop.pk).order_by("id")[:4]
    for place, stop in enumerate(stops):  # legs lead to the messages of the orders that placed them
        making.receive(world.account, making.fill_of(8000 + place, stop, "1000", "1.085", realised="-5.12"))
    numbers = list(Entry.objects.order_by("id").values_list("pk", flat=True))
    counts = []
    for wanted in (numbers[:4] + numbers[-2:], numbers):
        with CaptureQueriesContext(connection) as queries:
            found = provenance_of(wanted)
            for origin in found.origins:
                assert origin.is_grounded
        counts.append(len(queries))
    assert counts[1] <= 24, "\n".join(query["sql"][:160] for query in queries.captured_queries)
    assert counts[0] <= counts[1] <= counts[0] + 4, "what is not there is not asked for, and nothing grows with rows"
