"""PostgreSQL and writers killed at random moments: no acknowledged entry is lost, none is there in part.

What always holds here: a durable server of its own; a kill is SIGKILL, of the postmaster with all of its processes at
once, or of one writer; at every kill the writers have posted since the last one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg

from backoffice.desk import children, paths
from backoffice.desk.postgres import PostgresServer
from tests.trading.ledger.writer import ACCOUNTS, acknowledged, pid_of
from trading.selectors import chain

PATIENCE = 60.0
# Keys of the entries that a writer's events 1…n must have left.
_LOST = """
    SELECT a.name, g.n FROM unnest(%s::text[], %s::bigint[]) AS w(name, last)
    JOIN trading_account a ON a.name = w.name CROSS JOIN LATERAL generate_series(1, w.last) AS g(n)
    LEFT JOIN trading_entry e ON e.idempotency_key = CASE WHEN g.n %% 3 = 0 THEN 'cash:' ELSE 'fill:' END
        || a.id || ':' || g.n
    WHERE e.id IS NULL
"""
_PARTIAL = {
    "entry without transfers": "SELECT e.id FROM trading_entry e WHERE NOT EXISTS ("
    "SELECT 1 FROM trading_transfer t WHERE t.entry_id = e.id)",
    "fill without its entry": "SELECT f.id FROM trading_fill f WHERE NOT EXISTS ("
    "SELECT 1 FROM trading_entry e WHERE e.fill_id = f.id)",
    "cash without its entry": "SELECT c.id FROM trading_cashevent c WHERE NOT EXISTS ("
    "SELECT 1 FROM trading_entry e WHERE e.cash_event_id = c.id)",
    "event without what it became": "SELECT b.id FROM trading_brokerevent b WHERE NOT EXISTS ("
    "SELECT 1 FROM trading_fill f WHERE f.broker_event_id = b.id UNION ALL"
    " SELECT 1 FROM trading_cashevent c WHERE c.broker_event_id = b.id)",
    "fill or cash without its audit event": "SELECT x.id FROM (SELECT 'trading.Fill' AS t, id FROM trading_fill"
    " UNION ALL SELECT 'trading.CashEvent', id FROM trading_cashevent) x WHERE NOT EXISTS ("
    "SELECT 1 FROM trading_auditevent v WHERE v.object_type = x.t AND v.object_id = x.id::text)",
    "fill without lots": "SELECT f.id FROM trading_fill f WHERE NOT EXISTS ("
    "SELECT 1 FROM trading_lot l WHERE l.fill_id = f.id UNION ALL"
    " SELECT 1 FROM trading_lotclose c WHERE c.fill_id = f.id)",
    "money out of nothing": "SELECT commodity_id FROM ledger_posting GROUP BY 1 HAVING sum(amount) <> 0",
}
Progress = Callable[[str, int], None]


@dataclass
class Outcome:
    """How it went."""

    server_kills: int = 0
    writer_kills: int = 0
    acknowledged: int = 0
    blocks: int = 0
    added_by_replay: int = 0
    slowest_restart: float = 0.0
    problems: list[str] = field(default_factory=list)


class Kills:
    """The run on one server: writers, kills, and a look at everything after each."""

    def __init__(
        self, server: PostgresServer, url: str, environment: Mapping[str, str], directory: Path, seed: int
    ) -> None:
        self.server, self.url, self.environment, self.directory = server, url, environment, directory
        self.random, self.outcome = Random(seed), Outcome()
        self._log = directory / "writers.log"
        self._writers: list[subprocess.Popen[bytes]] = []

    def run(self, kills: int, progress: Progress = lambda _what, _done: None) -> Outcome:
        """Everything."""
        self._call("prepare", 0).wait(PATIENCE)
        self._writers = [self._call("write", number) for number in range(ACCOUNTS)]
        try:
            for number in range(kills):
                self._wait_until_all_have_written()
                time.sleep(self.random.random() * 0.3)
                if number % 2 == 0:
                    self._kill_server()
                else:
                    self._kill_writer()
                self._look()
                progress(f"{self.outcome.acknowledged} entries, {len(self.outcome.problems)} problems", 1)
        finally:
            self.stop()
        self._look()
        before = self._head()
        for replaying in [self._call("replay", number) for number in range(ACCOUNTS)]:
            if replaying.wait(PATIENCE * 10) != 0:
                self.outcome.problems.append(f"a replay failed: {self._log.read_text()[-800:]}")
        self._look()
        self.outcome.blocks = self._head()
        self.outcome.added_by_replay = self.outcome.blocks - before
        return self.outcome

    def stop(self) -> None:
        """No writer writes any more."""
        for writer in self._writers:
            with suppress(ProcessLookupError):
                os.killpg(writer.pid, signal.SIGKILL)
            writer.wait()

    def _call(self, verb: str, number: int) -> subprocess.Popen[bytes]:
        return children.start(
            [sys.executable, "-m", "tests.trading.ledger.writer", verb, self.directory, str(number)],
            log=os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            environment=self.environment,
            directory=paths.PROJECT,
        )

    def _acknowledged(self) -> list[int]:
        return [acknowledged(self.directory, number) for number in range(ACCOUNTS)]

    def _wait_until_all_have_written(self) -> None:
        before = self._acknowledged()
        written = children.wait_until(
            lambda: all(now > then for now, then in zip(self._acknowledged(), before, strict=True)), PATIENCE
        )
        assert written, f"a writer writes nothing any more: {self._log.read_text()[-2000:]}"

    def _kill_server(self) -> None:
        process = self.server.process
        assert process is not None
        doomed = [process.pid, *_children_of(process.pid)]
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        children.wait_until(lambda: not any(children.is_alive(pid) for pid in doomed), PATIENCE)
        begin = time.monotonic()
        self.server.start()
        self.outcome.slowest_restart = max(self.outcome.slowest_restart, time.monotonic() - begin)
        self.outcome.server_kills += 1

    def _kill_writer(self) -> None:
        victim = pid_of(self.directory, self.random.randrange(ACCOUNTS))
        with suppress(ProcessLookupError):
            os.kill(int(victim.read_text()), signal.SIGKILL)
        self.outcome.writer_kills += 1

    def _head(self) -> int:
        with psycopg.connect(self.url) as connection:
            return chain.head(connection.cursor())[0]

    def _look(self) -> None:
        """What was acknowledged is there, whole, and the chain with it; all at one moment."""
        done = self._acknowledged()
        self.outcome.acknowledged = sum(done)
        with psycopg.connect(self.url) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor = connection.cursor()
            names = [f"writer-{number}" for number in range(ACCOUNTS)]
            lost = cursor.execute(_LOST, [names, done]).fetchall()
            self.outcome.problems += [f"lost: {name} {place}" for name, place in lost[:5]]
            for what, query in _PARTIAL.items():
                self.outcome.problems += [f"{what}: {row[0]}" for row in cursor.execute(query).fetchmany(3)]
            self.outcome.problems += [str(finding) for finding in list(chain.findings(cursor))[:3]]


def _children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            if int(entry.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.parent.name))
    return found
