"""Splits in the books: units and cost of every lot scaled, no cash, no profit, and our trades go on in new units."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection

from backoffice.verification import INVARIANTS, check
from tests.trading.services import making, shares
from tests.trading.services.making import TEST, instrument, receive
from tests.trading.services.shares import bought, make_share_account
from trading.models import Account, Application, AuditEvent, BrokerEvent, Entry, Fill, OrderGroup, RiskEvent, Trade
from trading.selectors import books
from trading.services import booking
from trading.services.errors import RuleBroken
from trading.services.event_facts import fills_in
from trading.services.ledger import Draft, post
from trading.services.lots import choose_method, match_without
from trading.services.splits import book_split

pytestmark = pytest.mark.django_db
D = Decimal
HOLD = {
    "C-01",
    "C-02",
    "C-04",
    "I-05",
    "I-06",
    "I-10",
    "I-16b",
    "I-20",
    "I-22",
    "I-24",
    "I-25",
    "I-27",
    "P-01",
    "P-03",
    "R-06",
}


@pytest.fixture
def account() -> Account:
    made = make_share_account()
    receive(made, making.cash_of(1, "TRANSFER", "10000"))
    return made


def verified() -> None:
    """Every invariant about books and trades holds."""
    with connection.cursor() as cursor:
        for invariant in INVARIANTS:
            if invariant.id in HOLD:
                result = check(cursor, invariant)
                assert result.ok, (invariant.id, result.rows)


def split(account: Account, application: Application, before: str, after: str) -> list[Fill]:
    """Let AAPL be split."""
    shares.put_clock(account, making.moment(100))
    return book_split(
        account=account, instrument=instrument("AAPL"), before=D(before), after=D(after), application=application,
        actor=TEST,
    )  # fmt: skip


def test_every_lot_is_scaled_at_its_total_cost_and_no_cash_moves(account: Account) -> None:
    first = shares.entry(account, quantity="12", entry="400", stop="380", target="500")
    receive(account, bought(2, first, "10", "400"), bought(3, first, "2", "430"))
    cash, kinds = books.cash(account), [books.balances(account, kind) for kind in ("MARKET", "REALISED", "CAPITAL")]
    application = shares.approved(account)
    assert split(account, application, "12", "48") == split(account, application, "12", "48")
    lots = books.open_lots(account, instrument("AAPL"))
    assert [(lot.quantity, lot.unit_cost) for lot in lots] == [(40, 100), (8, D("107.5"))]
    after = [books.balances(account, kind) for kind in ("MARKET", "REALISED", "CAPITAL")]
    assert books.cash(account) == cash and [b.get("USD") for b in after] == [b.get("USD") for b in kinds]
    assert books.positions(account)["AAPL"].quantity == 48
    assert Entry.objects.filter(kind="SPLIT").count() == 2
    told = AuditEvent.objects.filter(kind="fill.booked", reason="because of a test").order_by("id")
    assert [event.after["split"] for event in told] == ["12 became 48"] * 2
    verified()


@pytest.mark.scenario("S-44")
def test_an_open_trade_goes_on_in_new_units_with_its_risk_and_says_that_its_stop_is_not_safe(account: Account) -> None:
    first = shares.entry(account, quantity="10", entry="400", stop="380", target="500")
    receive(account, bought(2, first, "10", "400"))
    risk = Trade.objects.get().risk_amount
    split(account, shares.approved(account), "10", "40")
    trade = Trade.objects.get()
    assert (trade.quantity, trade.open_quantity, trade.entry_price) == (40, 40, 100)
    assert (trade.initial_stop, trade.target, trade.risk_amount, trade.pnl) == (95, 125, risk, 0)
    assert books.positions(account)["AAPL"].external_quantity == 0
    assert OrderGroup.objects.get().state == "UNSAFE" and RiskEvent.objects.get().kind == "PROTECTION_AFTER_SPLIT"
    receive(account, bought(200, making.make_exit(account, first, quantity="40", number=190), "40", "110"))
    trade.refresh_from_db()
    assert (trade.state, trade.pnl, trade.exit_price, trade.r) == ("CLOSED", 400, 110, 2)
    verified()


def test_somebodys_close_after_a_split_still_ends_the_trade_that_opened_the_units(account: Account) -> None:
    first = shares.entry(account, quantity="10", entry="400", stop="380", target="500")
    receive(account, bought(2, first, "10", "400"))
    application = shares.approved(account)
    split(account, application, "10", "40")
    receive(account, bought(200, None, "40", "105", side="SELL"))
    event = BrokerEvent.objects.get(external_id="200")
    booking.book_fill(
        account=account, event=event, fill=fills_in(event)[0], order=None, application=application, actor=TEST
    )
    trade = Trade.objects.get()
    assert (trade.state, trade.pnl, trade.close_reason) == ("CLOSED", 200, "EXTERNAL")
    verified()


def test_a_trade_that_had_ended_is_not_touched(account: Account) -> None:
    first, second = (shares.entry(account, number, entry="400", stop="380", target="500") for number in (1, 2))
    receive(account, bought(2, first, "10", "400"))
    receive(account, bought(3, making.make_exit(account, first, quantity="10"), "10", "410"))
    receive(account, bought(4, second, "10", "400"))
    before = Trade.objects.filter(decision=first.decision).values().get()
    split(account, shares.approved(account), "10", "20")
    assert Trade.objects.filter(decision=first.decision).values().get() == before
    verified()


def test_units_that_do_not_divide_leave_the_rest_on_the_last_lot(account: Account) -> None:
    first = shares.entry(account, quantity="20", entry="10", stop="9", target="20")
    receive(account, bought(2, first, "10", "10"), bought(3, first, "5", "11"), bought(4, first, "5", "12"))
    split(account, shares.approved(account), "20", "7")
    lots = books.open_lots(account, instrument("AAPL"))
    assert sum(lot.quantity for lot in lots) == 7
    assert abs(sum(lot.quantity * lot.unit_cost for lot in lots) - 215) < D("1e-9")
    verified()


@pytest.mark.fault("F-106", broker="every")
def test_what_rounding_the_new_costs_leaves_over_is_booked_as_rounding(account: Account) -> None:
    first = shares.entry(account, quantity="10", entry="10", stop="9", target="20")
    receive(account, bought(2, first, "10", "10"))
    split(account, shares.approved(account), "10", "7")
    (lot,) = books.open_lots(account, instrument("AAPL"))
    assert (lot.unit_cost, lot.opened_at) == (D("14.285714285714"), making.moment(2)), "opened when its units were"
    assert books.balances(account, "MARKET")["USD"] == lot.quantity * lot.unit_cost
    assert books.balances(account, "ROUNDING")["USD"] == D("0.000000000002")
    receive(account, bought(200, making.make_exit(account, first, quantity="7", number=190), "7", "15"))
    assert books.balances(account, "MARKET")["USD"] == 0
    verified()


def test_a_fill_of_before_that_is_told_after_a_split_comes_after_it(account: Account) -> None:
    first = shares.entry(account, quantity="20", entry="400", stop="380", target="500")
    receive(account, bought(5, first, "10", "400"))
    split(account, shares.approved(account), "10", "40")
    receive(account, bought(4, first, "10", "100"), bought(200, first, "1", "101"))
    receive(account, bought(199, first, "2", "99"))
    assert [(lot.quantity, lot.unit_cost) for lot in books.open_lots(account, instrument("AAPL"))] == [
        (40, 100), (10, 100), (2, 99), (1, 101),
    ]  # fmt: skip
    with pytest.raises(RuleBroken, match="before the units of AAPL were changed"):
        match_without(account, instrument("AAPL"), Fill.objects.get(external_id="5"))


def test_a_pool_at_average_cost_stays_one_through_a_split(account: Account) -> None:
    choose_method(account=account, method="AVERAGE", actor=TEST)
    first = shares.entry(account, quantity="20", entry="10", stop="9", target="20")
    receive(account, bought(2, first, "10", "10"), bought(3, first, "5", "13"))
    split(account, shares.approved(account), "15", "30")
    receive(account, bought(200, first, "10", "6.5"))
    (lot,) = books.open_lots(account, instrument("AAPL"))
    assert (lot.quantity, lot.unit_cost, lot.opened_at) == (40, D("5.75"), making.moment(2))
    verified()


@pytest.mark.parametrize(("before", "after"), [("9", "36"), ("10", "-40"), ("10", "0")])
def test_what_is_no_split_of_what_is_held_is_refused(account: Account, before: str, after: str) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100"))
    with pytest.raises(RuleBroken, match="are no split of that"):
        split(account, shares.approved(account), before, after)
    assert Fill.objects.count() == 1


def test_the_door_lets_no_lot_come_from_a_fill_of_another_account(account: Account) -> None:
    receive(account, bought(2, shares.entry(account), "10", "100"))
    fill, other = Fill.objects.get(), make_share_account("another")
    receive(other, bought(2, shares.entry(other), "10", "100"))
    lot = {
        "instrument_id": str(instrument("AAPL").pk), "side": "1", "quantity": "1", "unit_cost": "1",
        "origin_id": str(Fill.objects.get(account=other).pk),
    }  # fmt: skip
    again = Fill.objects.get(pk=fill.pk)
    again.pk, again.external_id = None, "not booked yet"
    again.save(force_insert=True)
    draft = Draft(account=account, key="k", kind="FILL", at=making.START, fill=again, lots=[lot])
    draft.move(commodity="AAPL", amount=D(1), into="POSITION", out_of="MARKET")
    with pytest.raises(RuleBroken, match="an origin that it cannot have"):
        post(draft)
    draft.kind, draft.lots = "SPLIT", []
    with pytest.raises(RuleBroken, match="needs_an_application"):
        post(draft)
