"""The context of the work at hand: where it ends, what a message carries of it, what is believed of one."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from trading import context
from trading.context import Who


def test_work_that_nobody_entered_a_context_for_has_the_processes_id() -> None:
    first = context.current()
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(context.current().request_id))
    with context.entered(via="web"):
        thread.start()
        thread.join()
    assert seen == [first.request_id] and context.well_formed(first.request_id)


def test_a_context_ends_where_its_block_ends_also_by_an_error() -> None:
    before = context.current()
    try:
        with context.entered(via="web", request_id="click-0001", who=lambda: Who("ada", 7)):
            assert context.current().request_id == "click-0001" and context.who() == Who("ada", 7)
            raise ValueError
    except ValueError:
        pass
    assert context.current() == before and context.entered_scope() is None


def test_a_message_carries_id_address_and_the_last_committed_event() -> None:
    with context.entered(via="admin", request_id="click-0001", address="10.0.0.7"):
        scope = context.entered_scope()
        assert scope is not None
        assert context.to_message() == {"request_id": "click-0001", "address": "10.0.0.7"}
        scope.has_written(41)
        carried = context.to_message()
    assert carried == {"request_id": "click-0001", "address": "10.0.0.7", "cause": 41}
    assert context.from_message(carried) == context.Context("click-0001", "task", "10.0.0.7", 41)


def test_what_a_task_wakes_is_caused_by_what_the_task_wrote_else_by_what_caused_the_task() -> None:
    with context.entered(via="task", request_id="click-0001", cause=7):
        assert context.to_message() == {"request_id": "click-0001", "cause": 7}
        with context.part(cause=9):
            assert context.current() == context.Context("click-0001", "task", "", 9)
            scope = context.entered_scope()
            assert scope is not None
            scope.has_written(10)
        assert context.to_message() == {"request_id": "click-0001", "cause": 7}, "a part's events cause nothing else"


def test_what_beat_sends_carries_nothing_and_gets_an_id_of_its_own() -> None:
    assert context.to_message() is None
    first, second = context.from_message(None), context.from_message({})
    assert first.request_id != second.request_id and first.cause is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=80),
        lambda inner: st.dictionaries(st.sampled_from(["request_id", "address", "cause", "x"]), inner, max_size=4),
        max_leaves=6,
    )
)
def test_whatever_a_message_says_what_comes_out_is_well_formed(carried: object) -> None:
    work = context.from_message(carried)
    assert context.well_formed(work.request_id) and len(work.address) <= 45
    assert work.cause is None or work.cause > 0


def test_ids_that_break_lines_or_are_too_long_are_not_taken_over() -> None:
    assert context.well_formed("3f2a-9c1d.x:1_2")
    for bad in ("", "short", "x" * 65, "a\nbcdefghij", "with space", "-begins-so", "ümlaut-12345"):
        assert not context.well_formed(bad)
