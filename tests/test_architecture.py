"""The house rules that a machine can check: who imports whom, sizes, styles, types, migrations, tested commands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[1]
OURS = ("backoffice", "trading", "reconciliation")
LONGEST_FILE = 400
# Homes and working directories of people; put together so that this file does not contain what it looks for.
PRIVATE = [f"/{top}/" + r"\w" for top in ("work", "tmp", r"home/\w+")]
LOCAL_PATHS = re.compile("|".join([re.escape(f"{ROOT}/"), *PRIVATE]))


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def _files() -> list[Path]:
    """The files of the project: tracked by git, or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_nobody_imports_what_it_must_not_know() -> None:
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_no_file_is_too_long_to_read() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in _files()
        if path.suffix == ".py"
        and "migrations" not in path.parts
        and (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert not long


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in _files()
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] in OURS
        and "migrations" not in path.parts
        and (text := path.read_text()).strip()
        and not ast.get_docstring(ast.parse(text))
    ]
    assert not silent


def test_the_style_is_clean() -> None:
    answer = _run("ruff", "check", ".")
    assert answer.returncode == 0, answer.stdout


def test_the_types_are_clean() -> None:
    answer = _run("mypy", *OURS)
    assert answer.returncode == 0, answer.stdout[-6000:]


def test_the_models_have_all_their_migrations() -> None:
    answer = subprocess.run(
        [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_command_has_a_test_that_names_it() -> None:
    commands = {name for name, app in get_commands().items() if str(app).split(".")[0] in OURS}
    assert commands, "no command was found at all"
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    untested = {name for name in commands if not re.search(rf"\b{re.escape(name)}\b", tests)}
    assert not untested


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    named = {}
    for path in _files():
        try:
            found = LOCAL_PATHS.search(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue
        if found:
            named[str(path.relative_to(ROOT))] = found.group()
    assert not named


def test_every_target_that_make_lists_exists() -> None:
    text = (ROOT / "Makefile").read_text()
    promised = set().union(*(line.split()[1:] for line in text.splitlines() if line.startswith(".PHONY:")))
    explained = set(re.findall(r"^([a-z_-]+):.*## ", text, flags=re.MULTILINE))
    assert promised == explained
