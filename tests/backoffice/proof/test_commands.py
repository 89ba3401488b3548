"""`verify_chain`, `export_chain` and the stand-alone program, as people and auditors run them."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from backoffice.proof.anchoring import anchor_key, anchor_now, anchors_file
from tests.trading.services import making
from trading.auditor import verify_books
from trading.models import AuditEvent

from .conftest import Books

PROGRAM = Path(verify_books.__file__)


@pytest.fixture
def anchored(books: Books) -> Books:
    """Books of one test's own, anchored."""
    anchor_now(making.TEST)
    return books


def verify_chain(*arguments: str) -> tuple[int, str]:
    """The command's exit code and what it printed."""
    printed, code = StringIO(), 0
    try:
        call_command("verify_chain", *arguments, stdout=printed)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, printed.getvalue()


def program(*arguments: str | Path, directory: Path | None = None) -> tuple[int, str]:
    """The stand-alone program, copied to a place where there is nothing of the project, without our packages."""
    alone = (directory or Path.cwd()) / "alone"
    alone.mkdir(exist_ok=True)
    shutil.copy(PROGRAM, alone)
    done = subprocess.run(
        [sys.executable, "-I", "-S", PROGRAM.name, *map(str, arguments)],
        cwd=alone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_whole_books_are_told_in_one_line_and_end_well(anchored: Books) -> None:
    code, printed = verify_chain()
    assert code == 0
    assert printed.startswith("The books are as they were written. Chain ") and "1 anchors" in printed
    told = json.loads(verify_chain("--json")[1])
    assert told["ok"] and told["seals_checked"] and told["count"] == 0 and told["rows"] > 60


def test_a_changed_row_is_told_with_its_table_number_and_block(anchored: Books) -> None:
    anchored.alter("UPDATE trading_rate SET value = 7 WHERE id = 5")
    code, printed = verify_chain()
    assert code == 1 and "trading_rate row 5 was changed" in printed and "When verify_chain finds something" in printed
    code, printed = verify_chain("--json")
    (finding,) = json.loads(printed)["findings"]
    assert code == 1 and (finding["kind"], finding["table"], finding["row"]) == ("content", "trading_rate", 5)


def test_anchors_that_cannot_be_read_end_with_a_sentence(anchored: Books, tmp_path: Path) -> None:
    code, printed = verify_chain("--anchor", str(tmp_path / "nothing"))
    assert code == 1 and "The anchors cannot be read" in printed and "nothing was checked" in printed
    assert json.loads(verify_chain("--anchor", str(tmp_path / "nothing"), "--json")[1])["ok"] is False


@pytest.mark.parametrize("name", ["bundle", "bundle.zip", "bundle.tar.gz"])
def test_a_bundle_proves_itself_without_project_packages_or_database(
    anchored: Books, tmp_path: Path, name: str
) -> None:
    target, key = tmp_path / name, tmp_path / "key"
    key.write_text(json.dumps({"anchor_key": anchor_key()}))
    call_command("export_chain", to=str(target), stdout=StringIO())
    assert stat.S_IMODE(target.stat().st_mode) in (0o600, 0o700)
    event = AuditEvent.objects.get(kind="books.exported")
    assert event.after["rows"] > 60
    code, printed = program(target, "--key-file", key, directory=tmp_path)
    assert code == 0 and "The books are as they were written" in printed, printed
    code, printed = program(target, directory=tmp_path)
    assert code == 0 and "The anchors' seals were not checked: their key was not given" in printed
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(CommandError, match="there already"):
        call_command("export_chain", to=str(target))


def _exported(tmp_path: Path) -> Path:
    call_command("export_chain", to=str(tmp_path / "bundle"), stdout=StringIO())
    return tmp_path / "bundle"


def test_rows_with_tabs_and_new_lines_stay_one_line_each(anchored: Books, tmp_path: Path) -> None:
    bundle = _exported(tmp_path)
    manifest = json.loads((bundle / "manifest.json").read_text())
    rates = (bundle / "trading_rate.tsv").read_bytes().splitlines()
    assert len(rates) == manifest["tables"]["trading_rate"]["rows"]
    assert rates[4].split(b"\t")[0] == b"5" and rb"a\tb\nc" in rates[4]
    assert manifest["tables"]["trading_rate"]["columns"][0] == "id"


def _edit(path: Path, change: Any) -> None:
    path.write_bytes(change(path.read_bytes()))


def test_what_is_changed_in_a_bundle_is_found_and_named(anchored: Books, tmp_path: Path) -> None:
    bundle = _exported(tmp_path)
    _edit(bundle / "trading_rate.tsv", lambda text: text.replace(b"154.0", b"154.1"))
    code, printed = program(bundle, directory=tmp_path)
    assert code == 1
    assert "trading_rate.tsv is not the file that was exported" in printed
    assert "trading_rate row 6 was changed" in printed


def test_a_bundle_of_books_that_were_tampered_with_says_what_verify_chain_says(anchored: Books, tmp_path: Path) -> None:
    anchored.alter(
        "UPDATE trading_rate SET value = 7 WHERE id = 5; DELETE FROM trading_rate WHERE id = 8;"
        "UPDATE trading_auditevent SET reason = 'another' WHERE id = 2;"
        "UPDATE trading_chainblock SET login = 'nobody' WHERE number = 3;"
        "INSERT INTO trading_riskevent (at, recorded_at, kind, reason, numbers)"
        " SELECT at, recorded_at, kind, 'added', numbers FROM trading_riskevent"
    )
    here = json.loads(verify_chain("--json")[1])
    code, printed = program(_exported(tmp_path), "--json", directory=tmp_path)
    there = json.loads(printed)
    assert code == 1 and here["count"] == there["count"] == 5
    assert {str(each) for each in here["findings"]} == {str(each) for each in there["findings"]}


def test_a_bundle_whose_end_was_left_out_is_found_by_anchors_kept_elsewhere(anchored: Books, tmp_path: Path) -> None:
    anchors = tmp_path / "kept.jsonl"
    shutil.copy(anchors_file(), anchors)
    bundle = _exported(tmp_path)
    blocks = (bundle / "blocks.tsv").read_bytes().splitlines(keepends=True)
    manifest = json.loads((bundle / "manifest.json").read_text())
    last = blocks[-4].split(b"\t")
    manifest["head"] = {"number": int(last[0]), "hash": last[8].decode()}
    manifest["files"] = {}
    (bundle / "blocks.tsv").write_bytes(b"".join(blocks[:-3]))
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    (bundle / "anchors.jsonl").unlink()
    code, printed = program(bundle, "--anchor", anchors, directory=tmp_path)
    assert code == 1 and "but the books end at block" in printed


def test_the_program_reads_a_database_where_psycopg_is(anchored: Books) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, os.environ["DATABASE_URL"], "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    mine, theirs = json.loads(done.stdout), json.loads(verify_chain("--json")[1])
    assert (mine["chain"], mine["head"], mine["rows"]) == (theirs["chain"], theirs["head"], theirs["rows"])


def test_the_program_imports_nothing_but_the_standard_library() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", PROGRAM, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--key-file" in done.stdout
