"""Positions that one answer of Kite's names twice: never added up, never believed."""

from __future__ import annotations

import pytest

from tests.trading.brokers.kite.kite_wire import SmallKite, broker_at, holding_row, position_row
from tests.trading.brokers.raw_server import serving
from trading.domain.broker import Completeness


@pytest.mark.parametrize(
    "shown", [{"net": [position_row(10), position_row(10)]}, {"holdings": [holding_row(10), holding_row(10)]}]
)
def test_a_list_that_names_a_position_twice_is_no_whole_list_and_does_not_double_it(shown: dict[str, object]) -> None:
    with serving(SmallKite(**shown)) as server:  # type: ignore[arg-type]
        snapshot = broker_at(server.url).snapshot()
    assert snapshot.positions_part.completeness is Completeness.PARTIAL and "twice" in snapshot.positions_part.reason
    assert [held.quantity for held in snapshot.positions] == [10]
