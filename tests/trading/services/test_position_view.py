"""A strategy that is wrong of its own position gets no order, and people are told in which way it is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.trading.services.sessions import make_intent, make_session, make_view
from trading.domain.position_features import PREFIX, SCALES
from trading.engine.accounts import paper_account
from trading.models import Decision, Order, RiskEvent
from trading.services.decisions import decide
from trading.services.setup import ensure_session

FLAT = {f"{PREFIX}{name}": "0" for name in SCALES}


def decided(said: dict[str, str]) -> Decision:
    """The decision on a signal of a strategy that says this of its position, which the books do not have."""
    intent, session = make_intent(), make_session()
    intent = replace(intent, features={**intent.features, **said})
    return decide(
        account=paper_account(name="desk-paper", opened_at=intent.bar_start),
        session=session,
        version=ensure_session(session),
        intent=intent,
        market=make_view(intent),
    )


@pytest.mark.parametrize("said", [{}, FLAT], ids=["nothing", "flat"])
def test_who_says_nothing_or_what_the_books_say_trades(db: None, said: dict[str, str]) -> None:
    assert decided(said).verdict == "APPROVED" and not RiskEvent.objects.filter(kind="POSITION_VIEW").exists()


def test_who_believes_in_a_position_that_the_books_do_not_have_is_refused_and_told_of(db: None) -> None:
    decision = decided({**FLAT, f"{PREFIX}is_long": "1", f"{PREFIX}has_position": "1"})
    assert decision.verdict == "REJECTED" and not Order.objects.exists()
    assert decision.reason == (
        "position_features: orb is wrong of its position: it believes to hold a long position, the books say nothing"
    )
    told = RiskEvent.objects.get(kind="POSITION_VIEW")
    assert told.decision == decision and told.numbers["is_long"] == "1"
