"""PostgreSQL's own programs for saving and restoring: which ones, how they are called, and what they say while working.

What always holds here: no password is in a command line, where every user of the machine could read it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from backoffice.desk import postgres
from backoffice.desk.paths import DeskError


class ProgramFailed(Exception):
    """pg_dump or pg_restore gave up; the text is what it said last."""


def find(name: str) -> str:
    """The path of a program: of the embedded PostgreSQL's, else one on the PATH. Raises DeskError."""
    ourselves = postgres.ServerUser(os.geteuid(), os.getegid(), None)
    try:
        beside = postgres.find_binaries(ourselves)[0] / name
    except DeskError:
        beside = Path(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise DeskError(f"{name} was not found. Install PostgreSQL's client programs, then try again.")
    return found


def run(name: str, url: str, *arguments: str | Path, said: Callable[[str], None]) -> None:
    """Run a program on the database of this address; `said` hears each line that it says.

    Raises ProgramFailed and DeskError.
    """
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    where = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    password = where.pop("password", "")
    process = subprocess.Popen(
        [find(name), "--verbose", "--no-password", f"--dbname={make_conninfo('', **where)}", *map(str, arguments)],
        env={**os.environ, "PGPASSWORD": password, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    last: list[str] = []
    try:
        for line in process.stderr or ():
            last = [*last[-4:], line.strip()]
            said(line.strip())
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()
    if process.returncode != 0:
        raise ProgramFailed(f"{name} gave up: " + " · ".join(last))
