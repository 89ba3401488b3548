"""The tapes of all adapters, made once for each file of tests."""

from __future__ import annotations

import pytest

from tests.trading.brokers.fuzz.recording import record
from tests.trading.brokers.fuzz.subjects import Tape


@pytest.fixture(scope="module")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> list[Tape]:
    return record(tmp_path_factory.mktemp("tapes"))
