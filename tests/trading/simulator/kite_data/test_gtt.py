"""Good-till-triggered orders: they fire once, their order may be refused, and the published client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kiteconnect.exceptions import GeneralException, InputException

from trading.simulator.core.calls import Call
from trading.simulator.core.numbers import moment
from trading.simulator.kite.facts import session_of

from ..support import Inside, Process
from .support import ACCOUNT, KEY, OPEN, OPTIONS, TOKEN, buy, client, fresh, price

Json = dict[str, Any]


class Kite(Inside):
    """A simulator in this process, asked as the default Kite account."""

    def ask(self, method: str, path: str, fields: Json | None = None) -> tuple[int, Json]:
        call = Call(method, path, "", urlencode(fields or {}))
        answer = self.runtime.call("kite", call, f"token {KEY}:{TOKEN}")
        assert answer is not None
        return answer.status, json.loads(json.dumps(answer.body))

    def data(self, method: str, path: str, fields: Json | None = None) -> Any:
        status, body = self.ask(method, path, fields)
        assert status == 200, body
        return body["data"]

    def gtt(self, id: int) -> Json:
        found: Json = self.data("GET", f"/gtt/triggers/{id}")
        return found

    def place(self, levels: list[float], orders: list[Json], last: float = 1500, symbol: str = "INFY") -> int:
        found: int = self.data("POST", "/gtt/triggers", fields_of(levels, orders, last, symbol))["trigger_id"]
        return found

    def orders(self) -> list[Json]:
        found: list[Json] = self.data("GET", "/orders")
        return found

    def infy(self, bid: str) -> None:
        self.price(bid, f"{float(bid) + 0.1:.2f}", "NSE:INFY")

    def clock(self, to: datetime) -> None:
        """Let time pass; the session lives on, as if somebody had logged in every day."""
        self.control("clock", now=to.isoformat())
        session_of(self.world.accounts[ACCOUNT]).dies_at = to + timedelta(hours=1)


def leg(side: str = "BUY", price: float = 1495, quantity: int = 10, **more: Any) -> Json:
    return {"exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": side, "quantity": quantity,
            "order_type": "LIMIT", "product": "CNC", "price": price, **more}  # fmt: skip


def fields_of(levels: list[float], orders: list[Json], last: float = 1500, symbol: str = "INFY") -> Json:
    condition = {"exchange": "NSE", "tradingsymbol": symbol, "trigger_values": levels, "last_price": last}
    kind = "single" if len(levels) == 1 else "two-leg"
    return {"type": kind, "condition": json.dumps(condition), "orders": json.dumps(orders)}


@pytest.fixture
def kite() -> Kite:
    found = Kite(start=moment(OPEN), always_open=True)
    found.infy("1500.00")
    return found


def test_a_trigger_fires_exactly_once(kite: Kite) -> None:
    id = kite.place([1490], [leg()])
    assert kite.gtt(id)["status"] == "active" and kite.orders() == []
    kite.infy("1490.00")
    assert kite.orders() == [], "the last price is above its level"
    kite.infy("1489.90")
    (order,) = kite.orders()
    assert (order["order_type"], order["price"], order["status"]) == ("LIMIT", 1495, "COMPLETE")
    assert (order["quantity"], order["transaction_type"], order["product"]) == (10, "BUY", "CNC")
    found = kite.gtt(id)
    result = found["orders"][0]["result"]
    assert found["status"] == "triggered" and result["triggered_at"] == 1489.95
    assert result["order_result"] == {"status": "success", "order_id": order["order_id"], "rejection_reason": ""}
    for bid in ("1480.00", "1500.00", "1470.00"):
        kite.infy(bid)
    assert len(kite.orders()) == 1 and kite.gtt(id) == found


def test_the_order_waits_at_its_own_price(kite: Kite) -> None:
    kite.place([1510], [leg(price=1505)])
    kite.infy("1512.00")
    assert [order["status"] for order in kite.orders()] == ["OPEN"], "the price is above the limit by now"
    kite.infy("1504.00")
    assert [order["status"] for order in kite.orders()] == ["COMPLETE"]


def test_a_bar_that_passes_the_level_fires_at_the_level(kite: Kite) -> None:
    id = kite.place([1490], [leg(price=1491)])
    start = kite.world.now
    bar = {"start": start.isoformat(), "interval": 60, "open": "1500", "high": "1501", "low": "1450", "close": "1500"}
    kite.control("bars", instrument="NSE:INFY", bars=[bar])
    (order,) = kite.orders()
    assert kite.gtt(id)["orders"][0]["result"]["triggered_at"] == 1490
    assert order["status"] == "COMPLETE" and abs(order["average_price"] - 1490) < 0.2


def test_of_two_legs_the_first_that_is_reached_is_sent_and_the_other_never(kite: Kite) -> None:
    kite.data("POST", "/orders/regular", {**leg(), "order_type": "MARKET", "price": 0})
    id = kite.place([1450, 1550], [leg("SELL", 1445), leg("SELL", 1549)])
    kite.infy("1551.00")
    kite.infy("1400.00")
    kite.infy("1560.00")
    sold = [order for order in kite.orders() if order["transaction_type"] == "SELL"]
    assert [(order["price"], order["status"]) for order in sold] == [(1549, "COMPLETE")]
    stop, target = kite.gtt(id)["orders"]
    assert stop["result"] is None and target["result"]["order_result"]["order_id"] == sold[0]["order_id"]


def test_the_order_of_a_trigger_can_be_rejected(kite: Kite) -> None:
    id = kite.place([1490], [leg(quantity=10_000)])
    kite.infy("1480.00")
    (order,) = kite.orders()
    found = kite.gtt(id)
    outcome = found["orders"][0]["result"]["order_result"]
    assert order["status"] == "REJECTED" and found["status"] == "triggered"
    assert (outcome["status"], outcome["order_id"]) == ("failed", order["order_id"])
    assert "Insufficient funds" in outcome["rejection_reason"]


def test_an_order_that_is_refused_outright_has_no_id(kite: Kite) -> None:
    id = kite.place([1490], [leg("SELL", 1480)])
    kite.infy("1485.00")
    found = kite.gtt(id)
    outcome = found["orders"][0]["result"]["order_result"]
    assert kite.orders() == [] and found["status"] == "triggered"
    assert (outcome["status"], outcome["order_id"]) == ("failed", "") and "holding" in outcome["rejection_reason"]
    kite.infy("1500.00")
    kite.infy("1480.00")
    assert kite.gtt(id) == found


def test_nothing_fires_while_the_market_is_shut_or_halted(kite: Kite) -> None:
    shut = Kite(start=moment(OPEN))
    shut.infy("1500.00")
    id = shut.place([1490], [leg()])
    shut.clock(moment("2026-01-05T12:00:00Z"))
    shut.infy("1480.00")
    assert shut.gtt(id)["status"] == "active"
    shut.clock(moment("2026-01-06T04:00:00Z"))
    shut.infy("1479.00")
    assert shut.gtt(id)["status"] == "triggered", "with the first price of the next day"
    halted = kite.place([1490], [leg()])
    kite.control("fault", action="halt", broker="kite", args={"instrument": "NSE:INFY"})
    kite.infy("1480.00")
    assert kite.gtt(halted)["status"] == "active"
    kite.control("clear_faults")
    kite.infy("1479.00")
    assert kite.gtt(halted)["status"] == "triggered"


def test_a_changed_trigger_keeps_its_id_and_forgets_its_old_level(kite: Kite) -> None:
    id = kite.place([1490], [leg()])
    assert kite.data("PUT", f"/gtt/triggers/{id}", fields_of([1480], [leg(quantity=3)])) == {"trigger_id": id}
    kite.infy("1485.00")
    assert kite.orders() == [] and kite.gtt(id)["condition"]["trigger_values"] == [1480]
    kite.infy("1479.00")
    assert [order["quantity"] for order in kite.orders()] == [3]
    assert kite.ask("PUT", f"/gtt/triggers/{id}", fields_of([1470], [leg()]))[0] == 400
    assert kite.ask("DELETE", f"/gtt/triggers/{id}")[0] == 400


def test_a_deleted_trigger_never_fires(kite: Kite) -> None:
    id = kite.place([1490], [leg()])
    assert kite.data("DELETE", f"/gtt/triggers/{id}") == {"trigger_id": id}
    kite.infy("1480.00")
    assert kite.orders() == [] and kite.gtt(id)["status"] == "deleted"
    for unknown in (str(id + 1000), "9" * 5000, "x", "-1"):
        assert kite.ask("DELETE", f"/gtt/triggers/{unknown}")[0] == 404


def test_a_trigger_outlives_days_but_not_a_year(kite: Kite) -> None:
    id = kite.place([1400], [leg()])
    kite.clock(kite.world.now + timedelta(days=30))
    assert kite.gtt(id)["status"] == "active"
    kite.clock(kite.world.now + timedelta(days=336))
    kite.infy("1390.00")
    assert kite.gtt(id)["status"] == "expired" and kite.orders() == []


def test_triggers_reserve_nothing_and_are_no_orders(kite: Kite) -> None:
    before = kite.data("GET", "/user/margins")
    kite.place([1490], [leg(quantity=500)])
    assert kite.data("GET", "/user/margins") == before
    assert kite.orders() == [] and kite.world.state.journal.rows[-1]["kind"] == "request"
    kite.control("reset", account=ACCOUNT)
    assert kite.data("GET", "/gtt/triggers") == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {**fields_of([1490], [leg()]), "type": "three-leg"},
        {**fields_of([1490], [leg()]), "condition": "{"},
        {**fields_of([1490], [leg()]), "condition": "[]"},
        {**fields_of([1490], [leg()]), "orders": "{}"},
        {**fields_of([1490], [leg()]), "orders": "[1]"},
        fields_of([1490], [leg()], symbol="NOSUCH"),
        fields_of([1490], [leg(), leg()]),
        fields_of([1500], [leg()]),
        fields_of([1490.01], [leg()]),
        fields_of([-5], [leg()]),
        fields_of([1490], [leg(price=1495.01)]),
        fields_of([1490], [leg(quantity=0)]),
        fields_of([1490], [leg(quantity=10**9)]),
        fields_of([1490], [leg(order_type="MARKET")]),
        fields_of([1490], [leg(product="MIS")]),
        fields_of([1490], [leg(product="NRML")]),
        fields_of([1490], [leg(transaction_type="HOLD")]),
        fields_of([1490], [leg(tradingsymbol="RELIANCE")]),
        fields_of([1510, 1550], [leg(), leg()]),
    ],
)
def test_what_is_asked_wrongly_is_refused(kite: Kite, fields: Json) -> None:
    status, body = kite.ask("POST", "/gtt/triggers", fields)
    assert (status, body["error_type"], body["data"]) == (400, "InputException", None)
    assert kite.data("GET", "/gtt/triggers") == []


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([1490, "NSE", "INFY"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*leg(), "x"]), inner, max_size=4),
    max_leaves=8,
)


@given(
    kind=st.sampled_from(["single", "two-leg", ""]), last=_JSON, levels=_JSON, orders=st.lists(_JSON, max_size=2),
    changes=st.dictionaries(st.sampled_from([*leg()]), _JSON, max_size=2),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_nonsense_is_refused_in_the_brokers_own_form(
    kind: str, last: Any, levels: Any, orders: list[Any], changes: Json
) -> None:
    desk = _shared()
    condition = {"exchange": "NSE", "tradingsymbol": "INFY", "trigger_values": levels, "last_price": last}
    for legs in (orders, [{**leg(), **changes}]):
        fields = {"type": kind, "condition": json.dumps(condition), "orders": json.dumps(legs)}
        status, body = desk.ask("POST", "/gtt/triggers", fields)
        assert status == 200 or (status, body["error_type"]) == (400, "InputException")


@cache
def _shared() -> Kite:
    return Kite(start=moment(OPEN), always_open=True)


# a real process


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    state = tmp_path_factory.mktemp("gtt")
    found = Process(state, *OPTIONS, "--state", str(state / "state"))
    yield found
    assert found.stop() == 0


def test_the_published_client_places_reads_changes_and_deletes(process: Process) -> None:
    fresh(process)
    kite, order = (
        client(process),
        {k: v for k, v in leg("SELL", 1445).items() if k not in ("exchange", "tradingsymbol")},
    )
    id = kite.place_gtt("two-leg", "INFY", "NSE", [1450, 1550], 1500.05, [order, {**order, "price": 1549}])
    (found,) = [one for one in kite.get_gtts() if one["id"] == id["trigger_id"]]
    assert (found["type"], found["status"], found["user_id"]) == ("two-leg", "active", ACCOUNT)
    assert found["condition"] == {"exchange": "NSE", "last_price": 1500.05, "tradingsymbol": "INFY",
                                  "trigger_values": [1450, 1550], "instrument_token": 408065}  # fmt: skip
    assert found["expires_at"] == "2027-01-05 10:30:00" and found["created_at"] == "2026-01-05 10:30:00"
    assert kite.modify_gtt(found["id"], "single", "INFY", "NSE", [1440], 1500.05, [order]) == id
    assert kite.get_gtt(found["id"])["type"] == "single"
    assert kite.delete_gtt(found["id"]) == id
    with pytest.raises(GeneralException) as missing:
        kite.get_gtt(found["id"] + 1)
    assert missing.value.code == 404
    with pytest.raises(InputException):
        kite.delete_gtt(found["id"])


def test_a_waiting_trigger_survives_a_power_cut_and_a_restart_and_fires_once(process: Process) -> None:
    fresh(process)
    buy(process, 10)
    order = {"transaction_type": "SELL", "quantity": 10, "order_type": "LIMIT", "product": "CNC", "price": 1400}
    id = client(process).place_gtt("single", "INFY", "NSE", [1450], 1500, [order])["trigger_id"]
    process.kill()
    process.start()
    price(process, "1440.00", "1440.10")
    assert process.stop() == 0
    process.start()
    price(process, "1430.00", "1430.10")
    kite = client(process)
    assert kite.get_gtt(id)["status"] == "triggered"
    assert [one["transaction_type"] for one in kite.orders()] == ["BUY", "SELL"]
