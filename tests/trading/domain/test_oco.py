"""The planner of OCO groups: each rule by an example, and all of them under any order of events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trading.domain.broker import Side
from trading.domain.oco import (
    AT_BROKER,
    Cancel,
    GroupFacts,
    Leave,
    Leg,
    Place,
    Plan,
    Resize,
    Send,
    plan,
    stop_price,
)
from trading.domain.orders import TERMINAL, OrderState, Tag

D = Decimal
STOP, FIRST, SECOND, PAID = D(90), D(110), D(120), D(100)


def facts(*legs: Leg, entered: int = 10, open: int | None = None, **more: Any) -> GroupFacts:
    known: dict[str, Any] = {
        "side": Side.BUY, "lot_size": D(1), "entry_id": 1, "entry_state": OrderState.FILLED, "entered": D(entered),
        "open": D(entered if open is None else open), "stop": STOP, "first_target": FIRST, "break_even": PAID,
    }  # fmt: skip
    return GroupFacts(legs=legs, **{**known, **more})


def leg(tag: str, quantity: int, state: str = "WORKING", filled: int = 0, number: int = 1, **more: Any) -> Leg:
    price = {"STOP": STOP, "TP1": FIRST, "TP2": SECOND}[tag]
    known: dict[str, Any] = {"order_id": 10 * list(Tag).index(Tag(tag)) + number, "sequence": number, "price": price}
    return Leg(tag=Tag(tag), state=OrderState(state), quantity=D(quantity), filled=D(filled), **{**known, **more})


def test_nothing_is_placed_for_what_has_not_filled() -> None:
    assert plan(facts(entered=0, entry_state=OrderState.WORKING)) == Plan()


def test_the_stop_comes_first_and_only_for_what_has_filled() -> None:
    found = plan(facts(entered=4, entry_state=OrderState.PARTIAL))
    assert found.actions == (Place(Tag.STOP, 1, D(4), STOP),) and "4 of 4 have no stop" in found.unsafe


def test_the_target_follows_once_the_stop_rests() -> None:
    assert plan(facts(leg("STOP", 10, "SENDING"))).actions == ()
    assert plan(facts(leg("STOP", 10))).actions == (Place(Tag.TP1, 1, D(10), FIRST),)
    assert plan(facts(leg("STOP", 10), can_rest_beside=False)).actions == ()


def test_two_targets_share_what_was_entered_in_whole_lots() -> None:
    found = plan(facts(leg("STOP", 50), entered=50, lot_size=D(20), second_target=SECOND))
    assert found.actions == (Place(Tag.TP1, 1, D(20), FIRST), Place(Tag.TP2, 1, D(30), SECOND))


def test_a_half_filled_target_leaves_the_stop_with_the_rest_and_where_it_was() -> None:
    half = facts(leg("STOP", 10), leg("TP1", 5, "PARTIAL", 2), leg("TP2", 5), open=8, second_target=SECOND)
    assert plan(half).actions == (Cancel(leg("STOP", 10).order_id, "8 at 90 take its place"),)
    kept = plan(replace(half, keeps_id=True))
    assert kept.actions == (Resize(leg("STOP", 10).order_id, D(8), STOP),) and kept.unsafe == ""


def test_a_filled_first_target_moves_the_smaller_stop_to_break_even() -> None:
    done = facts(leg("STOP", 10), leg("TP1", 5, "FILLED", 5), leg("TP2", 5), open=5, second_target=SECOND)
    assert plan(replace(done, keeps_id=True)).actions == (Resize(leg("STOP", 10).order_id, D(5), PAID),)
    refused = leg("STOP", 5, "REJECTED", number=2, refused=True, price=PAID)
    assert stop_price(replace(done, legs=(*done.legs, refused))) == STOP
    assert stop_price(replace(done, side=Side.SELL, stop=D(105))) == PAID


def test_a_place_is_free_only_when_its_end_is_known() -> None:
    for state in ("CANCELLING", "UNKNOWN", "SENDING"):
        assert plan(facts(leg("STOP", 10, state), leg("TP1", 4, number=1), open=4)).actions == ()
    found = plan(facts(leg("STOP", 10, "CANCELLED"), leg("TP1", 4), open=4))
    assert found.actions == (Place(Tag.STOP, 2, D(4), STOP),)


def test_siblings_are_cancelled_and_the_group_is_over_only_when_they_have_ended() -> None:
    closed = facts(leg("STOP", 10, "FILLED", 10), leg("TP1", 10), open=0)
    assert plan(closed) == Plan((Cancel(leg("TP1", 10).order_id, "its trade is closed"),))
    assert not plan(facts(leg("STOP", 10, "FILLED", 10), leg("TP1", 10, "CANCELLING"), open=0)).is_over
    assert plan(facts(leg("STOP", 10, "FILLED", 10), leg("TP1", 10, "CANCELLED"), open=0)).is_over


def test_the_rest_of_an_entry_is_taken_back_when_its_first_part_is_closed() -> None:
    found = plan(facts(leg("STOP", 4, "FILLED", 4), entered=4, open=0, entry_state=OrderState.PARTIAL))
    assert found.actions == (Cancel(1, "what had filled of it is closed again"),) and not found.is_over


def test_what_was_closed_twice_is_said_and_nothing_is_sent_for_it() -> None:
    found = plan(facts(leg("STOP", 10, "FILLED", 10), leg("TP1", 10, "FILLED", 10), open=0, over_closed=D(10)))
    assert found.actions == () and "10 more were closed" in found.unsafe and found.is_lasting and not found.is_over


def test_a_refused_stop_is_asked_for_again_and_then_the_trade_is_left() -> None:
    refused = [leg("STOP", 10, "REJECTED", number=number, refused=True) for number in (1, 2, 3)]
    again = plan(facts(*refused[:2]))
    assert (
        again.actions == (Place(Tag.STOP, 3, D(10), STOP),)
        and again.is_lasting
        and "refused the last 2" in again.unsafe
    )
    assert [type(action) for action in plan(facts(*refused)).actions] == [Leave]


def test_no_leg_comes_into_the_room_that_an_exit_makes() -> None:
    found = plan(facts(leg("STOP", 10, "CANCELLED"), leaving=D(10)))
    assert found.actions == () and found.unsafe
    assert plan(facts(leg("STOP", 10, "CANCELLED"), leaving=D(10), leaving_at_broker=D(10))).unsafe == ""


def test_of_two_stops_the_one_that_is_too_much_goes_and_the_other_stays() -> None:
    found = plan(facts(leg("STOP", 3), leg("STOP", 2, number=2), leg("TP1", 5, "PARTIAL", 2), entered=5, open=3))
    assert found.actions == (Cancel(leg("STOP", 2, number=2).order_id, "the trade does not hold that much any more"),)


@dataclass
class AtBroker:
    """An order as the broker has it. `untold` are fills that we have not heard of."""

    tag: Tag
    quantity: Decimal
    filled: Decimal = Decimal("0")
    lives: bool = True
    untold: list[Decimal] = field(default_factory=list)


class AnyOrderOfEvents(RuleBasedStateMachine):
    """A broker that fills, refuses, forgets to answer and tells late; and a desk that only knows its rows."""

    @initialize(
        lots=st.integers(1, 9), two=st.booleans(), keeps=st.booleans(), beside=st.booleans(), side=st.sampled_from(Side)
    )
    def begin(self, lots: int, two: bool, keeps: bool, beside: bool, side: Side) -> None:
        self.ordered, self.entered, self.entry_lives = D(lots), D(0), True
        self.rows: dict[int, Leg] = {}
        self.there: dict[int, AtBroker] = {}
        self.exited = D(0)
        first, second, stop = (FIRST, SECOND, STOP) if side is Side.BUY else (D(90), D(80), D(110))
        self.terms: dict[str, Any] = {
            "side": side, "stop": stop, "first_target": first, "second_target": second if two else None,
            "keeps_id": keeps, "can_rest_beside": beside,
        }  # fmt: skip

    def known(self) -> GroupFacts:
        closed = sum((row.filled for row in self.rows.values()), self.exited)
        return facts(
            *self.rows.values(),
            entered=int(self.entered),
            open=int(max(self.entered - closed, D(0))),
            over_closed=max(closed - self.entered, D(0)),
            entry_state=OrderState.PARTIAL if self.entry_lives else OrderState.CANCELLED,
            **self.terms,
        )

    @precondition(lambda self: self.entry_lives)
    @rule(data=st.data())
    def the_entry_fills(self, data: st.DataObject) -> None:
        self.entered += data.draw(st.integers(1, int(self.ordered - self.entered)))
        self.entry_lives = self.entered < self.ordered

    @precondition(lambda self: any(order.lives for order in self.there.values()))
    @rule(data=st.data(), late=st.booleans())
    def a_leg_fills(self, data: st.DataObject, late: bool) -> None:
        key = data.draw(st.sampled_from([key for key, order in self.there.items() if order.lives]))
        order = self.there[key]
        units = D(data.draw(st.integers(1, int(order.quantity - order.filled))))
        order.filled += units
        order.lives = order.filled < order.quantity
        order.untold.append(units)
        if not late:
            self.tell(key)

    @rule()
    def everything_is_told(self) -> None:
        for key in self.there:
            self.tell(key)

    def tell(self, key: int) -> None:
        """The row learns what has filled, in the broker's order: the end of an order after its fills."""
        row, order = self.rows[key], self.there[key]
        filled = row.filled + sum(order.untold, D(0))
        order.untold.clear()
        state = row.state
        if filled > row.filled and state not in TERMINAL:
            state = OrderState.FILLED if filled >= row.quantity else OrderState.PARTIAL
            state = row.state if row.state is OrderState.CANCELLING and state is OrderState.PARTIAL else state
        self.rows[key] = replace(row, filled=filled, state=state)

    @rule(data=st.data())
    def one_look(self, data: st.DataObject) -> None:
        self.look(lambda outcomes: data.draw(st.sampled_from(outcomes)))

    def look(self, choose: Any) -> tuple[Any, ...]:
        before = self.known()
        found = plan(before)
        assert found == plan(before), "the same facts, the same plan"
        self.judge(before, found)
        for action in found.actions:
            if isinstance(action, Place):
                of_tag = [row.left for row in self.rows.values() if row.tag is action.tag]
                assert sum(of_tag, action.quantity) <= before.open, "never more than is open"
                self.place(action, choose)
            elif isinstance(action, Resize):
                self.resize(action, choose)
            elif isinstance(action, Cancel):
                self.cancel(action, choose)
            elif isinstance(action, Leave):
                self.leave()
            else:
                raise AssertionError(f"{action}: no leg stays planned here ({Send})")
        return found.actions

    def judge(self, before: GroupFacts, found: Plan) -> None:
        at_broker = [row for row in self.rows.values() if row.state in AT_BROKER]
        stops = sum((row.left for row in at_broker if row.tag is Tag.STOP), D(0))
        assert bool(found.unsafe) == (before.over_closed > 0 or stops < before.open)
        if found.is_over:
            assert before.open == 0 and not any(order.lives and not order.untold for order in self.there.values())

    def place(self, action: Place, choose: Any) -> None:
        key = len(self.rows) + 10
        outcome = choose(["rests", "rests", "refused", "no answer, it rests", "no answer, it never came"])
        state = {"rests": "WORKING", "refused": "REJECTED"}.get(outcome, "UNKNOWN")
        self.rows[key] = Leg(
            key, action.tag, action.sequence, OrderState(state), action.quantity, D(0), action.price,
            refused=outcome == "refused",
        )  # fmt: skip
        if "rests" in outcome:
            self.there[key] = AtBroker(action.tag, action.quantity)

    def resize(self, action: Resize, choose: Any) -> None:
        row, order = self.rows[action.order_id], self.there[action.order_id]
        if not order.lives or order.untold or choose(["taken", "taken", "refused"]) == "refused":
            self.cancel(Cancel(action.order_id, "it could not be replaced"), choose)
            return
        order.quantity = order.filled + action.left
        self.rows[action.order_id] = replace(row, quantity=order.quantity, price=action.price)

    def cancel(self, action: Cancel, choose: Any) -> None:
        if action.order_id == 1:
            self.entry_lives = False
            return
        assert self.rows[action.order_id].state in (OrderState.WORKING, OrderState.PARTIAL)
        self.rows[action.order_id] = replace(self.rows[action.order_id], state=OrderState.CANCELLING)
        if choose(["confirmed", "no answer"]) == "confirmed":
            self.confirm(action.order_id)

    def confirm(self, key: int) -> None:
        """The broker ends the order, if it has not filled first, and tells both."""
        self.there[key].lives = False
        self.tell(key)
        if self.rows[key].state is OrderState.CANCELLING:
            self.rows[key] = replace(self.rows[key], state=OrderState.CANCELLED)

    def leave(self) -> None:
        """The exit path: nothing of the trade rests any more before the exit is sent, for what is left then."""
        for key, row in list(self.rows.items()):
            if row.state not in TERMINAL and key in self.there:
                self.rows[key] = replace(row, state=OrderState.CANCELLING)
                self.confirm(key)
        self.exited += self.known().open

    @rule()
    def the_unknown_is_looked_up(self) -> None:
        for key, row in list(self.rows.items()):
            if row.state is OrderState.UNKNOWN:
                found = OrderState.WORKING if key in self.there else OrderState.CANCELLED
                self.rows[key] = replace(row, state=found)
                if key in self.there:
                    self.tell(key)

    @rule()
    def cancels_are_confirmed(self) -> None:
        for key, row in list(self.rows.items()):
            if row.state is OrderState.CANCELLING:
                self.confirm(key)

    @invariant()
    def when_all_is_told_and_done_protection_equals_exposure(self) -> None:
        if not hasattr(self, "rows"):
            return
        kept = dict(self.rows), {key: replace(o, untold=list(o.untold)) for key, o in self.there.items()}, self.exited
        entry = self.entry_lives
        for _ in range(20):
            self.the_unknown_is_looked_up()
            self.cancels_are_confirmed()
            self.everything_is_told()
            if not self.look(lambda outcomes: outcomes[0]):
                break
        else:
            raise AssertionError("it never comes to rest")
        now, found = self.known(), plan(self.known())
        resting = [order for order in self.there.values() if order.lives]
        left = {tag: sum((o.quantity - o.filled for o in resting if o.tag is tag), D(0)) for tag in Tag}
        assert left[Tag.STOP] == now.open, "the stop covers exactly what is open"
        assert left[Tag.TP1] + left[Tag.TP2] <= now.open
        assert bool(found.unsafe) == (now.over_closed > 0)
        assert found.is_over == (now.open == 0 and not self.entry_lives and now.over_closed == 0)
        (self.rows, self.there, self.exited), self.entry_lives = kept, entry


TestAnyOrderOfEvents = AnyOrderOfEvents.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
