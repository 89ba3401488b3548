"""What the fuzzer found, each as one small answer: without its mend each of these crashed, lied or was believed."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.trading.brokers.alpaca import alpaca_wire
from tests.trading.brokers.alpaca.alpaca_wire import SmallAlpaca
from tests.trading.brokers.fuzz.frames import alpaca_stream
from tests.trading.brokers.kite import kite_wire
from tests.trading.brokers.kite.kite_wire import SmallKite, complete, margins, trade_row
from tests.trading.brokers.oanda_wire import ACCOUNT, BUY, SUMMARY, TIME, broker_at, history, routes, transaction
from tests.trading.brokers.raw_server import always, answer, serving
from trading.brokers import alpaca_client, fields, kite_parse
from trading.brokers.alpaca import AlpacaBroker
from trading.brokers.budget import RateBudget
from trading.brokers.errors import BadData, ExchangeFailed
from trading.brokers.oanda import OandaBroker
from trading.brokers.transport import DEEPEST, BrokerSession, read_document
from trading.brokers.wire import Exchange
from trading.domain.broker import (
    NOT_SENT,
    BrokerNeedsLogin,
    BrokerUnreachable,
    Completeness,
    Found,
    LookupFailed,
    Refused,
    Unknown,
)

JSON = "Content-Type: application/json"


@contextmanager
def oanda(**table: Any) -> Iterator[OandaBroker]:
    """OANDA that answers by the endings of its paths: the method, then the path with "/" as two underlines."""
    named = {key.replace("__", " /", 1).replace("__", "/"): value for key, value in table.items()}
    with serving(routes({"GET /summary": SUMMARY, **named})) as server:
        broker = broker_at(server.url)
        yield broker
        broker.close()


@contextmanager
def alpaca(**state: Any) -> Iterator[AlpacaBroker]:
    with serving(SmallAlpaca(**state)) as server:
        yield alpaca_wire.broker_at(server.url)


def said(body: bytes) -> Any:
    exchange = Exchange("GET", "/", "", 1.0, status=200)
    exchange.body = body
    return read_document(exchange)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("code", [[], {}, 5, True])
def test_an_error_code_that_is_no_word_proves_no_absence(code: Any) -> None:
    with oanda(GET__orders=(404, {}), **{f"GET__orders__@{BUY.client_id}": (404, {"errorCode": code})}) as broker:
        assert isinstance(broker.order_by_client_id(BUY.client_id), LookupFailed)


@pytest.mark.parametrize("depth", [DEEPEST + 1, 400, 100_000])
def test_an_answer_nested_too_deeply_is_refused_before_anything_walks_it(depth: int) -> None:
    with pytest.raises(BadData):
        said(f'{{"a":{nested(depth)}}}'.encode())
    assert said(f'{{"a":{nested(DEEPEST - 1)}}}'.encode())["a"]
    body = json.dumps({"account": {"id": ACCOUNT}, "lastTransactionID": "1"})[:-1] + f', "x": {nested(depth)}}}'
    with oanda(**{f"GET__accounts__{ACCOUNT}": (200, body)}) as broker, pytest.raises(BrokerUnreachable):
        broker.snapshot()


def test_an_object_that_says_two_things_under_one_key_is_refused() -> None:
    with pytest.raises(BadData, match="two things"):
        said(b'{"units":"100","units":"-100"}')
    assert said(b'{"units":"100","units":"100"}') == {"units": "100"}


def test_a_compressed_answer_that_goes_on_after_its_end_is_cut_off() -> None:
    body = gzip.compress(b"{}") + b"\x00" * (64 << 20)
    with serving(always(answer(200, body, JSON, "Content-Encoding: gzip"))) as server:
        session = BrokerSession(budget=RateBudget(per_second=10, burst=10, reserve=1), headers={})
        tracemalloc.start()
        with pytest.raises(ExchangeFailed, match="goes on after its end"):
            session.get(server.url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 200 << 20, "the server's own copy aside, nothing of it may be kept"


def test_nobody_guesses_the_encoding_of_an_answer_from_its_bytes() -> None:
    body = b'"' + bytes(range(0xC0, 0xFF)) * 60_000 + b'"'
    with serving(always(answer(200, body, "Content-Type: image/png"))) as server:
        began = time.process_time()
        with pytest.raises(BrokerUnreachable):
            alpaca_wire.broker_at(server.url).identity()
    assert time.process_time() - began < 2


@pytest.mark.parametrize("places", [10**9, 10**6, -(10**9), 13])
def test_a_pair_whose_places_make_no_sense_is_left_out_and_the_others_stay(places: int) -> None:
    good = {
        "name": "EUR_USD", "displayName": "EUR/USD", "displayPrecision": 5, "tradeUnitsPrecision": 0, "pipLocation": -4,
        "minimumTradeSize": "1", "maximumOrderUnits": "100", "marginRate": "0.05",
    }  # fmt: skip
    listed = [{**good, "name": "AAA_BBB", "pipLocation": places}, good]
    with oanda(GET__instruments=(200, {"instruments": listed})) as broker:
        assert [each.symbol for each in broker.instruments()] == ["EUR_USD"]


@pytest.mark.parametrize("volume", [-1, 10**10, True])
def test_a_candle_of_an_impossible_volume_is_refused(volume: Any) -> None:
    mid = {"o": "1.1", "h": "1.2", "l": "1.0", "c": "1.1"}
    rows = [{"time": TIME, "mid": mid, "volume": volume, "complete": True}]
    body = {"instrument": "EUR_USD", "granularity": "M1", "candles": rows}
    with oanda(GET__instruments__EUR_USD__candles=(200, body)) as broker, pytest.raises(BrokerUnreachable):
        broker.candles("EUR_USD", since=fields.moment({"at": TIME}, "at"), interval_seconds=60)


@pytest.mark.parametrize("currency", ["=HYPERLINK(1)", "usd", "DOLLARS", "U\x1b[", ""])
def test_a_currency_that_is_none_is_refused_everywhere(currency: str) -> None:
    account = {"id": ACCOUNT, "currency": currency, "hedgingEnabled": False, "lastTransactionID": "11"}
    with oanda(GET__summary=(200, {"account": account, "lastTransactionID": "11"})) as broker:
        with pytest.raises(BrokerUnreachable):
            broker.identity()
        with pytest.raises(BrokerUnreachable):
            broker.events_since("")
    with alpaca(account={**alpaca_wire.ACCOUNT_ROW, "currency": currency}) as shares:
        alpaca_client._account_of_key.clear()
        with pytest.raises(BrokerUnreachable):
            shares.identity()


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "2199-01-01T00:00:00Z"]
)
def test_a_time_that_no_broker_means_is_refused(at: str) -> None:
    with pytest.raises(BadData):
        fields.moment({"at": at}, "at")
    strange = transaction(1, "TRANSFER_FUNDS", amount="1", time=at)
    with oanda(GET__transactions__sinceid=history(strange)) as broker:
        page = broker.events_since("")
        assert (page.events, page.completeness) == ((), Completeness.PARTIAL)
    for rows in ({"orders": [alpaca_wire.order_row(submitted_at=at)]}, {"activities": [alpaca_wire.fill_row()]}):
        with alpaca(**rows, routes={"GET /v2/clock": (200, {"timestamp": at, "is_open": True})}) as shares:
            with pytest.raises(BrokerUnreachable):
                shares.events_since("")
            with pytest.raises(BrokerUnreachable):
                shares.snapshot()


def test_a_movement_dated_where_no_calendar_ends_is_refused() -> None:
    row = {**alpaca_wire.cash_row("CSD", "1"), "created_at": None, "id": "20260107000000000::x", "date": "9999-12-31"}
    for bad in (row, {**row, "id": "99991231235959999::x"}):
        with (
            alpaca(routes={"GET /v2/account/activities": (200, [bad])}) as shares,
            pytest.raises(BrokerUnreachable),
        ):
            shares.events_since("")


@pytest.mark.parametrize("written", ["9" * 60 + "e30", "1e60", "1e31", "9" * 61])
def test_a_number_that_could_not_be_read_again_is_refused(written: str) -> None:
    with pytest.raises(BadData):
        fields.number({"amount": written}, "amount")


@pytest.mark.parametrize("key", ["\r\nSet-Cookie: x", "x" * 65, "é", "\u202e"])
def test_an_id_that_its_column_cannot_keep_is_refused(key: str) -> None:
    with pytest.raises(BadData):
        fields.identity({"id": key}, "id")
    with alpaca(orders=[alpaca_wire.order_row(key)]) as shares, pytest.raises(BrokerUnreachable):
        shares.events_since("")


@pytest.mark.parametrize("message", [5, [], {"a": 1}, True, None])
def test_a_cancel_whose_refusal_has_no_readable_words_is_an_outcome_too(message: Any) -> None:
    refusing = {f"DELETE /v2/orders/{alpaca_wire.ORDER}": (401, {"code": 40110000, "message": message})}
    with alpaca(orders=[alpaca_wire.order_row()], routes=refusing) as shares:
        outcome = shares.cancel(broker_order_id=alpaca_wire.ORDER, client_id="")
    assert isinstance(outcome, Unknown) or message is None


@pytest.mark.parametrize("told", [5, True, "1.5", {"trade_updates": 1}, "trade_updates"])
def test_a_stream_that_says_strangely_what_it_sends_ends_as_streams_end(told: Any) -> None:
    frames = [
        json.dumps({"stream": "authorization", "data": {"status": "authorized"}}).encode(),
        json.dumps({"stream": "listening", "data": {"streams": told}}).encode(),
    ]
    with pytest.raises(BrokerUnreachable):
        list(alpaca_stream("SIMALPACA", "event_stream", frames))


def test_one_answer_about_another_account_is_not_believed_for_ever() -> None:
    strange = SmallAlpaca(account={**alpaca_wire.ACCOUNT_ROW, "account_number": "SOMEBODY"})
    alpaca_client._account_of_key.clear()
    with serving(strange) as server:
        shares = alpaca_wire.broker_at(server.url)
        with pytest.raises(BrokerNeedsLogin):
            shares.events_since("")
        strange.account = dict(alpaca_wire.ACCOUNT_ROW)
        assert shares.events_since("").completeness is Completeness.COMPLETE


@pytest.mark.parametrize("bad", [{"filled_qty": "-5"}, {"qty": "0"}, {"qty": "-1"}, {"status": None}])
def test_an_order_that_makes_no_sense_makes_the_list_incomplete_and_costs_no_other(bad: dict[str, Any]) -> None:
    rows = [alpaca_wire.order_row("good"), {**alpaca_wire.order_row("bad", "other"), **bad}]
    orders_only = {"GET /v2/orders": lambda request: (200, rows if "status=open" in request.path else rows[:1])}
    with alpaca(routes=orders_only) as shares:
        shown = shares.snapshot()
    assert [each.broker_order_id for each in shown.orders] == ["good"]
    assert shown.orders_part.completeness is Completeness.PARTIAL


@pytest.mark.parametrize(
    "bad",
    [
        {"quantity": 0},
        {"quantity": -0.0},
        {"price": -1},
        {"price": -0.05, "order_type": "MARKET"},
        {"trigger_price": -1, "order_type": "SL-M"},
    ],
)
def test_a_kite_order_of_nothing_or_at_a_price_below_zero_is_refused_and_costs_no_other(bad: dict[str, Any]) -> None:
    rows = [kite_wire.order_row("1", "good"), {**kite_wire.order_row("2", "bad"), **bad}]
    with serving(SmallKite(rows)) as server:
        kite = kite_wire.broker_at(server.url)
        shown = kite.snapshot()
        assert [each.broker_order_id for each in shown.orders] == ["1"]
        assert shown.orders_part.completeness is Completeness.PARTIAL
        assert isinstance(kite.order_by_client_id("bad"), LookupFailed)
        assert isinstance(kite.order_by_client_id("good"), Found)
        refused = kite.cancel(broker_order_id="2", client_id="bad")
        assert isinstance(refused, Refused) and refused.code == NOT_SENT


@pytest.mark.parametrize(
    ("said", "price"),
    [
        ({"order_type": "MARKET", "price": 0, "trigger_price": 0}, None),
        ({"order_type": "MARKET", "price": None, "trigger_price": None}, None),
        ({"order_type": "LIMIT", "price": 1500.1, "trigger_price": 0}, Decimal("1500.1")),
        ({"order_type": "SL-M", "price": 0, "trigger_price": 1400.05}, Decimal("1400.05")),
    ],
)
def test_a_zero_is_how_kite_says_that_an_order_has_no_such_price(said: dict[str, Any], price: Decimal | None) -> None:
    with serving(SmallKite([kite_wire.order_row("1", "good", **said)])) as server:
        kite = kite_wire.broker_at(server.url)
        shown, found = kite.snapshot(), kite.order_by_client_id("good")
    assert shown.completeness is Completeness.COMPLETE and [each.price for each in shown.orders] == [price]
    assert isinstance(found, Found) and found.order.price == price


@pytest.mark.parametrize(
    ("at", "volume", "good"),
    [
        ("2026-01-05T09:15:00+0530", 0, True),
        ("2026-01-05T09:15:00+0530", 2_500_000_000, True),
        ("2026-01-05T09:15:00+0530", -1, False),
        ("2026-01-05T09:15:00+0530", Decimal("-0.5"), False),
        ("2199-01-01T00:00:00Z", 7, False),
        ("1969-12-31T23:59:59Z", 7, False),
    ],
)
def test_a_kite_bar_of_an_impossible_volume_or_time_is_refused(at: str, volume: int | Decimal, good: bool) -> None:
    row, start, minute = (
        [at, 1500, 1501, 1499, 1500, volume],
        datetime(2026, 1, 5, 3, 45, tzinfo=UTC),
        timedelta(minutes=1),
    )
    if good:
        bar = kite_parse.candle(row, "NSE:INFY", minute, start + minute)
        assert (bar.start, bar.volume, bar.complete) == (start, volume, True)
        return
    with pytest.raises(BadData):
        kite_parse.candle(row, "NSE:INFY", minute, start + minute)


def opening_of(kite: SmallKite) -> list[Decimal]:
    """What the first reading of an account takes for the cash that the day began with."""
    with serving(kite) as server:
        page = kite_wire.broker_at(server.url).events_since("")
    return [moved.amount for event in page.events for moved in event.cash]


def test_a_trade_listed_twice_moves_the_cash_of_the_day_once() -> None:
    moved = margins(84999.0, 100000.0)
    assert opening_of(SmallKite([complete()], [trade_row()], margins=moved)) == [Decimal("100000.0")]
    assert opening_of(SmallKite([complete()], [trade_row(), trade_row()], margins=moved)) == [Decimal("100000.0")]
    with pytest.raises(BrokerUnreachable, match="twice"):
        opening_of(SmallKite([complete()], [trade_row(), trade_row(average_price=1.0)], margins=moved))


def test_the_cash_of_the_day_is_not_told_while_one_of_its_trades_is_missing() -> None:
    kite = SmallKite([complete()], [], margins=margins(84999.0, 100000.0))
    with pytest.raises(BrokerUnreachable, match="not certain"):
        opening_of(kite)
    kite.trades = [trade_row(exchange="NFO")]
    with pytest.raises(BrokerUnreachable, match="not certain"):
        opening_of(kite)
    kite.trades = [trade_row()]
    assert opening_of(kite) == [Decimal("100000.0")]


@pytest.mark.parametrize(
    ("shown", "trade"),
    [
        (margins(84999.0, 100000.0), {"average_price": 1500.2}),
        (margins(84999.0, 100000.0), {"quantity": 10, "transaction_type": "SELL"}),
        (margins(84999.1, 100000.0), {}),
        (margins(84999.0, 100001.0), {}),
        ({"equity": {"available": {"cash": 84999.0}}}, {}),
    ],
)
def test_books_are_not_begun_from_figures_that_do_not_fit(shown: dict[str, Any], trade: dict[str, Any]) -> None:
    with pytest.raises(BrokerUnreachable, match="not certain"):
        opening_of(SmallKite([complete()], [trade_row(**trade)], margins=shown))


def test_a_balance_that_stands_still_all_day_is_what_it_began_with() -> None:
    for paid_in in (0, 500.0):
        still = margins(100000.0 + paid_in, 100000.0)
        still["equity"]["available"]["intraday_payin"] = paid_in
        assert opening_of(SmallKite([complete()], [trade_row(average_price=9.0)], margins=still)) == [
            Decimal("100000") + Decimal(paid_in)
        ]


def test_one_answer_about_another_user_is_not_believed_for_ever() -> None:
    strange = SmallKite(user="SOMEBODY")
    with serving(strange) as server:
        kite = kite_wire.broker_at(server.url)
        with pytest.raises(BrokerNeedsLogin):
            kite.events_since("20260105/x")
        strange.user = kite_wire.ACCOUNT
        assert kite.order_by_client_id("anything") is not None
        assert kite.identity().account_id == kite_wire.ACCOUNT


def test_a_table_with_a_byte_that_no_column_keeps_is_refused() -> None:
    table = b"instrument_token,exchange,tradingsymbol,name,tick_size,lot_size\n1,NSE,INFY,INFO\x00SYS,0.05,1\n"
    with (
        serving(always(answer(200, table, "Content-Type: text/csv"))) as server,
        pytest.raises(BrokerUnreachable),
    ):
        kite_wire.broker_at(server.url)._lines("NSE")


def test_a_history_whose_last_id_is_far_away_has_a_hole_and_takes_no_memory() -> None:
    far = transaction(int("1" * 18), "CREATE")
    with oanda(
        **{f"GET__orders__@{BUY.client_id}": (404, {"errorCode": "ORDER_DOESNT_EXIST"})},
        GET__transactions__sinceid=history(transaction(11, "CREATE"), far),
    ) as broker:
        outcome = broker.order_by_client_id(BUY.client_id, since="10")
    assert isinstance(outcome, LookupFailed) and "hole" in outcome.reason
