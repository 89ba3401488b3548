"""Which test shows which fault at which broker, read from the markers in the sources.

What always holds: a marker `fault("F-001", ...)` with `broker=` speaks of that broker ("every": of a part that all
share); one without it speaks of every broker, and then its test must be run at each of them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.catalogue import BROKERS

TESTS = Path(__file__).resolve().parents[1]
EVERY = "every"
# What a test takes, or is decorated with, when it is run at each broker in turn.
AT_EACH = frozenset({"any_world", "standing", "at_both", "at_each"})


@dataclass(frozen=True, slots=True)
class Shown:
    """One row of the catalogue, at one broker, in one test (path and name)."""

    row: str
    broker: str
    test: str


def shown(tests: Path = TESTS) -> list[Shown]:
    """All that the markers of the test sources say. Raises ValueError for a marker that cannot be true."""
    found: list[Shown] = []
    for path in sorted(tests.rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "mark.fault(" not in source:
            continue
        for function in ast.walk(ast.parse(source)):
            if isinstance(function, ast.FunctionDef):
                found.extend(_of(function, f"{path.relative_to(tests.parent)}::{function.name}"))
    return found


def _of(function: ast.FunctionDef, name: str) -> Iterator[Shown]:
    for mark in function.decorator_list:
        if not (isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault"):
            continue
        rows = [ast.literal_eval(argument) for argument in mark.args]
        brokers = _brokers(mark, function, name)
        yield from (Shown(row, broker, name) for row in rows for broker in brokers)


def _brokers(mark: ast.Call, function: ast.FunctionDef, name: str) -> tuple[str, ...]:
    named = {word.arg: ast.literal_eval(word.value) for word in mark.keywords}
    broker = named.get("broker")
    if broker == EVERY:
        return BROKERS
    if broker is not None:
        return (str(broker),)
    arguments = {argument.arg for argument in function.args.args}
    decorators = {ast.unparse(decorator) for decorator in function.decorator_list}
    if not AT_EACH & (arguments | decorators):
        raise ValueError(f"{name}: its marker names no broker, but it is not run at each of them")
    return BROKERS
