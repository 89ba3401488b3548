"""One thing that differs is one case: what hangs on it at the broker is no difference of its own."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from reconciliation.domain.kinds import Kind
from tests.reconciliation.domain.sides import books, broker, held, holding, kinds, order, position, working
from trading.domain.broker import Side
from trading.domain.orders import OrderState, Tag

D = Decimal


def test_legs_that_follow_a_trade_which_others_made_smaller_have_not_drifted() -> None:
    ours = (order("ours", decision_id=3, broker_order_id="20"),)
    leg = working("20", "ours", quantity=D(400), type="STOP_LOSS", trade_id="7")
    assert kinds(broker(position(quantity="400"), orders=[leg]), books(held(), orders=ours, holdings=(holding(),))) == [
        Kind.QUANTITY_MISMATCH
    ]


def test_an_order_that_hangs_on_no_trade_has_drifted_all_the_same() -> None:
    loose = working("20", "ours", quantity=D(400))
    assert kinds(broker(orders=[loose]), books(orders=(order("ours", tag=Tag.ENTRY),))) == [Kind.STATUS_DRIFT]


def test_a_leg_whose_entry_the_broker_works_and_our_books_have_lost_is_no_orphan() -> None:
    leg = replace(working("21", "leg"), parent_client_id="entry")
    entry = working("20", "entry", side=Side.BUY)
    ours = (order("leg", decision_id=3, broker_order_id="21", rides_on_entry=True, state=OrderState.WORKING),)
    assert kinds(broker(orders=[entry, leg]), books(orders=ours)) == [Kind.EXTERNAL_ORDER]
    assert kinds(broker(orders=[leg]), books(orders=ours)) == [Kind.OCO_ORPHAN]
