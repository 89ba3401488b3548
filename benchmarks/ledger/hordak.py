"""The other end of `hordak_peer`: starts it in its own virtual environment and hands it commands."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .server import PROJECT

PYTHON = PROJECT / ".venv-bench" / "bin" / "python"


class HordakPeer:
    """The running peer."""

    def __init__(self, url: str, python: Path = PYTHON) -> None:
        environment = {"PEER_DATABASE_URL": url, "PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(PROJECT)}
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.ledger.hordak_peer"],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def bulk(self, first: int, count: int) -> dict[str, Any]:
        """Seconds for these events in its bulk way, and what it then holds."""
        return self._ask("bulk", first, count)

    def single(self, first: int, count: int) -> dict[str, Any]:
        """Seconds for so many of its `transfer_to`, each committed."""
        return self._ask("single", first, count)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _ask(self, what: str, first: int, count: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "first": first, "count": count}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("django-hordak's process ended; what it said stands above.")
        answer: dict[str, Any] = json.loads(line)
        return answer
