"""Deciding: one signal, one decision with every gate's numbers, and no more room given away than there is."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from tests.conftest import CommittedDatabase
from tests.trading.services.making import TEST, cash_of, fill_of, instrument, make_account, make_entry, receive
from tests.trading.services.sessions import make_intent, make_session, make_view
from trading.domain.broker import OrderType
from trading.domain.gates import GATES
from trading.domain.session import SessionConfig
from trading.engine.accounts import paper_account
from trading.models import Account, AuditEvent, Decision, Instrument, Order, OrderGroup, RiskEvent, Signal, Trade
from trading.selectors.policies import policy_of
from trading.services import restrictions
from trading.services.decisions import decide
from trading.services.projections import project_position
from trading.services.setup import ensure_session, ensure_version
from trading.strategies.base import SignalIntent

EIGHT = ("EURUSD", "GBPUSD", "AUDUSD", "NZDUSD", "USDCAD", "USDCHF", "EURGBP", "GBPJPY")


@pytest.fixture
def paper(db: None) -> Account:
    return paper_account(name="desk-paper", opened_at=make_intent().bar_start)


@pytest.fixture
def mirror(paper: Account) -> Account:
    account = make_account("desk-oanda")
    account.mirror_of = paper
    account.save()
    return account


def choose(
    account: Account, intent: SignalIntent | None = None, *, session: SessionConfig | None = None,
    mirrors: tuple[Account, ...] = (), **view: Any,
) -> Decision:  # fmt: skip
    """Decide as the engine does."""
    intent, session = intent or make_intent(), session or make_session()
    return decide(
        account=account,
        session=session,
        version=ensure_session(session),
        intent=intent,
        market=make_view(intent, **view),
        mirrors=mirrors,
    )


def test_the_same_bar_twice_is_one_decision(paper: Account, mirror: Account) -> None:
    first = choose(paper, mirrors=(mirror,))
    counted = [model.objects.count() for model in (Signal, Decision, Order, OrderGroup, AuditEvent)]
    assert choose(paper, mirrors=(mirror,), equity=Decimal(5), in_hole=True) == first
    assert [model.objects.count() for model in (Signal, Decision, Order, OrderGroup, AuditEvent)] == counted
    assert first.verdict == "APPROVED" and first.signal.features == {"range_high": "1.09"}


def test_an_approved_decision_has_its_entry_and_the_legs_that_ride_on_it(paper: Account) -> None:
    decision = choose(paper)
    entry = Order.objects.get(tag="ENTRY")
    assert (entry.state, entry.side, entry.quantity) == ("PLANNED", "BUY", Decimal(50000))
    assert decision.position_size == 50000 and decision.risk_amount == 500 and decision.risk_pct == Decimal("0.5")
    legs = {leg.tag: leg for leg in Order.objects.filter(rides_on=entry)}
    assert {tag: (leg.side, leg.price, leg.reduce_only) for tag, leg in legs.items()} == {
        "STOP": ("SELL", Decimal("1.09"), True),
        "TP1": ("SELL", Decimal("1.11"), True),
    }
    assert entry.good_till is not None and entry.good_till.hour == 10
    assert decision.portfolio_heat_before == 0 and decision.portfolio_heat_after == Decimal("0.5")


def test_a_rejected_decision_keeps_every_gate_with_its_numbers_and_plans_nothing(paper: Account) -> None:
    decision = choose(paper, in_hole=True, equity=None, bar_had_position=None)
    assert decision.verdict == "REJECTED" and not Order.objects.exists()
    assert [gate["name"] for gate in decision.gates] == list(GATES)
    failed = {gate["name"] for gate in decision.gates if not gate["passed"]}
    assert {"data_quality", "bar_had_position", "size", "portfolio_heat", "drawdown_lock"} <= failed
    assert all(gate["reason"] for gate in decision.gates if not gate["passed"])
    assert "bars are missing" in decision.reason
    ages = next(gate["numbers"] for gate in decision.gates if gate["name"] == "data_quality")
    assert ages == {"price_age_s": "0", "limit_s": "60"}


def test_a_decision_cannot_be_made_again_for_the_same_bar_by_the_orm(paper: Account) -> None:
    decision = choose(paper)
    signal = Signal.objects.get()
    signal.pk = None
    with pytest.raises(DatabaseError, match="one_signal_per"), transaction.atomic():
        signal.save(force_insert=True)
    decision.pk, decision.client_plan_id = None, "another"
    with pytest.raises(DatabaseError, match="unique"), transaction.atomic():
        decision.save(force_insert=True)


def test_a_mirror_gets_the_same_legs_scaled_and_floored_to_lots(paper: Account, mirror: Account) -> None:
    mirror.mirror_scale = Decimal("0.12345")
    mirror.save()
    choose(paper, mirrors=(mirror,))
    planned = Order.objects.filter(account=mirror)
    assert {order.tag: order.quantity for order in planned} == dict.fromkeys(("ENTRY", "STOP", "TP1"), Decimal(6172))
    ids = set(Order.objects.values_list("client_order_id", flat=True))
    assert len(ids) == 6, "each leg on each account has an id of its own"


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("too small", "less than one lot"),
        ("too much", "than the exchange takes"),
        ("restricted", "REDUCE_ONLY"),
        ("external", "that is not ours"),
    ],
)
def test_a_mirrors_refusal_is_recorded_and_the_paper_account_goes_on(
    paper: Account, mirror: Account, why: str, words: str
) -> None:
    if why == "too small":
        mirror.mirror_scale = Decimal("0.00001")
        mirror.save()
    elif why == "too much":
        mirror.mirror_scale = Decimal(3)
        mirror.save()
        Instrument.objects.filter(symbol="EURUSD").update(freeze_quantity=Decimal(149_999))
    elif why == "restricted":
        restrictions.restrict(account=mirror, level="REDUCE_ONLY", source="test", reason="look first", actor=TEST)
    else:
        _adopt(mirror)
    for _ in range(2):
        decision = choose(paper, mirrors=(mirror,))
    (refusal,) = RiskEvent.objects.filter(kind="MIRROR_REFUSED")
    assert (refusal.account, refusal.decision) == (mirror, decision) and words in refusal.reason
    assert refusal.numbers["units"] == "50000"
    assert not Order.objects.filter(account=mirror, decision=decision).exists()
    assert Order.objects.filter(account=paper, tag="ENTRY").exists()


def with_policy(account: Account, **changes: object) -> None:
    """Give the account a policy that differs from the shipped one."""
    policy = replace(policy_of(account), **changes)  # type: ignore[arg-type]
    account.policy = ensure_version(kind="POLICY", name="a test's", body=policy.canonical)
    account.save()


def a_limit(order_type: OrderType = OrderType.LIMIT) -> SignalIntent:
    return replace(make_intent(), order_type=order_type)


@pytest.mark.parametrize("order_type", [OrderType.LIMIT, OrderType.STOP])
def test_a_resting_entry_ends_with_its_time_out_or_its_window_whichever_comes_first(
    paper: Account, order_type: OrderType
) -> None:
    with_policy(paper, entry_timeout_seconds=90)
    intent = a_limit(order_type)
    choose(paper, intent)
    assert Order.objects.get(tag="ENTRY").good_till == intent.bar_end + timedelta(seconds=90)


def test_a_time_out_after_the_window_changes_nothing(paper: Account) -> None:
    with_policy(paper, entry_timeout_seconds=86_400)
    choose(paper, a_limit())
    end = Order.objects.get(tag="ENTRY").good_till
    assert end is not None and end.hour == 10


def test_a_market_entry_has_no_time_out(paper: Account) -> None:
    with_policy(paper, entry_timeout_seconds=90)
    choose(paper)
    end = Order.objects.get(tag="ENTRY").good_till
    assert end is not None and end.hour == 10


def test_a_limit_entry_is_measured_at_the_price_to_which_it_may_be_moved(paper: Account) -> None:
    with_policy(paper, chase_ticks=20)
    decision = choose(paper, a_limit())
    entry = Order.objects.get(tag="ENTRY")
    # 500 at risk over 0.0102, not over 0.0100: 49,019 units, not 50,000.
    assert (entry.price, entry.quantity) == (Decimal("1.1"), Decimal(49_019))
    assert decision.risk_amount <= 500 and entry.quantity * Decimal("0.0102") <= 500
    sane = next(gate["numbers"] for gate in decision.gates if gate["name"] == "price_sane")
    assert sane["entry"] == "1.1002"


def test_an_entry_above_what_the_exchange_takes_in_one_order_is_rejected(paper: Account) -> None:
    Instrument.objects.filter(symbol="EURUSD").update(freeze_quantity=Decimal(49_999))
    decision = choose(paper)
    assert decision.verdict == "REJECTED" and not Order.objects.exists()
    assert [gate["name"] for gate in decision.gates if not gate["passed"]] == ["freeze_quantity"]


def test_a_price_off_the_tick_that_the_broker_says_today_is_rejected(paper: Account) -> None:
    Instrument.objects.filter(symbol="EURUSD").update(tick_size=Decimal("0.003"))
    decision = choose(paper)
    assert [gate["name"] for gate in decision.gates if not gate["passed"]] == ["price_sane"]
    assert "not on the tick of 0.003" in decision.reason


def _adopt(account: Account) -> None:
    """Let the account hold units that are no strategy's: a trade that its row calls closed while its lot is open."""
    entry = make_entry(account, 90, quantity="5")
    receive(account, fill_of(1, entry, "5"))
    Trade.objects.filter(account=account).update(state="CLOSED", open_quantity=0)
    assert project_position(account, instrument()).external_quantity == 5


def test_a_restriction_on_strategy_or_instrument_blocks_entries_and_says_why(paper: Account) -> None:
    restrictions.restrict(strategy="orb", level="REDUCE_ONLY", source="test", reason="strategy pause", actor=TEST)
    decision = choose(paper)
    assert decision.verdict == "REJECTED" and "REDUCE_ONLY: test: strategy pause" in decision.reason


def test_a_pending_entry_counts_as_open_and_as_risk(paper: Account) -> None:
    session = make_session(max_open_positions=1)
    assert choose(paper, session=session).verdict == "APPROVED"
    second = choose(paper, make_intent("XAUUSD"), session=session)
    assert second.verdict == "REJECTED" and "as many positions are open" in second.reason
    assert second.portfolio_heat_before == Decimal("0.5")


def test_a_drawdown_from_the_peak_locks_entries(paper: Account) -> None:
    receive(paper, cash_of(1, "TRANSFER", "100000"))
    assert choose(paper, make_intent(minutes=85), equity=Decimal("95001")).verdict == "APPROVED"
    locked = choose(paper, make_intent("XAUUSD", minutes=90), equity=Decimal("95000"))
    assert locked.verdict == "REJECTED" and "drawdown" in locked.reason


def together(account: Account, session: SessionConfig) -> list[Decision]:
    """Eight threads, each with a connection of its own, decide on eight symbols at once."""
    version = ensure_session(session)
    barrier, made, failed = threading.Barrier(8), [], []

    def work(symbol: str) -> None:
        intent = make_intent(symbol)
        try:
            barrier.wait()
            made.append(
                decide(account=account, session=session, version=version, intent=intent, market=make_view(intent))
            )
        except Exception as error:  # noqa: BLE001 - shown by the test
            failed.append(error)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work, args=(symbol,)) for symbol in EIGHT]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    return made


@pytest.mark.parametrize(
    ("changes", "room", "gate"),
    [
        ({"max_open_positions": 3}, 3, "max_open_positions"),
        ({"max_open_positions": 100}, 4, "portfolio_heat"),
        ({"trades": 2}, 2, "strategy_day"),
        ({"daily_risk_pct": 1.5}, 3, "daily_risk_budget"),
    ],
)
def test_eight_at_once_never_take_more_than_the_room_there_is(
    committed_db: CommittedDatabase, changes: dict[str, Any], room: int, gate: str
) -> None:
    account = paper_account(name="desk-paper", opened_at=make_intent().bar_start)
    made = together(account, make_session(EIGHT, **changes))
    approved = [decision for decision in made if decision.verdict == "APPROVED"]
    assert len(made) == 8 and len(approved) == room
    assert Order.objects.filter(tag="ENTRY").count() == room
    for decision in made:
        if decision.verdict == "REJECTED":
            assert gate in [g["name"] for g in decision.gates if not g["passed"]]
    heats = sorted(decision.portfolio_heat_after for decision in approved)
    assert heats == [Decimal("0.5") * n for n in range(1, room + 1)], "each saw what the one before had taken"


def test_eight_that_decide_on_the_same_bar_make_one_decision(committed_db: CommittedDatabase) -> None:
    account, session = paper_account(name="desk-paper", opened_at=make_intent().bar_start), make_session()
    version, found = ensure_session(session), set()
    intent = make_intent()

    def work() -> None:
        try:
            found.add(
                decide(account=account, session=session, version=version, intent=intent, market=make_view(intent)).pk
            )
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 1 and Order.objects.count() == 3
