"""Faults of our own books: what was not booked, booked otherwise or twice, forgotten, or believed wrongly.

What always holds: each plant changes the books alone; the broker's side stays as it is, but for what our own orders do
there by themselves.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from benchmarks.recon_score.at_broker import held
from benchmarks.recon_score.books import Own
from benchmarks.recon_score.catalogue import FREE, Wanted, fault
from benchmarks.recon_score.house import House
from reconciliation.domain.kinds import Kind
from trading.domain.books import OpenLot
from trading.domain.broker import CashData, FillData, Side
from trading.domain.orders import OrderState, Tag

D = Decimal
TOLD = ("oanda", "alpaca")


@fault("books", "units", roles=FREE, sends=True)
def a_fill_of_ours_is_not_booked(house: House, role: str) -> Wanted:
    listed = house.roles[role]
    house.decisions += 1
    order = house._order(listed, Side.BUY, Tag.ENTRY, house.some(), house.decisions)
    standing = house.books.refuses
    house.books.refuses = lambda part: (
        standing(part) or (isinstance(part, FillData) and part.broker_order_id == order.broker_id)
    )
    house.send(order, listed)
    page = house.sim.broker.events_since(house.cursor)
    fills = [fill for event in page.events for fill in event.fills if fill.broker_order_id == order.broker_id]
    return {(Kind.MISSING_FILL, f"fill:{fill.external_id}") for fill in fills}


def _not_booked(house: House, kind: str, wanted: Kind) -> Wanted:
    more = {"instrument": house.roles["first"].name} if kind == "dividend" else {}
    amount = D(house.dice.randint(1, 99_999)) / 100 * house.dice.choice([1, -1])
    standing = house.books.refuses
    house.books.refuses = lambda part: standing(part) or isinstance(part, CashData)
    house.sim.external(kind, amount=str(amount), currency=house.currency, **more)
    page = house.sim.broker.events_since(house.cursor)
    known = {part.external_id for row in house.books.stored.values() for part in row.event.cash}
    moved = [cash for event in page.events for cash in event.cash if cash.external_id not in known]
    return {(wanted, f"cash:{cash.external_id}") for cash in moved}


@fault("books", "cash", brokers=TOLD, sends=True)
def a_fee_is_not_booked(house: House, role: str) -> Wanted:
    return _not_booked(house, "fee", Kind.FEE_NOT_BOOKED)


@fault("books", "cash", brokers=TOLD, sends=True)
def a_dividend_is_not_booked(house: House, role: str) -> Wanted:
    return _not_booked(house, "dividend", Kind.DIVIDEND_NOT_BOOKED)


@fault("books", "cash", brokers=TOLD, sends=True)
def financing_is_not_booked(house: House, role: str) -> Wanted:
    return _not_booked(house, "financing", Kind.FINANCING_NOT_BOOKED)


@fault("books", "cash", brokers=TOLD, sends=True)
def a_transfer_is_not_booked(house: House, role: str) -> Wanted:
    return _not_booked(house, "transfer", Kind.TRANSFER_NOT_BOOKED)


@fault("books", "cash")
def a_movement_is_booked_with_the_other_sign(house: House, role: str) -> Wanted:
    house.books.cash[house.currency] -= 2 * _movement(house)
    return {(Kind.CASH_UNEXPLAINED, house.currency)}


@fault("books", "cash")
def a_movement_is_booked_in_another_currency(house: House, role: str) -> Wanted:
    amount = _movement(house)
    house.books.cash[house.currency] -= amount
    house.books.cash["EUR"] = amount
    return {(Kind.CASH_UNEXPLAINED, house.currency), (Kind.CASH_UNEXPLAINED, "EUR")}


def _movement(house: House) -> Decimal:
    booked = [part for row in house.books.stored.values() for part in row.booked.values() if isinstance(part, CashData)]
    return house.dice.choice(booked).amount


@fault("books", "units", "cash")
def a_fill_is_booked_twice(house: House, role: str) -> Wanted:
    """Our books hold units that no fill of the broker's explains; shares were paid for twice."""
    symbol, lots = house.roles[role].symbol, house.books.lots
    first = lots[symbol][0]
    lots[symbol] = (*lots[symbol], replace(first, lot_id="again"))
    return {(Kind.QUANTITY_MISMATCH, symbol), *_paid(house, symbol, first, first.price)}


@fault("books", "units", "cash")
def a_fill_is_booked_at_another_price(house: House, role: str) -> Wanted:
    listed, lots = house.roles[role], house.books.lots
    symbol, first = listed.symbol, lots[listed.symbol][0]
    more = listed.tick * house.dice.randint(2, 50)
    lots[symbol] = (replace(first, price=first.price + more), *lots[symbol][1:])
    done = house.books.executions[symbol]
    house.books.executions[symbol] = [(s, q, p + more if p == first.price else p) for s, q, p in done]
    return {(Kind.COST_BASIS, symbol), *_paid(house, symbol, first, more)}


@fault("books", "units", "stop", "target", "cash")
def a_fill_is_booked_on_the_other_side(house: House, role: str) -> Wanted:
    """A strategy's trade is not what is turned around: the units are."""
    symbol, lots = house.roles[role].symbol, house.books.lots
    first = lots[symbol][0]
    lots[symbol] = (replace(first, side=first.side.opposite),)
    house.books.executions[symbol] = [(first.side.opposite, first.quantity, first.price)]
    return {(Kind.SIDE_MISMATCH, symbol), *_paid(house, symbol, first, -2 * first.price)}


def _paid(house: House, symbol: str, lot: OpenLot, price: Decimal) -> Wanted:
    """Shares that were booked otherwise were paid for otherwise: cash that no event explains."""
    if not house.books.rules[symbol].pays_cash:
        return set()
    house.books.cash[house.currency] -= lot.side.sign * lot.quantity * price
    return {(Kind.CASH_UNEXPLAINED, house.currency)}


@fault("books", "row")
def an_order_row_says_less_than_was_filled(house: House, role: str) -> Wanted:
    entry = house.own(role, Tag.ENTRY)
    entry.quantity -= house.dice.randint(1, int(entry.quantity) - 1)
    return {(Kind.OVERFILL, f"order:{entry.client_id}")}


@fault("books", "order", roles=FREE)
def an_order_row_is_lost(house: House, role: str) -> Wanted:
    entry = house.own(role, Tag.ENTRY)
    house.books.orders.remove(entry)
    return {(Kind.EXTERNAL_ORDER, f"order:{entry.broker_id}")}


@fault("books", "stop")
def the_row_of_a_stop_is_lost(house: House, role: str) -> Wanted:
    """Our books know of no stop, so they miss none; the broker's is one that nobody here knows."""
    stop = house.own(role, Tag.STOP)
    house.books.orders.remove(stop)
    return {(Kind.EXTERNAL_ORDER, f"order:{stop.broker_id}")}


@fault("books", "ghost", roles=FREE)
def an_order_is_believed_to_work_that_never_arrived(house: House, role: str) -> Wanted:
    order = _never_sent(house, role)
    house.books.move(order, house.dice.choice([OrderState.WORKING, OrderState.UNKNOWN]), house.now)
    return {(Kind.ORDER_UNCONFIRMED, f"order:{order.client_id}")}


@fault("books", "unsent", roles=FREE)
def a_decision_has_no_order_at_the_broker(house: House, role: str) -> Wanted:
    order = _never_sent(house, role)
    order.since = house.now - timedelta(minutes=2)
    return {(Kind.UNMAPPED_TRADE, f"decision:{order.decision}")}


def _never_sent(house: House, role: str) -> Own:
    house.decisions += 1
    return house._order(house.roles[role], Side.BUY, Tag.ENTRY, house.some(), house.decisions)


@fault("books", "order", roles=FREE)
def an_order_has_another_price_here(house: House, role: str) -> Wanted:
    order, listed = house.own(role, Tag.ENTRY), house.roles[role]
    assert order.price is not None
    order.price += listed.tick * house.dice.randint(2, 99)
    return {(Kind.STATUS_DRIFT, f"order:{order.client_id}")}


@fault("books", "order", roles=FREE)
def an_order_has_another_quantity_here(house: House, role: str) -> Wanted:
    order = house.own(role, Tag.ENTRY)
    order.quantity += house.dice.randint(1, 9)
    return {(Kind.STATUS_DRIFT, f"order:{order.client_id}")}


@fault("books", "order", roles=FREE)
def an_order_has_ended_here_and_works_there(house: House, role: str) -> Wanted:
    order = house.own(role, Tag.ENTRY)
    house.books.move(order, house.dice.choice([OrderState.CANCELLED, OrderState.EXPIRED]), house.now)
    return {(Kind.STATUS_DRIFT, f"order:{order.client_id}")}


@fault("books", "order", roles=FREE)
def an_order_was_given_up_and_works_there(house: House, role: str) -> Wanted:
    order = house.own(role, Tag.ENTRY)
    house.books.move(order, OrderState.CANCELLED, house.now)
    order.given_up = True
    return {(Kind.LATE_ACK, f"order:{order.client_id}")}


@fault("books", "stop")
def a_stop_has_ended_here_and_works_there(house: House, role: str) -> Wanted:
    """It is all that guards the trade: it is no orphan, but our books are wrong about it."""
    stop = house.own(role, Tag.STOP)
    house.books.move(stop, OrderState.CANCELLED, house.now)
    return {(Kind.STATUS_DRIFT, f"order:{stop.client_id}")}


@fault("books", "target", brokers=TOLD)
def a_target_has_ended_here_and_works_there(house: House, role: str) -> Wanted:
    target = house.own(role, Tag.TP1)
    house.books.move(target, OrderState.CANCELLED, house.now)
    return {(Kind.OCO_ORPHAN, f"order:{target.client_id}")}


@fault("books", "units", "stop", "target")
def an_exit_is_booked_that_never_was(house: House, role: str) -> Wanted:
    """Our books hold nothing and know of no trade: units there are external, and the legs are not ours to keep."""
    symbol, quantity = house.roles[role].symbol, abs(held(house, role))
    entry = house.own(role, Tag.ENTRY)
    ghost = house._order(house.roles[role], entry.side.opposite, Tag.CLOSE, quantity, entry.decision)
    ghost.filled = quantity
    house.books.move(ghost, OrderState.FILLED, house.now)
    house.books.lots[symbol] = ()
    house.books.executions[symbol].append((entry.side.opposite, quantity, house.books.executions[symbol][0][2]))
    return {(Kind.EXTERNAL_POSITION, symbol)}
