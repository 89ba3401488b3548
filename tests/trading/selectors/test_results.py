"""What trades came to by the ledger alone is what their projections say: ours, other hands', margin and shares."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings

from tests.trading.services import making, shares
from tests.trading.services.histories import History, histories, tell
from tests.trading.services.making import TEST, fill_of, make_account, make_entry, make_exit, receive
from trading.models import Account, Trade
from trading.selectors.results import ledger_pnl
from trading.services import booking
from trading.services.event_facts import fills_in
from trading.services.setup import ensure_instruments

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def instruments(db: None) -> None:
    """The instruments, once for all examples."""
    ensure_instruments()


def both(account: Account) -> tuple[dict[int, Decimal], dict[int, Decimal]]:
    """P&L by decision: what the trades say, what the ledger says."""
    said = {trade.decision_id: trade.pnl for trade in Trade.objects.filter(account=account)}
    return said, ledger_pnl(account, list(said))


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories())
def test_any_history_gives_both_the_same(history: History) -> None:
    with transaction.atomic():
        account = make_account("history")
        making.receive(account, *tell(account, history))
        said, booked = both(account)
        assert said == booked
        transaction.set_rollback(True)


def test_financing_and_commission_of_entry_and_exit_belong_to_the_trade() -> None:
    account = make_account()
    entry = make_entry(account, quantity="1000")
    way_out = make_exit(account, entry, quantity="1000")
    receive(
        account,
        fill_of(1, entry, "1000", "1.1", commission="-0.5"),
        fill_of(2, way_out, "1000", "1.11", realised="10.12345", commission="-0.5", financing="-0.00001"),
    )
    said, booked = both(account)
    assert list(booked.values()) == [Decimal("9.12344")] == list(said.values())


def test_somebody_elses_fill_is_shared_out_over_the_units_that_it_closed() -> None:
    account = make_account()
    application = shares.approved(account)
    first, second = make_entry(account, 1, quantity="100"), make_entry(account, 2, quantity="200")
    receive(account, fill_of(1, first, "100", "1.1"), fill_of(2, second, "200", "1.1"))
    receive(account, fill_of(3, None, "400", "1.2", side="SELL", realised="30", commission="-1", financing="0.3"))
    event = account.broker_events.get(external_id="3")
    (fill,) = fills_in(event)
    booking.book_fill(account=account, event=event, fill=fill, order=None, application=application, actor=TEST)
    said, booked = both(account)
    assert said == booked
    assert sorted(booked.values()) == [Decimal("9.825"), Decimal("19.65")], "a quarter of the fees was for other units"


def test_shares_realise_what_their_lots_give() -> None:
    account = shares.make_share_account()
    entry = shares.entry(account, quantity="10")
    way_out = make_exit(account, entry, quantity="10")
    receive(account, shares.bought(1, entry, "10", "100"), shares.bought(2, way_out, "10", "103", commission="-0.02"))
    said, booked = both(account)
    assert list(booked.values()) == [Decimal("29.98")] == list(said.values())


def test_a_decision_without_fills_came_to_nothing() -> None:
    account = make_account()
    order = make_entry(account)
    assert order.decision_id is not None
    assert ledger_pnl(account, [order.decision_id]) == {order.decision_id: Decimal(0)}
    assert ledger_pnl(account, []) == {}
