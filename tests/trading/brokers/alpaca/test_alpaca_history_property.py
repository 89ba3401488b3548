"""Whenever an account is looked at, and however late Alpaca shows its rows: every event is found and stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trading.brokers.alpaca.alpaca_wire import NOW, cash_row, fill_row, order_row
from trading.brokers import alpaca_history
from trading.brokers.alpaca_history import Cursor
from trading.domain.broker import BrokerEvent, Completeness


@dataclass
class Story:
    """What happens to one order: each part of it that fills, after how many hours, and how many hours late it shows."""

    begins: float
    parts: list[tuple[float, float]]
    ends_after: float | None


@dataclass
class Account:
    """The account as it is shown at `hour`, in the words of the client that history is read through."""

    stories: list[Story]
    fees: list[tuple[float, float]]
    hour: float = 0
    account_id: str = "SIMALPACA"
    reads: list[str] = field(default_factory=list)

    def read_list(self, path: str, question: str, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        self.reads.append(path)
        rows, key = (self.orders(), "submitted_at") if path == "/orders" else (self.activities(), "")
        after = datetime.fromisoformat(fields["after"]) if "after" in fields else NOW - timedelta(days=9999)
        times = [
            datetime.fromisoformat(row[key] if key else row.get("transaction_time") or row["created_at"])
            for row in rows
        ]
        listed = sorted(((at, n) for n, at in enumerate(times) if at > after))
        return [rows[n] for _, n in listed]

    def orders(self) -> list[dict[str, Any]]:
        found = []
        for number, story in enumerate(self.stories):
            if story.begins > self.hour:
                continue
            changes = [story.begins + after for after, _ in story.parts if story.begins + after <= self.hour]
            row = order_row(f"order-{number}", f"ours-{number}", story.begins, filled_qty=str(len(changes)))
            row |= {"qty": str(max(1, len(story.parts))), "updated_at": _at(max([story.begins, *changes]))}
            if changes and len(changes) == len(story.parts) and story.ends_after is None:
                row |= {"status": "filled", "filled_at": _at(changes[-1])}
            elif story.ends_after is not None and (end := _last(story) + story.ends_after) <= self.hour:
                row |= {"status": "canceled", "canceled_at": _at(end)}
            elif changes:
                row |= {"status": "partially_filled"}
            found.append(row)
        return found

    def activities(self) -> list[dict[str, Any]]:
        found = [
            cash_row("FEE", "-1", 1000 + number, at)
            for number, (at, late) in enumerate(self.fees)
            if at + late <= self.hour
        ]
        for number, story in enumerate(self.stories):
            shown = 0.0  # the executions of one order show in their order
            for part, (after, late) in enumerate(story.parts):
                shown = max(shown, story.begins + after + late)
                if shown <= self.hour:
                    found.append(
                        fill_row(
                            number * 10 + part,
                            story.begins + after,
                            order_id=f"order-{number}",
                            qty="1",
                            cum_qty=str(part + 1),
                        )
                    )
        return found


def _at(hours: float) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


def _last(story: Story) -> float:
    return story.begins + max([0.0, *(after for after, _ in story.parts)])


hours = st.integers(0, 200).map(lambda quarter: quarter / 4)
ends = st.one_of(st.none(), hours)
# Executions that come long after their order are shown within the overlap; at once filled ones may be days late.
resting = st.builds(
    Story, hours, st.lists(st.tuples(hours, st.sampled_from([0.0, 0.5, 20.0])), max_size=3).map(sorted), ends
)
at_once = st.builds(
    Story, hours, st.lists(st.tuples(st.just(0.0), st.sampled_from([0.0, 60.0, 100.0])), max_size=3), ends
)
stories = st.one_of(resting, at_once)
soon = st.sampled_from([0.0, 0.5, 12.0])  # a fee that is written down later is created later


@settings(max_examples=100, deadline=None)
@given(
    st.lists(stories, max_size=4),
    st.lists(st.tuples(hours, soon), max_size=3),
    st.lists(st.floats(0.1, 60), min_size=1, max_size=12),
)
def test_every_event_is_found_once_and_never_changes(
    told: list[Story], fees: list[tuple[float, float]], steps: list[float]
) -> None:
    account = Account(told, fees)
    seen: dict[str, BrokerEvent] = {}
    cursor: Cursor | None = None
    whole = max([0.0, *(_last(story) + (story.ends_after or 0) for story in told), *(at for at, _ in fees)]) + 110
    # At least one look at each day while something is late, as a desk that runs has.
    moments = sorted(
        {*(sum(steps[:n]) for n in range(len(steps))), *(24.0 * n for n in range(int(whole // 24) + 2)), whole}
    )
    for moment in moments:
        account.hour = moment
        page = alpaca_history.read(account, cursor, now=NOW + timedelta(hours=moment), currency="USD").page  # type: ignore[arg-type]
        assert page.completeness is Completeness.COMPLETE
        for event in page.events:
            assert seen.setdefault(event.external_id, event).raw == event.raw
        cursor = Cursor.parse(page.cursor)
        assert cursor is not None
        still = alpaca_history.read(account, cursor, now=NOW + timedelta(hours=moment), currency="USD").page  # type: ignore[arg-type]
        assert still.cursor == page.cursor, "the same state must give the same cursor"

    account.hour = whole
    rows = account.orders()
    assert {event.external_id for event in seen.values() if event.kind.startswith("ORDER") and not event.fills} == {
        *(f"{row['id']}:created" for row in rows),
        *(f"{row['id']}:{row['status']}" for row in rows if row["status"] in ("filled", "canceled")),
    }
    assert {event.external_id for event in seen.values() if event.fills or event.cash} == {
        row["id"] for row in account.activities()
    }
    assert [event.fills[0].client_id for event in seen.values() if event.fills and not event.fills[0].client_id] == []
