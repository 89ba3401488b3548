"""A backup as one file: what is in it, and whether it is still what was put in.

What always holds here: a backup is readable by its owner only and appears whole or not at all; the manifest names each
part with its sha256; neither passwords nor the anchors' key are in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from backoffice.desk.migrations import APPS
from backoffice.desk.paths import PROJECT

FORMAT = "backup-1"
MANIFEST, DUMP, ANCHORS = "manifest.json", "books.dump", "anchors.jsonl"


class BadBackup(Exception):
    """The file is no backup, or not what it was. The text says so; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. `parts` are sha256 by name; `head` and `block_hash` where the chain ended."""

    format: str
    made_at: str
    code: str
    postgres: str
    owner: str
    application: str
    migrations: list[str]
    chain: str
    head: int
    block_hash: str
    parts: dict[str, str]


def known_migrations() -> list[str]:
    """The names of this project's migrations."""
    return sorted(f"{app}/{file.stem}" for app in APPS for file in (PROJECT / app / "migrations").glob("[0-9]*.py"))


def sha256_of(path: Path) -> str:
    """Of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(folder: Path, manifest: Manifest, target: Path) -> None:
    """Write one file of the folder's parts and the manifest. Raises OSError."""
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    draft = folder / "whole"
    draft.touch(mode=0o600)
    with tarfile.open(draft, "w") as archive:
        for name in (MANIFEST, *manifest.parts):
            archive.add(folder / name, name)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.rename(target)


def unpack(file: Path, folder: Path) -> Manifest:
    """Take a backup's parts into a folder and compare each with the manifest. Raises BadBackup and OSError."""
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                if member.isfile() and Path(member.name).name == member.name:
                    part = archive.extractfile(member)
                    if part is not None:
                        with part, (folder / member.name).open("wb") as whole:
                            shutil.copyfileobj(part, whole)
        fields: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        manifest = Manifest(**fields)
    except (tarfile.TarError, ValueError, TypeError, FileNotFoundError) as error:
        if not file.exists():
            raise
        raise BadBackup(
            f"{file} is no backup of these books, or was cut short ({error}). Nothing was changed."
        ) from error
    if manifest.format != FORMAT:
        raise BadBackup(f"{file} has the format {manifest.format}, this version reads {FORMAT}. Nothing was changed.")
    spoiled = _spoiled(manifest, folder)
    if spoiled:
        raise BadBackup(
            f"{file} is damaged: {', '.join(spoiled)} is not what was put in. Nothing was changed; use another copy."
        )
    newer = sorted(set(manifest.migrations) - set(known_migrations()))
    if newer:
        raise BadBackup(
            f"{file} was made by a newer version of this project ({manifest.code}; this one does not know {newer[0]}). "
            "Nothing was changed; restore it with that version."
        )
    return manifest


def _spoiled(manifest: Manifest, folder: Path) -> Sequence[str]:
    return [
        name
        for name, sha256 in manifest.parts.items()
        if not (folder / name).is_file() or sha256_of(folder / name) != sha256
    ]
