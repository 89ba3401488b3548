"""A day's events in any order, in any batches, any number of times: the books are those of the broker's order.

Two accounts live through the same day. One is told everything at once in the broker's order, and people approve what
is not ours at once; the other is told it in any permutation, in batches, with repetitions, and its approvals come
whenever they come. Margin and cash instruments, first in first out and average cost, prices that no rounding likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from backoffice.verification import INVARIANTS, check
from tests.trading.services import making
from tests.trading.services.histories import Execution, History, histories, tell
from tests.trading.services.making import TEST
from tests.trading.services.shares import approved, make_share_account
from trading.domain.broker import BrokerEvent as PortEvent
from trading.domain.broker import EventKind
from trading.domain.lots import LotMethod
from trading.domain.money import STORED_STEP, round_to_step
from trading.models import Account, Application, BrokerEvent, Fill, Instrument
from trading.selectors import books
from trading.selectors.books_digest import books_digest, books_told
from trading.services import booking
from trading.services.event_facts import fills_in
from trading.services.lots import choose_method
from trading.services.setup import ensure_instruments

pytestmark = pytest.mark.django_db
# Without shrinking: an example is some hundred statements, and a failure must not take an hour.
each_example_rolls_back = settings(
    max_examples=settings().max_examples // 16,  # 6, or 625 a night
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SHARES = {"EURUSD": "AAPL", "XAUUSD": "MSFT"}
HOLD = {
    "C-01", "C-02", "C-04", "I-05", "I-06", "I-10", "I-20", "I-22", "I-24", "I-25", "I-27", "I-33", "P-01", "P-02",
    "P-03", "R-06",
}  # fmt: skip


@pytest.fixture(autouse=True)
def instruments(db: None) -> None:
    """The instruments, once for all examples."""
    ensure_instruments()


@dataclass(frozen=True)
class Day:
    """What happens, and to what kind of account."""

    history: History
    method: LotMethod
    is_margin: bool
    nasty: bool
    by_broker_id: bool


days = st.builds(Day, histories(), st.sampled_from(LotMethod), st.booleans(), st.booleans(), st.booleans())


def account_for(day: Day, name: str) -> Account:
    account = making.make_account(name) if day.is_margin else make_share_account(name)
    return choose_method(account=account, method=day.method, actor=TEST)


def events_of(account: Account, day: Day) -> list[PortEvent]:
    legs = day.history.legs
    if day.nasty:
        legs = tuple(replace(leg, executions=tuple(_nasty(part) for part in leg.executions)) for leg in legs)
    if not day.is_margin:
        legs = tuple(
            replace(leg, symbol=SHARES[leg.symbol], executions=tuple(_paid(part) for part in leg.executions))
            for leg in legs
        )
    told = tell(account, replace(day.history, legs=legs))
    if day.by_broker_id:
        told = [_by_broker_id(event, told) for event in told]
    if day.is_margin:
        return told
    return [replace(event, fills=tuple(_share(fill) for fill in event.fills)) for event in told]


def _by_broker_id(event: PortEvent, told: Sequence[PortEvent]) -> PortEvent:
    """The same, where fills of orders that the broker acknowledged before name the broker's id alone."""
    made = [other for other in told if other.kind == EventKind.ORDER_CREATED]
    named = {news.broker_order_id for other in made for news in other.orders}
    fills = (replace(fill, client_id="" if fill.broker_order_id in named else fill.client_id) for fill in event.fills)
    return replace(event, fills=tuple(fills))


def _nasty(part: Execution) -> Execution:
    quantity = round_to_step(part.quantity / 3, STORED_STEP)
    return replace(part, quantity=quantity, price=round_to_step(part.price * 1000 / 7, STORED_STEP))


def _paid(part: Execution) -> Execution:
    return replace(part, realised=Decimal(0), financing=Decimal(0))


def _share(fill: Any) -> Any:
    return replace(fill, instrument="AAPL") if fill.instrument == "EUR_USD" else fill


def approve_what_waits(account: Account, application: Application, external_ids: Sequence[str]) -> None:
    """Two people approve fills that are not ours; they are booked as the broker tells them."""
    for row in BrokerEvent.objects.filter(account=account, external_id__in=external_ids).order_by("sequence"):
        for fill in fills_in(row):
            booking.book_fill(account=account, event=row, fill=fill, order=None, application=application, actor=TEST)


def foreign(events: Sequence[PortEvent]) -> list[str]:
    """The broker's ids of fills that are nobody's order here."""
    return [
        event.external_id for event in events if any(fill.broker_order_id.startswith("other-") for fill in event.fills)
    ]


@each_example_rolls_back
@given(
    day=days,
    cuts=st.lists(st.integers(1, 30), max_size=5),
    again=st.lists(st.integers(0, 30), max_size=8),
    waits=st.booleans(),
    mixed=st.randoms(use_true_random=False),
)
@pytest.mark.scenario("S-27")
def test_any_permutation_cutting_and_repeating_of_a_day_leaves_the_same_books(
    day: Day, cuts: list[int], again: list[int], waits: bool, mixed: Any
) -> None:
    with transaction.atomic():
        straight, crooked = account_for(day, "straight"), account_for(day, "crooked")
        agreed = approved(straight), approved(crooked)
        for event in events_of(straight, day):
            making.receive(straight, event)
            approve_what_waits(straight, agreed[0], foreign([event]))
        events = events_of(crooked, day)
        mixed.shuffle(events)
        done = 0
        for end in (*sorted(cuts), len(events)):
            batch = events[done : max(end, done)] + [events[number] for number in again if number < done]
            mixed.shuffle(batch)
            making.receive(crooked, *batch)
            if not waits:
                approve_what_waits(crooked, agreed[1], foreign(batch))
            done = min(max(end, done), len(events))
        approve_what_waits(crooked, agreed[1], foreign(mixed.sample(events, len(events))))
        said, wanted = books_told(crooked), books_told(straight)
        for part, value in wanted.items():
            assert said[part] == value, part
        assert books_digest(crooked) == books_digest(straight)
        assert _profit(crooked) == _profit(straight), "each fill's number depends on what was known, their sum does not"
        _check_nothing_left(crooked)
        with connection.cursor() as cursor:
            for invariant in INVARIANTS:
                if invariant.id in HOLD:
                    result = check(cursor, invariant, account_id=crooked.pk)
                    note(invariant.id)
                    assert result.ok, (invariant.id, result.rows)
        transaction.set_rollback(True)


def _profit(account: Account) -> Decimal:
    return sum(Fill.objects.filter(account=account).values_list("realised", flat=True), Decimal(0))


def _check_nothing_left(account: Account) -> None:
    """Flat shares stand at nothing; and profit with rounding is the cash that the fills moved."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT commodity_id, sum(amount) FROM ledger_posting GROUP BY 1 HAVING sum(amount) <> 0")
        assert cursor.fetchall() == []
    cash = Instrument.objects.filter(is_margin=False, symbol__in=SHARES.values())
    if all(not books.open_lots(account, instrument) for instrument in cash):
        assert not books.balances(account, "MARKET").get("USD", Decimal(0))
