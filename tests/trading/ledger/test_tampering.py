"""A slice of `make tamper`: whatever a superuser changes is found, and the row is named."""

from __future__ import annotations

import pytest

from tests.conftest import CommittedDatabase
from tests.trading.ledger.tampering import Tamperer

SEED, TIMES = 20260302, 100


@pytest.mark.scenario("S-78")
def test_every_tampering_of_a_superuser_is_found_and_its_row_named(rich: CommittedDatabase) -> None:
    tamperer = Tamperer(rich.superuser_url, SEED)
    try:
        assert tamperer.findings() == []
        for _ in range(TIMES):
            tamperer.tamper()
        assert tamperer.findings() == []
    finally:
        tamperer.close()
    assert tamperer.score.missed == []
    assert tamperer.score.unnamed == []
    assert tamperer.score.tampered.total() == TIMES


@pytest.mark.parametrize("way", ["truncate", "rechain", "rechain_from"])
def test_only_an_anchor_outside_shows_a_cut_tail_and_a_chain_made_anew(rich: CommittedDatabase, way: str) -> None:
    tamperer = Tamperer(rich.superuser_url, SEED)
    try:
        with tamperer.connection.transaction(force_rollback=True):
            getattr(tamperer, way)()
            assert {finding.kind for finding in tamperer.findings()} == {"anchor"}
            tamperer.anchors = []
            assert tamperer.findings() == [], "without an anchor nobody could tell"
    finally:
        tamperer.close()
