"""Deciding on shares under the US policy: its limits are the account's, and count what stands in the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.trading.services.making import fill_of, make_account, make_entry, make_exit, receive
from tests.trading.services.sessions import MONDAY, make_intent, make_session, make_view
from trading.domain.broker import Side
from trading.engine.accounts import paper_account
from trading.models import Account, Decision, Trade
from trading.services.decisions import decide
from trading.services.setup import ensure_policy, ensure_session

D = Decimal
SHARES = ("AAPL", "GOOG", "IBM", "MSFT", "SPY")
SESSION = make_session(SHARES, risk_pct=1, max_open_per_symbol=5)


@pytest.fixture
def paper(db: None) -> Account:
    return paper_account(name="us-paper", opened_at=MONDAY, policy=ensure_policy("us_swing"))


def choose(
    account: Account,
    symbol: str = "AAPL",
    *,
    confidence: int | None = 4,
    side: Side = Side.BUY,
    stop: str = "95.00",
    day: datetime = MONDAY,
    **view: Any,
) -> Decision:
    """Decide on a share at 100 with its stop so far away."""
    away = 100 - D(stop)
    intent = replace(
        make_intent(symbol, side=side, day=day),
        entry=D("100.00"),
        stop=100 - side.sign * away,
        target=100 + side.sign * D("10.00"),
        confidence=confidence,
        score=None if confidence is None else D(confidence) / 5,
        feature_scores={"calm": "1"},
    )
    return decide(
        account=account,
        session=SESSION,
        version=ensure_session(SESSION),
        intent=intent,
        market=make_view(intent, **view),
    )


def refused_by(decision: Decision) -> list[str]:
    """The gates that refused."""
    return [gate["name"] for gate in decision.gates if not gate["passed"]]


@pytest.mark.parametrize(("confidence", "units"), [(1, 4), (2, 8), (3, 12), (4, 16), (5, 20), (None, 4)])
def test_the_risk_of_a_trade_follows_its_confidence(paper: Account, confidence: int | None, units: int) -> None:
    decision = choose(paper, confidence=confidence, stop="40.00")
    assert decision.verdict == "APPROVED" and decision.position_size == units
    assert decision.risk_amount == units * 60
    signal = decision.signal
    assert (signal.confidence, signal.feature_scores) == (confidence, {"calm": "1"})
    assert signal.score == (None if confidence is None else D(confidence) / 5)


def test_a_position_takes_no_more_than_its_part_of_the_account(paper: Account) -> None:
    decision = choose(paper)
    assert (decision.position_size, decision.risk_amount) == (50, 250), "5 % of 100,000 at 100 each"


def test_a_symbol_is_entered_once_a_day_whichever_way_and_again_the_next_day(paper: Account) -> None:
    first = choose(paper)
    assert first.verdict == "APPROVED" and choose(paper) == first
    later = replace(make_intent("AAPL", minutes=10, side=Side.SELL), entry=D(100), stop=D(105), target=D(90))

    def the_other_way(account: Account) -> Decision:
        version, market = ensure_session(SESSION), make_view(later)
        return decide(account=account, session=SESSION, version=version, intent=later, market=market)

    refused = the_other_way(paper)
    assert "one_entry_per_day" in refused_by(refused) and "AAPL was entered today already" in refused.reason
    assert "one_entry_per_day" not in refused_by(choose(paper, day=MONDAY + timedelta(days=1)))
    fx = paper_account(name="fx-paper", opened_at=MONDAY)
    assert choose(fx).verdict == "APPROVED"
    assert "one_entry_per_day" not in refused_by(the_other_way(fx)), "elsewhere each direction counts by itself"


def test_the_account_makes_four_trades_a_day(paper: Account) -> None:
    assert [refused_by(choose(paper, symbol)) for symbol in SHARES] == [[], [], [], [], ["trades_today"]]
    assert refused_by(choose(paper, SHARES[-1], day=MONDAY + timedelta(days=1))) == []


def test_the_open_risk_on_a_symbol_stays_below_its_cap(paper: Account) -> None:
    assert choose(paper, stop="40.00").risk_pct == D("0.96")
    # The first entry still waits, which is a reason of its own.
    tomorrow, waits = MONDAY + timedelta(days=1), "pending_order"
    assert refused_by(choose(paper, stop="40.00", confidence=5, day=tomorrow)) == [waits, "symbol_risk"]
    assert refused_by(choose(paper, "SPY", stop="40.00", confidence=5, day=tomorrow)) == []
    after = tomorrow + timedelta(days=1)
    assert refused_by(choose(paper, stop="40.00", day=after)) == [waits], "0.96 twice is below 2"


@pytest.mark.parametrize(("open_pnl", "gates"), [("-499.99", []), ("-500", ["daily_loss"])])
def test_the_daily_loss_is_what_was_realised_today_and_what_is_open(db: None, open_pnl: str, gates: list[str]) -> None:
    account = make_account(policy=ensure_policy("us_swing"))
    entry = make_entry(account, quantity="15000", at=MONDAY)
    leave = make_exit(account, entry, quantity="15000")
    receive(account, fill_of(2, entry, "15000", "1.1"), fill_of(3, leave, "15000", "1.0", realised="-1500"))
    assert Trade.objects.get().pnl == -1500
    late = MONDAY + timedelta(hours=20)
    assert refused_by(choose(account, now=late, price_at=late, open_pnl=D(open_pnl))) == gates
    tomorrow = MONDAY + timedelta(days=1)
    assert "daily_loss" not in refused_by(choose(account, day=tomorrow, open_pnl=D(open_pnl))), "another day's"


def test_cash_that_waiting_entries_will_need_is_spent_already(paper: Account) -> None:
    assert refused_by(choose(paper, cash=D(5000))) == []
    assert refused_by(choose(paper, "SPY", cash=D("9999.99"))) == ["buying_power"]
    assert refused_by(choose(paper, "IBM", cash=D(10_000))) == []
