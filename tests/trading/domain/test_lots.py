"""Lots at first in first out and at average, rounding and order: what pure functions can say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading.domain.books import OpenLot
from trading.domain.broker import Side
from trading.domain.lots import Execution, LotMethod, Walk, cost_held, in_order, walk
from trading.domain.money import STORED_STEP, ZERO, round_to_step
from trading.domain.settlement import payment

D = Decimal
FIFO, AVERAGE = LotMethod.FIFO, LotMethod.AVERAGE
# Thirds of a share, coins of eight and twelve decimals, yen by the million.
QUANTITIES = ("1", "3", "7", "100", "0.333333333333", "0.000000000007", "0.00000001", "1234567.12345678", "0.1")
PRICES = ("1", "0.000000000003", "33.333333333333", "151.237", "0.00001234", "98765.4321", "10000000", "0.142857142857")
numbers = st.tuples(st.sampled_from(Side), st.sampled_from(QUANTITIES), st.sampled_from(PRICES))
scripts = st.lists(numbers, max_size=20)
methods = st.sampled_from(LotMethod)


def told(script: Sequence[tuple[Side, str, str]]) -> list[Execution]:
    """Executions in the broker's order, named by it."""
    return [
        Execution(f"f{number}", side, D(quantity), D(price), number)
        for number, (side, quantity, price) in enumerate(script, 1)
    ]


def execution(name: str, sequence: int | None, **more: Any) -> Execution:
    return Execution(name, Side.BUY, D(1), D(1), sequence, **more)


def closed_flat(script: Sequence[tuple[Side, str, str]], price: str) -> list[Execution]:
    """The executions, and at the end one that closes what they leave open."""
    executions = told(script)
    held = sum((each.side.sign * each.quantity for each in executions), ZERO)
    if held:
        side = Side.SELL if held > 0 else Side.BUY
        executions.append(Execution("last", side, abs(held), D(price), len(executions) + 1))
    return executions


def at_cost(executions: Sequence[Execution], walked: Walk) -> Decimal:
    """What the steps leave held at cost: what was paid, less what was realised, less what rounding took."""
    paid = sum((payment(each.side, each.quantity, each.price) for each in executions), ZERO)
    return sum((step.realised - step.rounding for step in walked.steps), ZERO) - paid


def test_an_addition_at_average_closes_the_pool_at_its_own_cost_and_opens_it_at_the_average() -> None:
    walked = walk(AVERAGE, told([(Side.BUY, "10", "100"), (Side.BUY, "20", "130")]))
    assert walked.lots == (OpenLot("f2", Side.BUY, D(30), D(120), "f1"),)
    step = walked.steps[1]
    assert [(c.lot_id, c.quantity, c.open_price, c.close_price, c.pnl_quote) for c in step.closings] == [
        ("f1", 10, 100, 100, 0)
    ]
    assert (step.realised, step.rounding) == (0, 0) and step.opened == walked.lots[0]


def test_a_reduction_closes_a_part_of_the_pool_at_the_average() -> None:
    walked = walk(AVERAGE, told([(Side.SELL, "10", "100"), (Side.SELL, "20", "130"), (Side.BUY, "12", "110")]))
    assert walked.lots == (OpenLot("f2", Side.SELL, D(18), D(120), "f1"),)
    assert walked.steps[2].realised == 120 and walked.steps[2].opened is None


@pytest.mark.parametrize("method", LotMethod)
def test_a_flip_closes_everything_and_opens_the_rest_on_the_other_side(method: LotMethod) -> None:
    walked = walk(method, told([(Side.BUY, "10", "100"), (Side.BUY, "10", "110"), (Side.SELL, "25", "120")]))
    assert walked.lots == (OpenLot("f3", Side.SELL, D(5), D(120), "f3"),)
    assert walked.steps[2].realised == 300


def test_the_methods_differ_in_what_a_part_realises_and_agree_when_flat() -> None:
    script = [(Side.BUY, "10", "100"), (Side.BUY, "10", "110"), (Side.SELL, "10", "120"), (Side.SELL, "10", "120")]
    assert [step.realised for step in walk(FIFO, told(script)).steps] == [0, 0, 200, 100]
    assert [step.realised for step in walk(AVERAGE, told(script)).steps] == [0, 0, 150, 150]


def test_the_average_is_rounded_half_even_to_what_is_stored_and_the_rest_is_rounding() -> None:
    executions = told([(Side.BUY, "1", "0.000000000001"), (Side.BUY, "1", "0.000000000002")])
    walked = walk(AVERAGE, executions)
    assert walked.lots[0].price == D("0.000000000002"), "half-even"
    assert walked.steps[1].rounding == D("-0.000000000001")
    assert at_cost(executions, walked) == cost_held(walked.lots) == D("0.000000000004")


@given(scripts, methods, st.sampled_from(PRICES))
def test_what_is_flat_leaves_nothing_and_profit_with_rounding_is_the_cash(
    script: list[tuple[Side, str, str]], method: LotMethod, price: str
) -> None:
    executions = closed_flat(script, price)
    walked = walk(method, executions)
    assert walked.lots == ()
    assert at_cost(executions, walked) == ZERO
    paid = sum((payment(each.side, each.quantity, each.price) for each in executions), ZERO)
    assert sum((step.realised - step.rounding for step in walked.steps), ZERO) == paid


@given(scripts, methods)
def test_after_every_step_what_is_held_at_cost_is_the_cost_of_the_open_lots(
    script: list[tuple[Side, str, str]], method: LotMethod
) -> None:
    executions = told(script)
    for number in range(1, len(executions) + 1):
        walked = walk(method, executions[:number])
        assert at_cost(executions[:number], walked) == cost_held(walked.lots)
        held = sum((each.side.sign * each.quantity for each in executions[:number]), ZERO)
        assert sum((lot.side.sign * lot.quantity for lot in walked.lots), ZERO) == held
        assert len({lot.side for lot in walked.lots}) <= 1 and all(lot.quantity > 0 for lot in walked.lots)
        assert method is FIFO or len(walked.lots) <= 1
        for step in walked.steps:
            units = sum((closing.quantity for closing in step.closings), ZERO)
            units += step.opened.quantity if step.opened is not None else ZERO
            assert step.realised == round_to_step(step.realised, STORED_STEP)
            assert abs(step.rounding) <= STORED_STEP * (2 + units), "roundings are small"


@given(scripts, methods, st.randoms(use_true_random=False))
def test_the_order_of_booking_does_not_matter(script: list[tuple[Side, str, str]], method: LotMethod, mix: Any) -> None:
    straight = told(script)
    crooked = list(straight)
    mix.shuffle(crooked)
    assert in_order(crooked) == tuple(straight)
    assert walk(method, in_order(crooked)) == walk(method, straight)


def test_executions_of_one_event_stay_in_the_order_of_booking() -> None:
    assert [each.fill for each in in_order([execution("b", 2), execution("a1", 1), execution("a2", 1)])] == [
        "a1", "a2", "b",
    ]  # fmt: skip


def test_what_people_decided_is_a_barrier_that_late_ones_come_after() -> None:
    booked = [execution("c", 3), execution("people", None), execution("d", 4), execution("a", 1), execution("b", 2)]
    assert [each.fill for each in in_order(booked)] == ["c", "people", "a", "b", "d"]


def test_a_replacement_stands_where_the_replaced_one_stood_which_does_not_count() -> None:
    undone = execution("a", 1, counts=False)
    booked = [undone, execution("b", 2), execution("a~1", 9, replaces="a"), execution("c", 3)]
    assert [each.fill for each in in_order(booked)] == ["a~1", "b", "c"]
    again = [replace(each, counts=False) if each.fill == "a~1" else each for each in booked]
    again.append(execution("a~2", 10, replaces="a~1"))
    assert [each.fill for each in in_order(again)] == ["a~2", "b", "c"]
    earlier = [undone, execution("people", None), execution("d", 4), execution("a~1", 9, replaces="a")]
    assert [each.fill for each in in_order(earlier)] == ["a~1", "people", "d"], "before what people decided, too"
    early = [*booked, execution("late", 1)]
    assert [each.fill for each in in_order(early)] == ["a~1", "late", "b", "c"], "and others find their place around it"


def test_one_that_was_taken_back_leaves_no_trace() -> None:
    script = [(Side.BUY, "10", "100"), (Side.BUY, "10", "110"), (Side.SELL, "5", "120")]
    booked = told(script)
    booked[0] = replace(booked[0], counts=False)
    walked = walk(FIFO, in_order(booked))
    assert [(lot.quantity, lot.price) for lot in walked.lots] == [(5, 110)] and walked.steps[-1].realised == 50
