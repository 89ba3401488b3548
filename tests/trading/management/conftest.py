"""Commands run without credentials and keep their logs in the test's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trading.management.commands import CREDENTIALS, Files, make_files


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine's environment says, the tests' does not."""
    for name in (*CREDENTIALS, "BACKOFFICE_SESSION", "BACKOFFICE_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def files(tmp_path: Path, settings: Any) -> Files:
    """Files of two days, two symbols."""
    settings.BASE_DIR = tmp_path
    return make_files(tmp_path)
