"""The paper book over whole runs: the same run twice, and a run that was interrupted."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.trading.domain.making import at, bar, request
from tests.trading.domain.test_paper import FIRST, new_book
from trading.domain.broker import BrokerEvent, OrderType, Side
from trading.domain.paper import PaperBook

D = Decimal
ONE = D(1)

steps = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "stop", "close", "cancel", "nothing"]),
        st.integers(min_value=-30, max_value=30),
        st.integers(min_value=0, max_value=40),
        st.integers(min_value=0, max_value=40),
    ),
    max_size=20,
)
Step = tuple[str, int, int, int]


def play(book: PaperBook, script: list[Step], first: int = 0) -> list[BrokerEvent]:
    """Run a script of bars and orders; step number `first` is the first one's name."""
    events: list[BrokerEvent] = []
    for index, (action, drift, up, down) in enumerate(script, start=first):
        opening = D("1.38000") + D(drift) * D("0.0001")
        high, low = opening + D(up) * D("0.0001"), opening - D(down) * D("0.0001")
        item = bar(at(FIRST) + index * timedelta(minutes=5), f"{opening} {high} {low} {opening}")
        events += book.on_bar(item, atr=None, rate=ONE)
        name = f"o{index}"
        if action in ("buy", "sell"):
            side = Side.BUY if action == "buy" else Side.SELL
            stop, target = (opening - side.sign * D("0.001")), (opening + side.sign * D("0.001"))
            order = request(name, side, "1000", stop=str(stop), target=str(target))
        elif action == "stop":
            order = request(name, Side.BUY, "500", kind=OrderType.STOP, price=str(opening + D("0.0005")))
        elif action == "close":
            order = request(name, Side.SELL, "700", reduce_only=True)
        else:
            if action == "cancel" and book.working_orders:
                events += book.cancel(book.working_orders[0].request.client_id, at=item.end)
            continue
        events += book.submit(order, at=item.end, mid=opening, atr=None, rate=ONE)
    return events


@given(steps)
def test_a_second_run_gives_the_identical_events_in_rising_sequence_with_unique_ids(script: list[Step]) -> None:
    book = new_book()
    events = play(book, script)
    assert events == play(new_book(), script)
    assert [event.sequence for event in events] == list(range(2, 2 + len(events)))
    assert len({event.external_id for event in events}) == len(events)
    assert [event.at for event in events] == sorted(event.at for event in events)
    fills = [fill for event in events for fill in event.fills]
    assert book.balance == 100_000 + sum((fill.realised + fill.commission for fill in fills), D(0))
    opened = sum((fill.side.sign * fill.quantity for fill in fills), D(0))
    assert opened == sum((entry.side.sign * entry.quantity for entry in book.open_entries), D(0))


@given(steps, st.data())
def test_a_restored_book_goes_on_as_if_it_had_never_stopped(script: list[Step], data: st.DataObject) -> None:
    cut = data.draw(st.integers(min_value=0, max_value=len(script)))
    whole = play(new_book(), script)
    book = new_book()
    before = play(book, script[:cut])
    restored = PaperBook.restore(
        currency=book.currency,
        costs=book.costs,
        balance=book.balance,
        last_sequence=book.last_sequence,
        open_entries=book.open_entries,
        working_orders=book.working_orders,
        known_client_ids={news.client_id for event in before for news in event.orders},
    )
    assert before + play(restored, script[cut:], first=cut) == whole
