"""A slice of `make kill-ledger`: PostgreSQL and writers die by SIGKILL while entries are posted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backoffice.desk import logins, paths
from backoffice.desk.postgres import PostgresServer
from tests.servers import APPLICATION_PASSWORD, OWNER_PASSWORD
from tests.trading.ledger.kills import Kills

KILLS, SEED = 20, 4


@pytest.mark.faults
def test_kills_lose_nothing_that_was_acknowledged_and_leave_nothing_in_part(open_directory: Path) -> None:
    server = PostgresServer(
        open_directory / "postgres", paths.run_directory() / "kills", "superuser-for-tests", log="postgres-kills"
    )
    server.start()
    try:
        urls = logins.provision(server, OWNER_PASSWORD, APPLICATION_PASSWORD, "kills")
        environment = {**os.environ, **urls.environment()}
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
            cwd=paths.PROJECT, env=environment, check=True, timeout=120,
        )  # fmt: skip
        outcome = Kills(server, urls.application, environment, open_directory, SEED).run(KILLS)
    finally:
        server.stop()
    assert outcome.problems == []
    assert (outcome.server_kills, outcome.writer_kills) == (KILLS / 2, KILLS / 2)
    assert outcome.acknowledged >= KILLS and outcome.added_by_replay == 0
