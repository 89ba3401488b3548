"""Derived identities."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tests.trading.domain.making import at
from trading.domain.broker import Side
from trading.domain.ids import client_order_id, replay_account_name, signal_key
from trading.domain.orders import Tag

parts = st.tuples(st.text(), st.text(), st.sampled_from(list(Tag)), st.integers(min_value=0, max_value=99))


def make(part: tuple[str, str, Tag, int]) -> str:
    return client_order_id(intent=part[0], account=part[1], tag=part[2], sequence=part[3])


@given(parts)
def test_the_same_leg_always_has_the_same_id_and_it_fits_every_broker(part: tuple[str, str, Tag, int]) -> None:
    assert make(part) == make(part)
    assert re.fullmatch(r"[a-z0-9]{20}", make(part))


@given(parts, parts)
def test_different_legs_have_different_ids(one: tuple[str, str, Tag, int], other: tuple[str, str, Tag, int]) -> None:
    assert (make(one) == make(other)) == (one == other)


def test_parts_cannot_run_together() -> None:
    one = client_order_id(intent="decision:1", account="1:paper", tag=Tag.ENTRY, sequence=1)
    other = client_order_id(intent="decision:1:1", account="paper", tag=Tag.ENTRY, sequence=1)
    assert one != other


def test_an_id_never_changes_from_release_to_release_because_brokers_remember_it() -> None:
    made = client_order_id(intent="decision:1", account="paper", tag=Tag.ENTRY, sequence=1)
    assert made == client_order_id(intent="decision:1", account="paper", tag="ENTRY", sequence=1)
    assert made == "ut5fe3tho7mhjkv35krj"


def test_a_signal_is_the_same_when_its_bar_is_evaluated_again() -> None:
    def key(side: Side, start: str) -> str:
        return signal_key(account="paper", strategy="orb", symbol="EURUSD", side=side, bar_start=at(start))

    assert key(Side.BUY, "2014-05-01 07:05") == key(Side.BUY, "2014-05-01 07:05")
    assert (
        len({key(Side.BUY, "2014-05-01 07:05"), key(Side.SELL, "2014-05-01 07:05"), key(Side.BUY, "2014-05-01 07:10")})
        == 3
    )


def test_a_replay_runs_on_another_account_as_soon_as_session_or_data_differ() -> None:
    names = {
        replay_account_name(session_sha256="a", data_sha256={"EURUSD": "1"}),
        replay_account_name(session_sha256="b", data_sha256={"EURUSD": "1"}),
        replay_account_name(session_sha256="a", data_sha256={"EURUSD": "2"}),
        replay_account_name(session_sha256="a", data_sha256={"GBPUSD": "1"}),
    }
    assert len(names) == 4
    assert all(re.fullmatch(r"replay-[0-9a-f]{8}", name) for name in names)
