"""Run the digest's commands in this process and read their one block."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command


@dataclass(frozen=True)
class Said:
    """How a command ended: exit code, the DIGEST block with exact numbers, standard error."""

    code: int
    block: dict[str, Any]
    out: str
    err: str

    @property
    def totals(self) -> dict[str, Any]:
        """The block's totals."""
        found: dict[str, Any] = self.block["totals"]
        return found


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Run it; standard output must be the block and nothing else."""
    capfd.readouterr()
    code = 0
    try:
        call_command(*arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capfd.readouterr()
    begin, line, end = said.out.splitlines()
    assert (begin, end) == ("###BEGIN-AXFL-DIGEST###", "###END-AXFL-DIGEST###")
    assert "Traceback" not in said.out + said.err
    return Said(code, json.loads(line, parse_float=Decimal, parse_int=Decimal), said.out, said.err)
