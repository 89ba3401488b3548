"""A backup restored elsewhere: the same chain up to the anchored head, the same rights, and posting goes on."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from backoffice.desk import locks
from backoffice.desk.paths import PROJECT, DeskError
from backoffice.proof.anchoring import anchor_key, anchor_now, anchors_file
from backoffice.proof.archive import ANCHORS, DUMP, MANIFEST
from backoffice.proof.checking import prove
from backoffice.proof.restore import restore_backup
from backoffice.verification import INVARIANTS, run_all
from tests.servers import DatabaseServer
from tests.trading.services import making
from trading.auditor.verify_books import read_anchors
from trading.models import Account, AuditEvent, Entry, Order, Transfer

from .conftest import Books

GUARDS = [invariant for invariant in INVARIANTS if invariant.id in ("I-11", "I-56", "I-57", "I-58")]


@pytest.fixture
def backup(books: Books, tmp_path: Path) -> Path:
    """A backup of books that were anchored just before."""
    target = tmp_path / "books.tar"
    printed = StringIO()
    call_command("backup", to=str(target), stdout=printed)
    assert f"Saved: {target}" in printed.getvalue() and "secrets.json" in printed.getvalue()
    return target


@pytest.fixture
def empty(
    backup: Path, database_server: DatabaseServer, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """An empty database, as a person makes one on a server of their own; both addresses name it."""
    before, name = database_server.current, database_server.next_name()
    urls = database_server.provision(name)
    for variable, value in urls.environment().items():
        monkeypatch.setenv(variable, value)
    database_server.point_django_at(urls, name)
    yield name
    database_server.point_django_at(*before)
    database_server.drop(name)


def restore(backup: Path, *arguments: str) -> str:
    """What the command prints."""
    printed = StringIO()
    call_command("restore", f"--from={backup}", *arguments, stdout=printed)
    return printed.getvalue()


def manifest_of(backup: Path) -> dict[str, Any]:
    """The manifest in a backup."""
    with tarfile.open(backup) as archive:
        file = archive.extractfile(MANIFEST)
        assert file is not None
        found: dict[str, Any] = json.loads(file.read())
        return found


def test_a_backup_is_one_private_file_without_secrets(backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with tarfile.open(backup) as archive:
        assert archive.getnames() == [MANIFEST, DUMP, ANCHORS]
    content = backup.read_bytes()
    assert b"the key of the test" not in content and b"-for-tests" not in content
    assert [path.name for path in backup.parent.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(CommandError, match="is there already"):
        call_command("backup", to=str(backup))


def test_dumped_and_restored_books_end_at_the_anchored_head_and_go_on(backup: Path, empty: str) -> None:
    anchored = read_anchors(anchors_file().read_text())[0][-1]
    manifest = manifest_of(backup)
    printed = restore(backup)
    assert f"ends where the backup says: block {manifest['head']} {manifest['block_hash']}" in printed
    assert "manage.py reconcile" in printed
    with connection.cursor() as cursor:
        cursor.execute("SELECT encode(hash, 'hex') FROM trading_chainblock WHERE number = %s", [anchored.number])
        assert cursor.fetchone() == (anchored.hash,)
    told = prove()
    assert told["ok"] and told["anchors"] == 1 and told["chain"] == anchored.chain, told
    assert told["head"]["number"] == manifest["head"] + 1, "only that it was restored was written since"
    assert AuditEvent.objects.latest("id").kind == "backup.restored"
    report = run_all(invariants=GUARDS)
    assert report.ok, [row for result in report.results for row in result.rows]

    entries, transfers = Entry.objects.count(), Transfer.objects.count()
    making.receive(Account.objects.get(), making.fill_of(9, Order.objects.earliest("id"), "10", "1.1"))
    assert Entry.objects.count() > entries and Transfer.objects.count() > transfers
    with connection.cursor() as cursor, pytest.raises(Exception, match="permission denied"):
        cursor.execute("UPDATE trading_entry SET memo = 'x'")
    anchor_now(making.TEST)
    assert prove()["ok"] and prove()["anchors"] == 2


def test_a_database_with_anything_in_it_is_not_restored_into(backup: Path) -> None:
    before = AuditEvent.objects.count()
    with pytest.raises(CommandError, match=r"is not empty; nothing was changed"):
        restore(backup)
    with pytest.raises(CommandError, match=r"is not empty; nothing was changed"):
        restore(backup, "--replace")
    assert AuditEvent.objects.count() == before


def test_a_running_desk_is_not_restored_under(backup: Path) -> None:
    desk = locks.FileLock("desk")
    desk.take(alone=True)
    try:
        with pytest.raises(CommandError, match="A desk is running over these books"):
            restore(backup)
    finally:
        desk.release()


def test_no_desk_starts_while_books_are_restored(backup: Path) -> None:
    held: list[bool] = []
    with pytest.raises(DeskError, match="is not empty"):
        restore_backup(
            backup, replace=False, actor=making.TEST, say=lambda _: held.append(locks.is_held("desk")),
            progress=lambda *_: None,
        )  # fmt: skip
    assert held and all(held) and not locks.is_held("desk")


def _repacked(backup: Path, **changes: Any) -> Path:
    """The backup with these parts changed: a function of the bytes for each."""
    target = backup.with_name("changed.tar")
    with tarfile.open(backup) as before, tarfile.open(target, "w") as after:
        for member in before.getmembers():
            file = before.extractfile(member)
            assert file is not None
            content = changes.get(member.name.partition(".")[0], lambda text: text)(file.read())
            part = backup.with_name("part")
            part.write_bytes(content)
            after.add(part, member.name)
    return target


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"books": lambda text: text[:-1] + b"x"}, "books.dump is not what was put in"),
        ({"anchors": lambda text: b""}, "anchors.jsonl is not what was put in"),
        ({"manifest": lambda text: text.replace(b"backup-1", b"backup-9")}, "has the format backup-9"),
        ({"manifest": lambda text: text.replace(b"0001_initial", b"9999_later", 1)}, "newer version of this project"),
        ({"manifest": lambda text: b"{"}, "is no backup of these books"),
    ],
)
def test_a_backup_that_is_not_what_it_was_is_refused(backup: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        restore(_repacked(backup, **changes))


def test_a_backup_whose_manifest_tells_another_head_is_refused(backup: Path, empty: str) -> None:
    head = manifest_of(backup)["block_hash"]
    lied = _repacked(backup, manifest=lambda text: text.replace(head.encode(), b"ab" * 32))
    with pytest.raises(CommandError, match="its parts do not belong together"):
        restore(lied)


def test_a_file_that_is_not_there_is_a_sentence(books: Books, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="was not restored"):
        restore(tmp_path / "nothing.tar")


def test_a_backup_of_books_that_were_tampered_with_takes_nobodys_place(
    books: Books, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    anchor_now(making.TEST)
    books.alter("UPDATE trading_rate SET value = 7 WHERE id = 5")
    backup = request.getfixturevalue("backup")
    request.getfixturevalue("empty")
    with pytest.raises(CommandError, match="do not pass their proof .* row 5 was changed"):
        restore(backup)


def test_without_the_anchors_key_hashes_are_compared_and_new_anchors_begun(
    backup: Path, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKOFFICE_ANCHOR_KEY", "the key of another machine")
    anchors_file().unlink()
    printed = restore(backup)
    assert "sealed with another key" in printed and "anchor_key" in printed
    assert not anchors_file().exists() and list(anchors_file().parent.glob("anchors.jsonl.of-backup-*"))


def test_a_backup_that_contradicts_our_own_anchors_is_refused_whatever_its_own_say(backup: Path, empty: str) -> None:
    """Whoever rewrites the books can make a backup of them that fits itself, but not the anchors that lie here."""
    (line,) = read_anchors(anchors_file().read_text())[0]
    ours = line._replace(hash="ab" * 32).sealed_under(anchor_key())
    anchors_file().write_text(json.dumps(ours._asdict()) + "\n")
    with pytest.raises(CommandError, match=f"Our own anchor of .* says that block {line.number} was abababababab"):
        restore(backup)


def test_newer_anchors_are_kept_and_what_is_lost_is_said(backup: Path, request: pytest.FixtureRequest) -> None:
    making.make_account(name="a later one")
    later = anchor_now(making.TEST)
    assert later is not None
    request.getfixturevalue("empty")
    printed = restore(backup)
    assert f"knew 1 later heads, up to block {later.number}" in printed
    (kept,) = anchors_file().parent.glob("anchors.jsonl.before-*")
    assert len(read_anchors(kept.read_text())[0]) == 2 and len(read_anchors(anchors_file().read_text())[0]) == 1


def _manage(var: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "BACKOFFICE_"))}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env={**kept, "BACKOFFICE_VAR": str(var)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_desks_own_books_are_kept_aside_and_replaced(open_directory: Path) -> None:
    """The embedded server, joined by nobody else: backup, more books, restore, proof."""
    var, backup = open_directory / "var", open_directory / "books.tar"
    saved = _manage(var, "backup", "--to", str(backup))
    assert saved.returncode == 0, saved.stderr
    assert _manage(var, "export_chain", "--to", str(open_directory / "later")).returncode == 0
    refused = _manage(var, "restore", "--from", str(backup))
    assert refused.returncode == 1 and "There are books in this desk's database" in refused.stderr
    done = _manage(var, "restore", "--from", str(backup), "--replace")
    assert done.returncode == 0 and "what stood there before is kept as the database backoffice_before_" in done.stdout
    seen = _manage(
        var,
        "shell",
        "--no-imports",
        "--command",
        "from django.db import connection as c; u = c.cursor()\n"
        "u.execute('SELECT datname FROM pg_database ORDER BY 1'); print([n for (n,) in u.fetchall()])\n"
        "from trading.models import AuditEvent; print(list(AuditEvent.objects.values_list('kind', flat=True)))\n"
        "from backoffice.proof.checking import prove; print(prove()['findings'])",
    )
    databases, kinds, findings = seen.stdout.strip().splitlines()
    assert "backoffice_before_" in databases and "restoring" not in databases
    assert "backup.restored" in kinds and "books.exported" not in kinds
    assert findings == "[]"
