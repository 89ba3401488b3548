"""Alpaca's rows as events: what each becomes, in which order, and that reading them again gives the same."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.brokers.alpaca.alpaca_wire import (
    BRACKET,
    BUY,
    NOW,
    ORDER,
    at,
    bracket_row,
    cash_row,
    fill_row,
    filled,
    order_row,
)
from trading.brokers.alpaca_events import (
    activity,
    activity_at,
    digest,
    executions,
    lacks_executions,
    order_begins,
    order_ends,
    settles_on,
)
from trading.brokers.alpaca_parse import flat, legs
from trading.brokers.drafts import Draft, numbered
from trading.brokers.errors import BadData
from trading.domain.broker import BrokerOrderStatus, CorporateAction, EventKind, LegRole, Side
from trading.domain.canonical import canonical_json

IDS = {ORDER: BUY.client_id}


def test_an_execution_carries_its_orders_client_id_and_no_profit_of_its_own() -> None:
    draft = activity(fill_row(), IDS, "USD")
    [fill] = draft.fills
    assert (fill.client_id, fill.broker_order_id, fill.instrument, fill.side) == (
        BUY.client_id,
        ORDER,
        "AAPL",
        Side.BUY,
    )
    assert (fill.quantity, fill.price) == (Decimal(10), Decimal("200.1"))
    assert fill.realised == fill.financing == fill.commission == 0
    assert fill.settles_on == date(2026, 1, 8)
    assert draft.external_id == fill.external_id == fill_row()["id"]


def test_a_short_sale_is_a_sale() -> None:
    assert activity(fill_row(side="sell_short"), IDS, "USD").fills[0].side is Side.SELL


@pytest.mark.parametrize(
    ("kind", "amount", "event"),
    [
        ("CSD", "100000", EventKind.TRANSFER),
        ("CSW", "-500.25", EventKind.TRANSFER),
        ("JNLC", "12", EventKind.TRANSFER),
        ("DIV", "1.02", EventKind.DIVIDEND),
        ("DIVCGS", "0.4", EventKind.DIVIDEND),
        ("DIVNRA", "-0.15", EventKind.TAX),
        ("DIVFT", "-0.15", EventKind.TAX),
        ("INTNRA", "-0.1", EventKind.TAX),
        ("DIVFEE", "-0.02", EventKind.FEE),
        ("FEE", "-0.02", EventKind.FEE),
        ("INT", "-3", EventKind.FINANCING),
    ],
)
def test_cash_moves_by_its_kind(kind: str, amount: str, event: EventKind) -> None:
    draft = activity(cash_row(kind, amount, symbol="AAPL"), {}, "USD")
    [moved] = draft.cash
    assert draft.kind is moved.kind is event
    assert (moved.amount, moved.currency, moved.instrument) == (Decimal(amount), "USD", "AAPL")


@pytest.mark.parametrize(
    "row",
    [
        cash_row("A_NEW_KIND", "7"),
        cash_row("DIV", "1.02", status="canceled"),
        cash_row("DIV", "1.02", status="correct"),
        cash_row("CSD", "0"),
        fill_row(status="canceled"),
        fill_row(type="bust"),
    ],
)
def test_what_is_not_known_or_does_not_stand_is_kept_and_moves_nothing(row: dict[str, Any]) -> None:
    draft = activity(row, IDS, "USD")
    assert draft.kind is EventKind.OTHER and draft.fills == () and draft.cash == ()
    assert draft.raw["id"] == row["id"]


@pytest.mark.parametrize(
    ("row", "word", "units"),
    [
        (cash_row("SPLIT", "0", qty="30", symbol="AAPL"), "split", Decimal(30)),
        (cash_row("MA", "0", qty="-5", symbol="AAPL"), "merger", Decimal(-5)),
        (cash_row("SPIN", "0", symbol="AAPL"), "spin-off", None),
        (cash_row("DIV", "0", qty="2", symbol="AAPL"), "stock dividend", Decimal(2)),
    ],
)
def test_what_happens_to_shares_themselves_is_named_and_moves_nothing(
    row: dict[str, Any], word: str, units: Decimal | None
) -> None:
    draft = activity(row, {}, "USD")
    assert draft.corporate == CorporateAction(word, "AAPL", units) and draft.kind is EventKind.CORPORATE_ACTION
    assert draft.fills == () and draft.cash == ()
    assert activity({**row, "status": "canceled"}, {}, "USD").corporate is None


def test_an_unreadable_row_has_an_id_of_its_own_and_always_the_same() -> None:
    spoiled = [activity(fill_row(price=value), IDS, "USD") for value in ("NaN", "NaN", "1_000")]
    assert spoiled[0].external_id == spoiled[1].external_id != spoiled[2].external_id
    whole = activity(fill_row(), IDS, "USD")
    assert whole.external_id not in {each.external_id for each in spoiled} and whole.fills


def test_the_status_of_the_order_in_an_execution_is_not_part_of_its_body() -> None:
    bodies = [
        canonical_json(activity(fill_row(order_status=word), IDS, "USD").raw) for word in ("partially_filled", "filled")
    ]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(
    ("row", "when"),
    [
        (fill_row(), "2026-01-07T14:06:00+00:00"),
        (cash_row("DIV", "1"), "2026-01-07T13:00:00+00:00"),
        ({"id": "20220202135509981::x", "date": "2022-02-02"}, "2022-02-02T18:55:09.981000+00:00"),
        ({"id": "20220202000000000::x", "date": "2022-02-03"}, "2022-02-03T00:00:00+00:00"),
    ],
)
def test_the_time_of_an_activity(row: dict[str, Any], when: str) -> None:
    assert activity_at(row) == datetime.fromisoformat(when)


@pytest.mark.parametrize("row", [{"id": "x"}, {"id": "20229902135509981::x"}, {"id": "x", "date": "yesterday"}])
def test_an_activity_without_a_time_is_bad_data(row: dict[str, Any]) -> None:
    with pytest.raises(BadData):
        activity_at(row)


@pytest.mark.parametrize(
    ("traded", "settled"),
    [
        ("2026-01-07T15:00:00+00:00", date(2026, 1, 8)),
        ("2026-01-09T15:00:00+00:00", date(2026, 1, 12)),  # a Friday
        ("2026-01-10T02:00:00+00:00", date(2026, 1, 12)),  # still Friday in New York
        ("2024-05-24T15:00:00+00:00", date(2024, 5, 28)),  # the last Friday of two days
        ("2024-05-28T15:00:00+00:00", date(2024, 5, 29)),
    ],
)
def test_payment_is_due_one_business_day_later_and_two_before_may_2024(traded: str, settled: date) -> None:
    assert settles_on(datetime.fromisoformat(traded)) == settled


def test_the_legs_of_a_bracket_begin_as_legs_of_their_entry() -> None:
    begun = [order_begins(row, leg_of).orders[0] for row, leg_of in flat([bracket_row()])]
    assert [(each.broker_order_id, each.parent_client_id, each.leg) for each in begun] == [
        ("parent", "", None),
        ("leg-target", BRACKET.client_id, LegRole.TP1),
        ("leg-stop", BRACKET.client_id, LegRole.STOP),
    ]


def test_a_leg_that_is_seen_alone_and_then_with_its_entry_is_one_order_and_keeps_its_entry() -> None:
    row = bracket_row()
    alone, _ = legs(row)[0]
    assert [leg_of is not None for _, leg_of in flat([alone, row])] == [True, False, True]


@pytest.mark.parametrize(
    ("word", "key", "kind", "status"),
    [
        ("filled", "filled_at", EventKind.ORDER_FILLED, BrokerOrderStatus.FILLED),
        ("canceled", "canceled_at", EventKind.ORDER_CANCELLED, BrokerOrderStatus.CANCELLED),
        ("expired", "expired_at", EventKind.ORDER_CANCELLED, BrokerOrderStatus.EXPIRED),
        ("rejected", "failed_at", EventKind.ORDER_REJECTED, BrokerOrderStatus.REJECTED),
        ("replaced", "replaced_at", EventKind.ORDER_CANCELLED, BrokerOrderStatus.CANCELLED),
    ],
)
def test_the_end_of_an_order_has_its_own_moment(
    word: str, key: str, kind: EventKind, status: BrokerOrderStatus
) -> None:
    row = order_row(status=word, **{key: at(-0.5)}, replaced_by="another" if word == "replaced" else None)
    draft = order_ends(row, None)
    assert (draft.kind, draft.orders[0].status, draft.external_id) == (kind, status, f"{ORDER}:{word}")
    assert draft.at == datetime(2026, 1, 7, 14, 30, tzinfo=UTC)
    assert ("another" in draft.orders[0].reason) == (word == "replaced")


def test_the_body_of_an_order_stays_the_same_while_it_rests() -> None:
    early, late = order_row(), order_row(status="partially_filled", filled_qty="3", qty="9", updated_at=at(0))
    assert canonical_json(order_begins(early, None).raw) == canonical_json(order_begins(late, None).raw)


def test_at_one_moment_orders_begin_then_fill_then_end() -> None:
    row = order_row(status="filled", filled_at=at(-1))
    events = numbered([order_ends(row, None), activity(fill_row(hours=-1), IDS, "USD"), order_begins(row, None)])
    assert [event.external_id for event in events] == [f"{ORDER}:created", fill_row()["id"], f"{ORDER}:filled"]
    assert sorted(event.sequence for event in events) == [event.sequence for event in events]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=12))
def test_sequences_rise_with_time_and_no_two_are_equal(places: list[tuple[int, int]]) -> None:
    drafts = [
        Draft(datetime(2026, 1, 5, 10, 0, second, tzinfo=UTC), rank, str(number), EventKind.OTHER, {})
        for number, (second, rank) in enumerate(places)
    ]
    events = numbered(drafts)
    assert [event.external_id for event in events] == [
        draft.external_id for draft in sorted(drafts, key=lambda draft: (draft.at, draft.rank))
    ]
    sequences = [event.sequence for event in events]
    assert sequences == sorted(set(sequences)) and all(0 < each < 2**63 for each in sequences)
    assert numbered(drafts) == events


def test_an_order_lacks_executions_until_they_account_for_all_that_filled() -> None:
    row = filled()
    first = fill_row(1, qty="4", cum_qty="4", type="partial_fill")
    second = fill_row(2, qty="6", cum_qty="10")
    assert lacks_executions(row, executions([first]), since=None)
    assert not lacks_executions(row, executions([first, second]), since=None)
    assert lacks_executions(row, executions([second]), since=None), "the first must be listed, too"
    later = NOW - timedelta(minutes=55)
    assert not lacks_executions(row, executions([second]), since=later), "the first is older than what was asked for"
    assert lacks_executions(row, executions([]), since=later), "it was filled since, so its last one must be listed"
    ended = order_row(status="canceled", canceled_at=at(), filled_qty="4")
    assert not lacks_executions(ended, executions([]), since=later), "what it filled may be older"


def test_any_news_changes_the_fingerprint_and_the_order_of_rows_does_not() -> None:
    since = datetime(2026, 1, 6, tzinfo=UTC)
    fills, orders = [fill_row(1), fill_row(2)], [order_row(), order_row("second", status="new")]
    seen = digest(fills, orders, since=since)
    assert seen == digest(fills[::-1], orders[::-1], since=since)
    others = [
        digest(fills[:1], orders, since=since),
        digest([fills[0], {**fills[1], "price": "200.2"}], orders, since=since),
        digest(fills, [orders[0], {**orders[1], "status": "canceled"}], since=since),
        digest(fills, [orders[0], {**orders[1], "filled_qty": "1"}], since=since),
    ]
    assert len({seen, *others}) == 5
