"""Faults at the broker's side: what others, its staff or the wire do to the account without us.

What always holds: each plant acts on the simulator alone, through its control operations or as another client of the
account; what it returns follows from what it did.
"""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from benchmarks.recon_score.catalogue import FREE, Wanted, fault
from benchmarks.recon_score.house import UNNAMED, House
from reconciliation.domain.kinds import Kind
from trading.domain.broker import Side
from trading.domain.orders import OrderState, Tag
from trading.simulator.core.calls import Call

D = Decimal
_WHO = {
    "oanda": "Bearer sim-oanda-token",
    "alpaca": "SIMKEY:sim-alpaca-secret",
    "kite": "token simkitekey:sim-kite-token",
}


def by_hand(house: House, method: str, path: str, body: dict[str, Any]) -> Any:
    """A request of another client of the same account. Raises RuntimeError when the broker refuses it."""
    text = urlencode(body) if house.broker == "kite" else json.dumps(body)
    answer = house.sim.runtime.call(house.broker, Call(method, path, "", text), _WHO[house.broker])
    if answer is None or answer.status >= 300:
        raise RuntimeError(f"{house.broker} refused {method} {path} {body}: {answer}")
    return answer.body


def held(house: House, role: str) -> Decimal:
    """Units held in a role, signed."""
    return house.books.held(house.roles[role].symbol)


def trade(house: House, role: str, units: Decimal) -> str:
    """Somebody else trades; our symbol of it."""
    listed = house.roles[role]
    house.sim.external("trade", instrument=listed.name, quantity=str(units))
    return listed.symbol


def _part(house: House, role: str) -> Decimal:
    """A part of what is held, its sign included, neither nothing nor all."""
    units = held(house, role)
    return D(house.dice.randint(1, int(abs(units)) - 1)).copy_sign(units)


# positions


@fault("broker", "units", roles=FREE)
def others_open_a_position(house: House, role: str) -> Wanted:
    return {(Kind.EXTERNAL_POSITION, trade(house, role, house.some()))}


@fault("broker", "units")
def others_add_to_a_position(house: House, role: str) -> Wanted:
    return {(Kind.QUANTITY_MISMATCH, trade(house, role, house.some().copy_sign(held(house, role))))}


@fault("broker", "units", "stop", "target")
def others_reduce_a_position(house: House, role: str) -> Wanted:
    return {(Kind.QUANTITY_MISMATCH, trade(house, role, -_part(house, role)))}


@fault("broker", "units", "stop", "target")
def the_broker_closes_a_position(house: House, role: str) -> Wanted:
    symbol, name = house.roles[role].symbol, house.roles[role].name
    house.sim.external("closeout", instrument=name)
    return {(Kind.PHANTOM_POSITION, symbol)}


@fault("broker", "units", "stop", "target")
def others_turn_a_position_around(house: House, role: str) -> Wanted:
    units = held(house, role)
    return {(Kind.SIDE_MISMATCH, trade(house, role, -2 * units))}


@fault("broker", "units")
def others_hold_beyond_the_cap(house: House, role: str) -> Wanted:
    return {(Kind.OVERSIZE, trade(house, role, D(1_000_001).copy_sign(held(house, role))))}


@fault("broker", "units", roles=FREE)
def a_position_appears_without_a_fill(house: House, role: str) -> Wanted:
    house.sim.external("silent_position", instrument=house.roles[role].name, quantity=str(house.some()))
    return {(Kind.EXTERNAL_POSITION, house.roles[role].symbol)}


@fault("broker", "units", "stop", "target")
def a_part_of_a_position_goes_without_a_fill(house: House, role: str) -> Wanted:
    units = _part(house, role)
    house.sim.external("silent_position", instrument=house.roles[role].name, quantity=str(-units))
    return {(Kind.QUANTITY_MISMATCH, house.roles[role].symbol)}


@fault("broker", "units", "stop", "target", brokers=("alpaca", "kite"))
def a_split(house: House, role: str) -> Wanted:
    """The broker cancels the orders of a share that it splits, and tells it: what is held has no stop any more."""
    house.sim.external("split", instrument=house.roles[role].name, ratio=str(house.dice.choice([2, 3, 5, 10])))
    decision = house.held_by[role]
    return {(Kind.CORPORATE_ACTION, house.roles[role].symbol), (Kind.UNPROTECTED_POSITION, f"decision:{decision}")}


@fault("broker", "units", "stop", "target", "free units", roles=("first",), brokers=("alpaca", "kite"))
def a_change_of_symbol(house: House, role: str) -> Wanted:
    old, new = house.roles[role], house.roles["free"]
    units, entry = held(house, role), house.books.lots[old.symbol][0].price
    house.sim.external("silent_position", instrument=old.name, quantity=str(-units))
    house.sim.external("silent_position", instrument=new.name, quantity=str(units), price=str(entry))
    return {(Kind.CORPORATE_ACTION, old.symbol)}


@fault("broker", "others", "cash")
def a_position_in_what_has_no_name(house: House, role: str) -> Wanted:
    listed = UNNAMED[house.broker]
    house.sim.external("trade", instrument=listed.name, quantity=str(listed.lot))
    return {(Kind.UNMAPPED_INSTRUMENT, listed.name)}


# fills that the broker's staff changes


@fault("broker", "units", "stop", "target", brokers=("oanda",))
def a_fill_is_taken_back_by_a_counter_fill(house: House, role: str) -> Wanted:
    """OANDA never rewrites its history: the counter-fill is nobody's order of ours, and takes stop and target along."""
    house.sim.external("bust", fill_id=_entry_fill(house, role))
    return {(Kind.PHANTOM_POSITION, house.roles[role].symbol)}


@fault("broker", "units", brokers=("alpaca",))
def a_fill_is_taken_back(house: House, role: str) -> Wanted:
    name = _entry_fill(house, role)
    house.sim.external("bust", fill_id=name)
    return {(Kind.FILL_MISMATCH, f"event:{name}")}


@fault("broker", "units", "stop", "target", "cash", brokers=("kite",))
def a_fill_is_taken_back_and_listed_no_more(house: House, role: str) -> Wanted:
    """Kite lists only what stands: units and the money for them are otherwise, and no event says why."""
    house.sim.external("bust", fill_id=_at_kite(_entry_fill(house, role)))
    return {(Kind.PHANTOM_POSITION, house.roles[role].symbol), (Kind.CASH_UNEXPLAINED, house.currency)}


@fault("broker", "units", brokers=("alpaca", "kite"))
def a_fill_gets_another_price(house: House, role: str) -> Wanted:
    name = _entry_fill(house, role)
    house.sim.external("correct", fill_id=_at_kite(name), price=str(_other_price(house, role)))
    return {(Kind.FILL_MISMATCH, f"event:{name}")}


@fault("broker", "units", "stop", "target", brokers=("oanda",))
def a_fill_is_booked_anew_at_another_price(house: House, role: str) -> Wanted:
    """OANDA takes the fill back and books another by orders that are not ours; stop and target go with the trade."""
    house.sim.external("correct", fill_id=_entry_fill(house, role), price=str(_other_price(house, role)))
    decision = house.held_by[role]
    return {(Kind.MISSING_FILL, house.roles[role].symbol), (Kind.UNPROTECTED_POSITION, f"decision:{decision}")}


def _other_price(house: House, role: str) -> Decimal:
    listed = house.roles[role]
    cost = house.books.lots[listed.symbol][0].price
    return cost + listed.tick * house.dice.randint(2, 50)


def _at_kite(name: str) -> str:
    """Our id of a fill names day and exchange, Kite's the trade only; other brokers' ids are theirs."""
    return name.rpartition(":")[2] if name[8:9] == ":" and "::" not in name else name


@fault("broker", "units", brokers=("alpaca",))
def a_fill_gets_another_quantity(house: House, role: str) -> Wanted:
    name = _entry_fill(house, role)
    house.sim.external("correct", fill_id=name, quantity=str(abs(held(house, role)) + 1))
    return {(Kind.FILL_MISMATCH, f"event:{name}")}


def _entry_fill(house: House, role: str) -> str:
    entry = house.own(role, Tag.ENTRY)
    rows = house.books.stored.values()
    fills = [fill for row in rows for fill in row.event.fills if fill.broker_order_id == entry.broker_id]
    return fills[0].external_id


# orders


@fault("broker", "foreign order")
def others_leave_an_order(house: House, role: str) -> Wanted:
    listed = house.roles[role]
    price, size = house.near(listed, "0.9"), str(house.some())
    if house.broker == "oanda":
        order = {"type": "LIMIT", "instrument": listed.name, "units": size, "price": str(price), "timeInForce": "GTC"}
        made = by_hand(house, "POST", f"/v3/accounts/{house.sim.account}/orders", {"order": order})
        return {(Kind.EXTERNAL_ORDER, f"order:{made['orderCreateTransaction']['id']}")}
    if house.broker == "alpaca":
        order = {"symbol": listed.name, "qty": size, "side": "buy", "type": "limit", "time_in_force": "gtc"}
        made = by_hand(house, "POST", "/v2/orders", {**order, "limit_price": str(price)})
        return {(Kind.EXTERNAL_ORDER, f"order:{made['id']}")}
    return {(Kind.EXTERNAL_ORDER, f"order:{_kite_limit(house, listed.name, size, str(price))}")}


def _kite_limit(house: House, name: str, size: str, price: str, **more: str) -> str:
    exchange, _, symbol = name.partition(":")
    order = {
        "exchange": exchange, "tradingsymbol": symbol, "transaction_type": "BUY", "quantity": size, "product": "CNC",
        "order_type": "LIMIT", "price": price, **more,
    }  # fmt: skip
    return str(by_hand(house, "POST", "/orders/regular", order)["data"]["order_id"])


@fault("broker", "order", roles=FREE, brokers=("kite",))
def an_order_of_ours_is_there_twice(house: House, role: str) -> Wanted:
    """Only Kite takes one label twice: the copy cannot be told from ours by its label."""
    order, listed = house.own(role, Tag.ENTRY), house.roles[role]
    _kite_limit(house, listed.name, str(order.quantity), str(order.price), tag=order.client_id)
    return {(Kind.DUPLICATE_ORDER, f"order:{order.client_id}")}


@fault("broker", "stop")
def others_cancel_a_stop(house: House, role: str) -> Wanted:
    house.sim.external("cancel", order_id=house.own(role, Tag.STOP).broker_id)
    return {(Kind.UNPROTECTED_POSITION, f"decision:{house.held_by[role]}")}


@fault("broker", "stop", brokers=("kite",))
def others_make_a_stop_smaller(house: House, role: str) -> Wanted:
    stop = house.own(role, Tag.STOP)
    by_hand(house, "PUT", f"/orders/regular/{stop.broker_id}", {"quantity": str(stop.quantity - 1)})
    return {(Kind.PARTIAL_PROTECTION, f"decision:{house.held_by[role]}")}


@fault("broker", "units", "stop", "target", brokers=("alpaca",))
def stop_and_target_both_fill(house: House, role: str) -> Wanted:
    house.sim.control("fault", broker="alpaca", action="both_legs", times=1)
    listed = house.roles[role]
    house.sim.step(1)
    house.reprice(listed, house.near(listed, "1.2"))
    return {(Kind.OVER_CLOSED_TRADE, f"decision:{house.held_by[role]}")}


@fault("broker", "order", roles=FREE)
def an_order_rests_without_news(house: House, role: str) -> Wanted:
    house.sim.step(3700)
    return {(Kind.STALE_ORDER, f"order:{house.own(role, Tag.ENTRY).client_id}")}


@fault("broker", "order", "units", roles=FREE)
def an_order_fills_after_its_end(house: House, role: str) -> Wanted:
    """Our books had ended it, nobody at the broker had: its fill is booked, and people are told."""
    order, listed = house.own(role, Tag.ENTRY), house.roles[role]
    house.books.move(order, OrderState.CANCELLED, house.sim.now)
    house.sim.step(1)
    house.reprice(listed, house.near(listed, "0.93"))
    return {(Kind.LATE_ACK, f"order:{order.client_id}")}


# cash and the account


@fault("broker", "cash")
def cash_moves_without_a_record(house: House, role: str) -> Wanted:
    amount = D(house.dice.randint(1, 99_999)) / 10_000 * house.dice.choice([1, -1])
    house.sim.external("silent_cash", amount=str(amount))
    return {(Kind.CASH_UNEXPLAINED, house.currency)}


@fault("broker", "cash", brokers=("kite",))
def a_charge_that_the_broker_lists_nowhere(house: House, role: str) -> Wanted:
    """Kite tells no history of payments."""
    house.sim.external(
        house.dice.choice(["fee", "dividend", "financing"]), amount="-12.5", instrument=house.roles[role].name
    )
    return {(Kind.CASH_UNEXPLAINED, house.currency)}


@fault("broker", "answers", brokers=("alpaca",))
def the_account_is_blocked(house: House, role: str) -> Wanted:
    flag = house.dice.choice(["account_blocked", "trading_blocked", "transfers_blocked"])
    lie(house, "GET /v2/account", flag, True)
    return {(Kind.ACCOUNT_BLOCKED, f"flag:{flag}")}


@fault("broker", "everything", brokers=("oanda",))
def the_answer_names_another_currency(house: House, role: str) -> Wanted:
    lie(house, f"GET /v3/accounts/{house.sim.account}", "account.currency", "EUR")
    return {(Kind.BAD_DATA, "currency")}


@fault("broker", "everything", brokers=("alpaca",))
def positions_are_listed_twice(house: House, role: str) -> Wanted:
    house.sim.control("fault", broker="alpaca", route="GET /v2/positions", action="duplicate", times=10_000)
    return {(Kind.BAD_DATA, f"position:{house.roles[each].name}") for each in ("first", "second")}


@fault("broker", "everything", brokers=("kite",))
def positions_are_listed_twice_in_one_list(house: House, role: str) -> Wanted:
    """The adapter believes no list that says a thing twice: nothing is concluded from it, and the run says so."""
    house.sim.control("fault", broker="kite", route="GET /portfolio/positions", action="duplicate", times=10_000)
    return set()


def lie(house: House, route: str, path: str, value: Any) -> None:
    """From now on one member of an answer is another."""
    args = {"path": path, "value": value}
    house.sim.control("fault", broker=house.broker, route=route, action="bad_value", times=10_000, args=args)


# what is gone by the next run, or told


@fault("broker", "everything", roles=FREE)
def a_fill_is_told_late(house: House, role: str) -> Wanted:
    """One run sees the position before the history has its fill: a race, and no case."""
    until = house.sim.now + timedelta(seconds=301)
    house.sim.control(
        "fault", broker=house.broker, action="hide", times=1,
        args={"what": "fill", "account": house.sim.account, "until": until.isoformat()},
    )  # fmt: skip
    house.decisions += 1
    listed = house.roles[role]
    house.send(house._order(listed, Side.BUY, Tag.ENTRY, house.some(), house.decisions), listed)
    return set()


@fault("broker", "order", roles=FREE)
def others_cancel_an_order_and_the_broker_tells(house: House, role: str) -> Wanted:
    house.sim.external("cancel", order_id=house.own(role, Tag.ENTRY).broker_id)
    return set()
