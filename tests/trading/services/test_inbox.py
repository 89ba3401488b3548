"""The inbox: what the broker says is stored once, linked, and booked when it is about an order of ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.trading.services.histories import left_behind
from tests.trading.services.making import (
    cash_of,
    created,
    fill_of,
    instrument,
    make_account,
    make_entry,
    make_exit,
    moment,
    receive,
)
from trading.domain.policy import load_policy
from trading.models import (
    Account,
    BrokerEvent,
    CashEvent,
    Entry,
    ExitIntent,
    Fill,
    InstrumentAlias,
    Order,
    OrderEvent,
    Position,
    Rate,
    RiskEvent,
    Trade,
)
from trading.selectors import books
from trading.selectors.inbox import unposted
from trading.services import cursors
from trading.services.inbox import INFLOW
from trading.services.linking import link
from trading.services.market import store_rate
from trading.services.setup import ensure_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_account()


def states(order: Order) -> list[str]:
    """The states that an order went through."""
    return list(OrderEvent.objects.filter(order=order).order_by("sequence").values_list("to_state", flat=True))


def test_a_changed_body_is_a_risk_event_and_leaves_the_books_alone(account: Account) -> None:
    order = make_entry(account)
    first = fill_of(1, order, "1000", "1.1", realised="5")
    receive(account, first)
    before = left_behind(account)
    changed = fill_of(1, order, "1000", "1.2", realised="500")
    for _ in range(2):
        result = receive(account, changed)
        assert (result.stored, result.repeated, result.changed, result.posted_fills) == (0, 1, ["1"], 0)
    assert left_behind(account) == before
    (risk,) = RiskEvent.objects.all()
    assert risk.kind == "EVENT_BODY_CHANGED" and risk.numbers["event"] == "1"
    assert risk.numbers["body"]["price"] == "1.2" and BrokerEvent.objects.get().body["price"] == "1.1"
    receive(account, fill_of(1, order, "999", "1.2"))
    assert RiskEvent.objects.count() == 2, "a third body is told of too"


def test_a_history_told_again_is_recognised_with_as_many_questions_however_long_it_is(account: Account) -> None:
    def told(number: int) -> int:
        with CaptureQueriesContext(connection) as asked:
            result = receive(account, *history[:number])
        assert (result.stored, result.repeated) == (0, number)
        return len(asked)

    history = [fill_of(number, None, "1") for number in range(1, 41)]
    receive(account, *history)
    told(1)
    assert told(40) == told(2)


def test_one_event_twice_in_one_batch_is_stored_once_and_its_other_body_told_of(account: Account) -> None:
    order = make_entry(account)
    first, other = fill_of(1, order, "1000", "1.1"), fill_of(1, order, "1000", "1.2")
    result = receive(account, first, first, other, other)
    assert (result.stored, result.repeated, result.posted_fills) == (1, 3, 1) and result.changed == ["1", "1"]
    assert RiskEvent.objects.count() == 1
    receive(account, first)
    assert RiskEvent.objects.count() == 2, "that it says the first again is told of, too"


def test_a_fill_before_its_acknowledgement_fills_the_order_once(account: Account) -> None:
    order = make_entry(account, quantity="1000")
    receive(account, fill_of(5, order, "1000"))
    receive(account, created(6, order))
    order.refresh_from_db()
    assert states(order) == ["PLANNED", "SENDING", "FILLED"]
    assert (order.filled_quantity, order.average_price, order.broker_order_id) == (
        Decimal(1000), Decimal("1.1"), f"b{order.client_order_id}",
    )  # fmt: skip
    assert Position.objects.get().quantity == 1000


@pytest.mark.parametrize("state", ["CANCELLED", "REJECTED", "EXPIRED"])
@pytest.mark.scenario("S-25")
def test_a_fill_after_the_end_is_booked_and_told_of(account: Account, state: str) -> None:
    order = make_entry(account, quantity="1000", state=state)
    result = receive(account, fill_of(9, order, "1000", "1.1"))
    assert result.posted_fills == 1 and result.held == []
    order.refresh_from_db()
    assert order.state == "FILLED" and books.positions(account)["EURUSD"].quantity == 1000
    (risk,) = RiskEvent.objects.all()
    assert risk.kind == "LATE_FILL" and risk.numbers == {"order": order.pk, "fill": "9", "from": state}
    receive(account, fill_of(9, order, "1000", "1.1"))
    assert RiskEvent.objects.count() == 1


def test_more_filled_than_ordered_is_booked_and_told_of(account: Account) -> None:
    order = make_entry(account, quantity="1000")
    receive(account, fill_of(1, order, "1000"), fill_of(2, order, "10"))
    assert books.positions(account)["EURUSD"].quantity == 1010
    assert {risk.kind for risk in RiskEvent.objects.all()} == {"LATE_FILL", "OVERFILLED"}


def test_a_late_part_of_an_exit_is_booked_while_the_next_exit_is_alive(account: Account) -> None:
    entry = make_entry(account, quantity="1000")
    receive(account, fill_of(1, entry, "1000"))
    first = make_exit(account, entry, quantity="1000", number=1, state="WORKING")
    receive(account, created(2, first, "CANCELLED"))
    second = make_exit(account, entry, quantity="1000", number=3, state="WORKING")
    receive(account, fill_of(4, first, "300", "1.2"))
    assert books.positions(account)["EURUSD"].quantity == 700
    assert set(ExitIntent.objects.values_list("pk", "state")) == {
        (first.exit_intent_id, "CANCELLED"),
        (second.exit_intent_id, "SUBMITTED"),
    }


def test_somebody_elses_fill_is_kept_and_not_booked(account: Account) -> None:
    make_entry(account, quantity="1000")
    result = receive(account, fill_of(3, None, "1000"))
    event = BrokerEvent.objects.get()
    assert (result.held, result.posted_fills) == ([event.pk], 0)
    assert not Fill.objects.exists() and not Entry.objects.exists() and unposted(account) == [event]
    assert Order.objects.get().state == "SENDING", "never linked by symbol, side and quantity"


def test_a_fill_without_our_order_cannot_enter_the_books_by_the_orm_either(account: Account) -> None:
    receive(account, fill_of(3, None, "1000"))
    with pytest.raises(DatabaseError, match="needs_an_approval"), transaction.atomic():
        Fill.objects.create(
            at=moment(3), account=account, external_id="3", broker_event=BrokerEvent.objects.get(),
            instrument=instrument(), side="BUY", quantity=1000, price=1,
        )  # fmt: skip


def test_a_fill_is_linked_by_the_brokers_id_when_it_carries_no_client_id(account: Account) -> None:
    order = make_entry(account, quantity="1000", state="WORKING")
    receive(account, created(1, order), fill_of(2, order, "1000", by_broker_id=True))
    order.refresh_from_db()
    assert order.state == "FILLED"


def test_a_client_id_wins_over_a_brokers_id(account: Account) -> None:
    one, two = make_entry(account, 1), make_entry(account, 2)
    receive(account, created(1, one, broker_order_id="77"))
    assert link(account, client_id=two.client_order_id, broker_order_id="77") == two
    assert link(account, client_id="unknown", broker_order_id="77") == one
    assert link(account, client_id="", broker_order_id="") is None


def test_an_order_of_another_account_is_not_ours_here(account: Account) -> None:
    elsewhere = make_entry(make_account("oanda-other"), quantity="1000")
    result = receive(account, fill_of(1, elsewhere, "1000"))
    assert len(result.held) == 1 and not Fill.objects.exists()


@pytest.mark.parametrize("kind", ["TRANSFER", "FINANCING", "FEE", "DIVIDEND"])
def test_typed_cash_is_booked_once(account: Account, kind: str) -> None:
    event = cash_of(1, kind, "-12.34")
    receive(account, event)
    receive(account, event, event)
    row = CashEvent.objects.get()
    assert (row.kind, row.amount) == (kind, Decimal("-12.34"))
    assert Entry.objects.get().kind == kind and books.cash_balances(account) == {"USD": Decimal("-12.34")}


def test_cash_of_no_amount_is_kept_without_an_entry(account: Account) -> None:
    receive(account, cash_of(1, "FINANCING", "0"))
    assert CashEvent.objects.count() == 1 and not Entry.objects.exists() and unposted(account) == []


def test_cash_of_a_kind_nobody_knows_is_held(account: Account) -> None:
    event = cash_of(1, "OTHER", "10")
    assert receive(account, event).held == [BrokerEvent.objects.get().pk]
    assert not CashEvent.objects.exists()


def test_what_an_unmapped_instrument_did_is_held_and_the_rest_is_applied(account: Account) -> None:
    order, other = (
        make_entry(account, 1, quantity="1000"),
        make_entry(account, 2, symbol="XAUUSD", quantity="5", entry="2000", stop="1990", target="2010"),
    )
    InstrumentAlias.objects.filter(symbol="EUR_USD").update(valid_until=moment(0))
    result = receive(
        account,
        fill_of(1, order, "1000"),
        fill_of(2, other, "5", "2000"),
        cash_of(3, "DIVIDEND", "9", symbol="WHAT_EVER"),
        cash_of(4, "TRANSFER", "100"),
    )
    assert result.posted_fills == 1 and len(result.held) == 1
    assert {f.instrument.symbol for f in Fill.objects.all()} == {"XAUUSD"}
    assert books.cash_balances(account) == {"USD": Decimal(109)}, "money that moved is booked, whatever it is about"
    assert [risk.kind for risk in RiskEvent.objects.all()] == ["UNMAPPED_INSTRUMENT"]
    order.refresh_from_db()
    assert (order.state, order.filled_quantity) == ("SENDING", 0), "an order moves only with a fill that is booked"


def test_a_fill_without_a_rate_is_booked_and_its_trade_has_no_r(account: Account) -> None:
    order = make_entry(account, symbol="GBPJPY", quantity="1000", entry="150", stop="149", target="151")
    leave = make_exit(account, order, quantity="1000")
    result = receive(account, fill_of(1, order, "1000", "150"), fill_of(2, leave, "1000", "151", realised="6.6"))
    assert result.posted_fills == 2 and books.positions(account) == {}
    assert {risk.kind for risk in RiskEvent.objects.all()} == {"RATE_MISSING"}
    trade = Trade.objects.get()
    assert (trade.pnl, trade.risk_amount, trade.r) == (Decimal("6.6"), 0, 0)


def test_risk_is_converted_with_the_rate_that_was_stored_last_before_the_fill(account: Account) -> None:
    for minutes, value in ((-60, "0.0070"), (-5, "0.0066"), (60, "0.0050")):
        store_rate(
            base="JPY",
            quote="USD",
            value=Decimal(value),
            at=moment(1) + timedelta(minutes=minutes),
            source=account.name,
        )
    store_rate(base="JPY", quote="USD", value=Decimal("0.008"), at=moment(1), source="another replay's account")
    order = make_entry(account, symbol="USDJPY", quantity="1000", entry="150", stop="149", target="151")
    receive(account, fill_of(1, order, "1000", "150", realised="3.3"))
    trade = Trade.objects.get()
    assert (trade.risk_amount, trade.r) == (Decimal("6.6"), Decimal("0.5")) and not RiskEvent.objects.exists()


def test_a_fill_against_the_accounts_own_currency_says_the_rate_itself_where_none_is_stored() -> None:
    account = make_account("oanda-euro", currency="EUR")
    order = make_entry(account, quantity="1000", entry="1.25", stop="1.2", target="1.3")
    receive(account, fill_of(1, order, "1000", "1.25"))
    assert Trade.objects.get().risk_amount == Decimal(40) and not RiskEvent.objects.exists()
    assert not Rate.objects.exists(), "the fill is the evidence"


def test_a_number_that_cannot_be_stored_exactly_is_held_and_the_rest_is_applied(account: Account) -> None:
    order = make_entry(account, quantity="1000")
    result = receive(
        account,
        fill_of(1, order, "500", "1.1000000000001"),
        cash_of(2, "FEE", "0.0000000000001"),
        cash_of(3, "TRANSFER", "100"),
        fill_of(4, order, "500"),
    )
    assert result.posted_fills == 1 and len(result.held) == 2
    assert books.cash_balances(account) == {"USD": Decimal(100)}
    order.refresh_from_db()
    assert (order.state, order.filled_quantity) == ("PARTIAL", 500)


def test_a_policy_that_applies_nothing_by_itself_holds_everything() -> None:
    policy = load_policy("policy:\n  name: strict\n  apply_exact_own_fills: false\n  apply_typed_cash_events: false\n")
    version = ensure_version(kind="POLICY", name="strict", body=policy.canonical)
    account = make_account("oanda-strict", policy=version)
    result = receive(account, fill_of(1, make_entry(account), "10"), cash_of(2, "TRANSFER", "5"))
    assert len(result.held) == 2 and not Entry.objects.exists() and len(unposted(account)) == 2


def test_the_cursor_moves_with_the_events_or_not_at_all(account: Account) -> None:
    receive(account, cash_of(1, "TRANSFER", "5"), cursor="1")
    assert cursors.get(account, INFLOW) == "1"
    bad = replace(cash_of(3, "TRANSFER", "5"), raw={"a": 0.5})
    with pytest.raises(TypeError, match="float"), transaction.atomic():
        receive(account, cash_of(2, "TRANSFER", "5"), bad, cursor="3")
    assert cursors.get(account, INFLOW) == "1" and BrokerEvent.objects.count() == 1


def test_a_broker_that_cancels_what_is_unknown_ends_it(account: Account) -> None:
    order = make_entry(account, state="UNKNOWN", legs=True)
    receive(account, created(1, order, "CANCELLED"))
    assert states(order)[-2:] == ["UNKNOWN", "CANCELLED"]
    legs = Order.objects.filter(rides_on=order)
    assert {leg.state for leg in legs} == {"CANCELLED"}, "what never came alive goes with its entry"


def test_news_of_an_earlier_state_moves_nothing_back(account: Account) -> None:
    order = make_entry(account, quantity="10")
    receive(account, fill_of(2, order, "10"), created(3, order), created(4, order, "CANCELLED"))
    assert states(order) == ["PLANNED", "SENDING", "FILLED"]


def test_the_announcement_of_a_fill_does_not_fill(account: Account) -> None:
    order = make_entry(account, quantity="10", state="WORKING")
    receive(account, created(1, order, "FILLED"))
    order.refresh_from_db()
    assert (order.state, order.filled_quantity) == ("WORKING", 0)


def test_a_stop_that_the_broker_filled_closes_the_trade(account: Account) -> None:
    entry = make_entry(account, quantity="1000", legs=True, stop="1.09", target="1.12")
    stop = Order.objects.get(rides_on=entry, tag="STOP")
    target = Order.objects.get(rides_on=entry, tag="TP1")
    receive(account, fill_of(1, entry, "1000", "1.1", commission="-1"), created(2, stop), created(3, target))
    assert Trade.objects.get().state == "OPEN"
    receive(
        account,
        fill_of(4, stop, "1000", "1.09", realised="-10", financing="-0.5", commission="-1"),
        created(5, target, "CANCELLED"),
    )
    trade = Trade.objects.get()
    assert (trade.state, trade.close_reason, trade.pnl, trade.fees) == (
        "CLOSED",
        "SL",
        Decimal("-12.5"),
        Decimal("-2.5"),
    )
    assert (trade.risk_amount, trade.r) == (Decimal(10), Decimal("-1.25"))
    assert (trade.exit_price, trade.closed_at, trade.trading_day) == (Decimal("1.09"), moment(4), moment(4).date())
