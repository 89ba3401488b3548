"""Restoring a backup: into a new database, proven there, and only then in the place of the old one.

What always holds here: books are never overwritten and never dropped: what stood there before is kept under another
name, as are its anchors; nothing changes places before the restored chain has passed its proof and ends where the
backup says. On a server of your own the target is an empty database that you made.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.db import connections, transaction
from psycopg import sql

from backoffice.desk import join, locks, logins, paths
from backoffice.desk.paths import DeskError
from trading.auditor.verify_books import SETTINGS, Finding, Source, read_anchors, verify
from trading.clock import wall_now
from trading.selectors import chain
from trading.services import audit
from trading.services.audit import Actor

from . import programs
from .anchoring import anchor_key, anchors_file
from .archive import ANCHORS, DUMP, BadBackup, Manifest, unpack
from .backup import Said

DIFFERENT = "These are the logins of the backup; make two of the same names (docs/operations.md), then try again."


@dataclass(frozen=True, slots=True)
class Target:
    """The database that is restored into, by its addresses; `embedded` where it is to take another one's place."""

    urls: logins.DatabaseUrls
    embedded: bool


def restore_backup(file: Path, *, replace: bool, actor: Actor, say: Said, progress: chain.Progress) -> Manifest:
    """Bring the books of a backup back; the manifest of it. `say` is told each step and what to do next.

    Raises BadBackup and DeskError with a sentence, ProgramFailed, and OSError; whatever is raised, the books that
    stood there still stand.
    """
    desk = locks.FileLock("desk")  # held to the end, so that no desk starts over books that are changing places
    if not desk.take(alone=True, wait=False):
        raise DeskError("A desk is running over these books. Stop it (Ctrl-C), then restore. Nothing was changed.")
    try:
        return _restore(file, replace, actor, say, progress)
    finally:
        desk.release()


def _restore(file: Path, replace: bool, actor: Actor, say: Said, progress: chain.Progress) -> Manifest:
    with tempfile.TemporaryDirectory(prefix="backoffice-restore-") as made:
        folder = Path(made)
        manifest = unpack(file, folder)
        say(f"{file} is whole: books up to block {manifest.head}, made {manifest.made_at} by version {manifest.code}.")
        connections.close_all()
        embedded = join.is_embedded()
        target = _new_database(replace) if embedded else _empty_database()
        try:
            _same_logins(target, manifest)
            _fill(target, folder / DUMP, progress)
            say("The data is restored; bringing it up to date, setting rights …")
            _migrate(target)
            has_key = _prove(target, folder / ANCHORS, manifest)
            say(f"The chain is whole and ends where the backup says: block {manifest.head} {manifest.block_hash}.")
            if embedded:
                _take_the_place(target, say)
        except BaseException:
            if embedded:
                _forget(target)
            raise
        _place_anchors(folder / ANCHORS, manifest, has_key, say)
    with transaction.atomic():
        told = {"number": manifest.head, "hash": manifest.block_hash, "files": file.name}
        audit.record(kind="backup.restored", actor=actor, after=told | {"sha256": manifest.parts[DUMP]})
    say(
        "The brokers have gone on since the backup. Start the desk: it reads what happened there and shows every "
        "difference before it trades; or run `manage.py reconcile` (make recon) now."
    )
    return manifest


def _stamp() -> str:
    return wall_now().strftime("%Y%m%d_%H%M%S")


def _new_database(replace: bool) -> Target:
    """An empty database beside the desk's own, on the embedded server."""
    if _has_books(join.embedded_urls().owner) and not replace:
        raise DeskError(
            "There are books in this desk's database; nothing was changed. To put the backup in their place, say "
            "--replace (make restore FROM=… REPLACE=1): they are then kept under another name, not dropped."
        )
    name = f"{logins.DATABASE}_restoring_{_stamp()}"
    return Target(join.embedded_urls(name), embedded=True)


def _empty_database() -> Target:
    """The database that DATABASE_OWNER_URL names, which has to be empty."""
    owner = os.environ.get("DATABASE_OWNER_URL", "")
    if not owner:
        raise DeskError("Restoring is done under the owner's login: set DATABASE_OWNER_URL. Nothing was changed.")
    with psycopg.connect(owner) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchone()
    if found and found[0]:
        raise DeskError(
            "The database that DATABASE_OWNER_URL names is not empty; nothing was changed. Make a new one (CREATE "
            "DATABASE … OWNER …, docs/operations.md), let both addresses name it, and restore into that."
        )
    return Target(logins.DatabaseUrls(application=os.environ["DATABASE_URL"], owner=owner), embedded=False)


def _has_books(owner_url: str) -> bool:
    """Whether anything was ever written down in this database."""
    with psycopg.connect(owner_url) as connection:
        found = connection.execute("SELECT to_regclass('public.trading_auditevent') IS NOT NULL").fetchone()
        if not found or not found[0]:
            return False
        found = connection.execute("SELECT EXISTS (SELECT 1 FROM trading_auditevent)").fetchone()
        return bool(found and found[0])


def _same_logins(target: Target, manifest: Manifest) -> None:
    with psycopg.connect(target.urls.owner) as owner, psycopg.connect(target.urls.application) as application:
        names = [str(each.execute("SELECT current_user").fetchone()[0]) for each in (owner, application)]  # type: ignore[index]
    if names != [manifest.owner, manifest.application]:
        raise BadBackup(
            f"The backup gives rights to the logins {manifest.owner} and {manifest.application}, these addresses are "
            f"of {names[0]} and {names[1]}. {DIFFERENT}"
        )


def _fill(target: Target, dump: Path, progress: chain.Progress) -> None:
    """Restore: in one transaction, all or nothing."""
    done = 0

    def said(line: str) -> None:
        nonlocal done
        if "processing data for table" in line:
            done += 1
            progress(line.rsplit(".", 1)[-1].strip('"'), done, 0)

    programs.run(
        "pg_restore", target.urls.owner, "--no-owner", "--single-transaction", "--exit-on-error", dump, said=said
    )


def _migrate(target: Target) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=paths.PROJECT,
        env={**os.environ, **target.urls.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DeskError(f"The restored data could not be brought up to date: {done.stderr.strip()[-800:]}")


def _prove(target: Target, anchors: Path, manifest: Manifest) -> bool:
    """The restored chain, read row by row by the stand-alone program; whether our key is that of the anchors."""
    text = anchors.read_text(encoding="utf-8", errors="replace")
    lines, _ = read_anchors(text)
    key = anchor_key()
    has_key = not lines or any(line.sealed_under(key).seal == line.seal for line in lines)
    with psycopg.connect(target.urls.application) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; {SETTINGS}")
        told = verify(Source(None, cursor), text, key if has_key else "")
        _must_agree_with_ours(cursor, manifest, key)
        ends = chain.hashes(cursor, [manifest.head]).get(manifest.head, "")
    if not told["ok"]:
        first = "; ".join(str(Finding(**finding)) for finding in told["findings"][:3])
        raise DeskError(
            f"The restored books do not pass their proof ({told['count']} findings: {first}). The backup was made of "
            "books that were tampered with, or was changed since. Use an earlier one; nothing has changed places."
        )
    if manifest.head and ends != manifest.block_hash:
        raise DeskError(
            f"Block {manifest.head} is {ends[:12] or 'missing'}, the backup says {manifest.block_hash[:12]}…: its "
            "parts do not belong together. Nothing has changed places."
        )
    return has_key


def _must_agree_with_ours(cursor: Any, manifest: Manifest, key: str) -> None:
    """The restored chain against the anchors that lie here, as far as the backup goes: they are ours, its own are not.

    Whoever rewrites books and backup cannot seal with our key, and would bring a backup without anchors.
    """
    if not anchors_file().exists():
        return
    lines, _ = read_anchors(anchors_file().read_text(encoding="utf-8", errors="replace"))
    mine = [line for line in lines if line.chain == manifest.chain and line.sealed_under(key).seal == line.seal]
    known = [line for line in mine if line.number <= manifest.head]
    stands = chain.hashes(cursor, [line.number for line in known])
    for line in known:
        if stands.get(line.number) != line.hash:
            raise DeskError(
                f"Our own anchor of {line.at} says that block {line.number} was {line.hash[:12]}…; in the backup it is "
                f"{stands.get(line.number, 'missing')[:12]}…: the backup was made of books that were rewritten, or was "
                "changed since. Use an earlier one; nothing has changed places."
            )


def _take_the_place(target: Target, say: Said) -> None:
    """Let old and restored database change names, in one transaction."""
    restored = psycopg.conninfo.conninfo_to_dict(target.urls.owner)["dbname"]
    kept = f"{logins.DATABASE}_before_{_stamp()}"
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    try:
        with psycopg.connect(logins.superuser_url(join.embedded_server())) as connection:
            connection.execute(rename.format(sql.Identifier(logins.DATABASE), sql.Identifier(kept)))
            connection.execute(rename.format(sql.Identifier(str(restored)), sql.Identifier(logins.DATABASE)))
    except psycopg.errors.ObjectInUse as error:
        raise DeskError(
            "Another command is using the books, so they were left in their place. End that command and restore again."
        ) from error
    say(f"The restored books are in place; what stood there before is kept as the database {kept}.")


def _forget(target: Target) -> None:
    """Drop the database that was being restored into: it is ours, and has taken nobody's place."""
    name = str(psycopg.conninfo.conninfo_to_dict(target.urls.owner)["dbname"])
    with psycopg.connect(logins.superuser_url(join.embedded_server()), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _place_anchors(anchors: Path, manifest: Manifest, has_key: bool, say: Said) -> None:
    """The backup's anchors become this installation's; those that were here are kept beside them."""
    ours, text = anchors_file(), anchors.read_text(encoding="utf-8")
    if ours.exists() and ours.read_text(encoding="utf-8", errors="replace") != text:
        kept = ours.with_name(f"{ours.name}.before-{_stamp()}")
        lines, _ = read_anchors(ours.read_text(encoding="utf-8", errors="replace"))
        ours.rename(kept)
        later = [line for line in lines if line.chain == manifest.chain and line.number > manifest.head]
        if later:
            say(
                f"The anchors that were here knew {len(later)} later heads, up to block {later[-1].number} at "
                f"{later[-1].at}: what was written after block {manifest.head} is not in the restored books."
            )
        say(f"The anchors that were here are kept as {kept}.")
    if has_key:
        paths.write_private(ours, text)
        return
    foreign = ours.with_name(f"{ours.name}.of-backup-{_stamp()}")
    paths.write_private(foreign, text)
    say(
        f"The backup's anchors are sealed with another key than this installation's: their hashes were compared, their "
        f"seals could not be. They are kept as {foreign}; new anchors are begun. To go on with them, put the old "
        "anchor_key into var/secrets.json (or BACKOFFICE_ANCHOR_KEY) and restore again."
    )
