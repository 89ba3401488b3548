"""Making a backup: the head is anchored, the database dumped at one moment, all put into one file.

What always holds here: the dump, the manifest's head and the anchors beside it are of the same moment; a backup can be
made of books that contradict their anchors, too (it says so), because that is when one is wanted most.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
from django.db import connections, transaction

from backoffice.desk.paths import DeskError
from trading.auditor.verify_books import read_anchors
from trading.clock import wall_now
from trading.domain.canonical import utc_text
from trading.engine.anchors import AnchorRefused
from trading.selectors import chain
from trading.services import audit
from trading.services.audit import Actor
from trading.services.starts import version

from . import programs
from .anchoring import anchor_now, anchors_file
from .archive import ANCHORS, DUMP, FORMAT, Manifest, known_migrations, pack, sha256_of
from .checking import anchor_lines

Said = Callable[[str], None]


def make_backup(target: Path, *, actor: Actor, say: Said, progress: chain.Progress) -> Manifest:
    """Write the backup to `target`, a new file. `say` is told what a person should know.

    Raises DeskError with a sentence, ProgramFailed, and OSError.
    """
    if target.exists():
        raise DeskError(f"{target} is there already; no backup was made. Name a new file.")
    url = os.environ.get("DATABASE_OWNER_URL", "")
    if not url:
        raise DeskError(
            "A backup is made under the owner's login: set DATABASE_OWNER_URL (docs/operations.md). Nothing was made."
        )
    try:
        anchor_now(actor)
    except AnchorRefused as error:
        say(f"The head was not anchored, the backup is made all the same. {error}")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as made:
        folder = Path(made)
        manifest = _dumped(url, folder, progress)
        with transaction.atomic():
            audit.record(
                kind="backup.made",
                actor=actor,
                after={
                    "number": manifest.head,
                    "hash": manifest.block_hash,
                    "files": target.name,
                    "sha256": manifest.parts[DUMP],
                },
            )
        pack(folder, manifest, target)
    return manifest


def _dumped(url: str, folder: Path, progress: chain.Progress) -> Manifest:
    """The parts of the backup in a folder, all of one moment, and the manifest of them."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT pg_export_snapshot(), current_setting('server_version'), current_user")
        snapshot, server, owner = cursor.fetchone() or ("", "", "")
        number, head = chain.head(cursor)
        identity = chain.identity(cursor)
        cursor.execute("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        tables, done = int((cursor.fetchone() or (0,))[0]), 0

        def said(line: str) -> None:
            nonlocal done
            if "dumping contents of table" in line:
                done += 1
                progress(line.rsplit(".", 1)[-1].strip('"'), done, tables)

        (folder / DUMP).touch(mode=0o600)
        programs.run(
            "pg_dump", url, "--format=custom", f"--snapshot={snapshot}", f"--file={folder / DUMP}",
            said=said,
        )  # fmt: skip
    # The file may have gone on since; what the books of this moment know of stands in it for certain.
    lines = [line for line in anchor_lines(anchors_file()) if all(a.number <= number for a in read_anchors(line)[0])]
    (folder / ANCHORS).write_text("".join(lines), encoding="utf-8")
    return Manifest(
        format=FORMAT,
        made_at=utc_text(wall_now()),
        code=version(),
        postgres=str(server),
        owner=str(owner),
        application=str(connections["default"].settings_dict["USER"]),
        migrations=known_migrations(),
        chain=identity,
        head=number,
        block_hash=head.hex(),
        parts={name: sha256_of(folder / name) for name in (DUMP, ANCHORS)},
    )
