"""Shares on the paper book: the balance moves by the whole payment, and the broker names no profit."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.trading.domain.making import at, bar, request
from trading.domain.broker import EventKind, Side
from trading.domain.costs import CostModel
from trading.domain.instruments import instrument
from trading.domain.paper import PaperBook

D = Decimal
ONE = D(1)
NOON = at("2014-05-01 14:00")


def new_book(currency: str = "USD", commission: str = "0") -> PaperBook:
    """An account with 100,000 and a spread of two cents; a share costs two cents a side with slippage."""
    costs = {s: CostModel(instrument(s), D(2), D(commission)) for s in ("AAPL", "SPY", "INFY", "EURUSD")}
    book = PaperBook(currency=currency, costs=costs)
    book.deposit(D(100_000), NOON)
    return book


def trade(book: PaperBook, name: str, side: Side, quantity: str, mid: str, **more: str) -> list[EventKind]:
    """A market order in AAPL; what happened, by kinds."""
    order = request(name, side, quantity, instrument="AAPL", **more)
    return [event.kind for event in book.submit(order, at=NOON, mid=D(mid), atr=None, rate=ONE)]


def test_a_purchase_costs_its_price_and_a_sale_brings_it_without_a_realised_profit() -> None:
    book = new_book(commission="1000")
    trade(book, "buy", Side.BUY, "100", "50")
    assert book.balance == 100_000 - 100 * D("50.02") - D("0.1")
    close = request("close", Side.SELL, "100", instrument="AAPL", reduce_only=True)
    (_, event) = book.submit(close, at=NOON, mid=D("51"), atr=None, rate=ONE)
    assert (event.fills[0].realised, event.fills[0].price) == (0, D("50.98"))
    assert event.balance_after == book.balance == 100_000 + 100 * (D("50.98") - D("50.02")) - D("0.2")


def test_the_bracket_of_shares_brings_the_payment_at_its_price() -> None:
    book = new_book()
    trade(book, "buy", Side.BUY, "10", "50", stop="49", target="52")
    before = book.balance
    events = book.on_bar(bar(NOON, "50 50.5 48 48.5", symbol="AAPL"), atr=None, rate=ONE)
    assert events[0].fills[0].price == D("48.98") and book.balance == before + 10 * D("48.98")


def test_worth_is_the_value_of_shares_and_the_open_profit_of_margin_positions() -> None:
    book = new_book()
    trade(book, "buy", Side.BUY, "10", "50")
    (shares,) = book.open_entries
    assert book.worth(shares, mid=D(60), rate=ONE) == 600
    assert book.worth(shares, mid=None, rate=ONE) == 10 * D("50.02"), "without a price they are worth what they cost"
    book.submit(request("pair", Side.BUY, "1000"), at=NOON, mid=D("1.1"), atr=None, rate=ONE)
    pair = book.open_entries[1]
    assert book.worth(pair, mid=pair.price + D("0.01"), rate=ONE) == 10
    assert book.worth(pair, mid=None, rate=ONE) == 0


def test_shares_paid_in_another_currency_are_refused() -> None:
    book = new_book()
    order = request("buy", Side.BUY, "10", instrument="INFY")
    (event,) = book.submit(order, at=NOON, mid=D(1500), atr=None, rate=ONE)
    assert (event.kind, event.orders[0].reason) == (EventKind.ORDER_REJECTED, "CURRENCY_NOT_HELD")
    assert book.balance == 100_000 and not book.open_entries


steps = st.lists(
    st.tuples(st.sampled_from(["BUY", "SELL", "CLOSE"]), st.integers(1, 300), st.integers(1000, 20_000)), max_size=25
)


@given(steps)
def test_at_one_price_equity_is_the_deposit_and_what_was_made(script: list[tuple[str, int, int]]) -> None:
    book = new_book()
    made, last = D(0), D(100)
    for number, (action, quantity, cents) in enumerate(script):
        last = D(cents) / 100
        name = f"o{number}"
        before = {entry.client_id: entry for entry in book.open_entries}
        if action != "CLOSE":
            trade(book, name, Side(action), str(quantity), str(last))
            continue
        oldest = next(iter(before.values()), None)
        if oldest is None:
            continue
        side = oldest.side.opposite
        order = request(name, side, str(quantity), instrument="AAPL", reduce_only=True)
        price = book.costs["AAPL"].fill_price(side, last, None)
        book.submit(order, at=NOON, mid=last, atr=None, rate=ONE)
        left = {entry.client_id: entry.quantity for entry in book.open_entries}
        for client_id, entry in before.items():
            closed = entry.quantity - left.get(client_id, D(0))
            made += (price - entry.price) * entry.side.sign * closed
    cost = sum((entry.price * entry.quantity * entry.side.sign for entry in book.open_entries), D(0))
    assert book.balance + cost == 100_000 + made
    worth = sum((book.worth(entry, mid=last, rate=ONE) for entry in book.open_entries), D(0))
    held = sum((entry.quantity * entry.side.sign for entry in book.open_entries), D(0))
    assert worth == held * last
