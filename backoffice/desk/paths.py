"""Where the desk keeps things: data, logs, secrets, and the short directory for sockets.

What always holds here:
- `var` is `BACKOFFICE_VAR` or `var/` of the project; everything that must survive lies below it;
- sockets live in a directory of our own in the temporary directory, because a socket's path may have 107 bytes at most;
- directories are private (0700). As root they can be passed through (0711), because PostgreSQL runs as another user
  and needs to reach the subdirectory that it owns; nothing in them can be listed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
LONGEST_SOCKET_PATH = 100
LARGEST_LOG = 20_000_000


class DeskError(Exception):
    """Something a person has to put right before the desk can run; the text is a sentence for them."""


def private_mode() -> int:
    """The mode of our directories: 0700, or 0711 for root (see the module)."""
    return 0o711 if os.geteuid() == 0 else 0o700


def make_private(directory: Path) -> Path:
    """Make a directory that only we can list; one that exists keeps its mode.

    Raises `DeskError` when it cannot be made or written.
    """
    try:
        directory.mkdir(mode=private_mode(), parents=True, exist_ok=True)
    except OSError as error:
        raise DeskError(
            f"{directory} cannot be made ({error.strerror}). Give that directory to the user who runs this, "
            "or name another one in BACKOFFICE_VAR."
        ) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise DeskError(
            f"{directory} belongs to another user and cannot be written. Run as that user, "
            "or name another directory in BACKOFFICE_VAR."
        )
    return directory


def var_directory() -> Path:
    """The directory of everything that survives: `BACKOFFICE_VAR`, else `var/` of the project."""
    return make_private(Path(os.path.abspath(os.environ.get("BACKOFFICE_VAR") or PROJECT / "var")))


def state_directory() -> Path:
    """`var/run`: locks, and files that say what is running now."""
    return make_private(var_directory() / "run")


def log_directory() -> Path:
    """`var/log`: what the desk's processes print."""
    return make_private(var_directory() / "log")


def installation_key() -> str:
    """Eight hexadecimal digits that tell this project with this `var` from every other on the machine."""
    return hashlib.sha256(f"{PROJECT}\0{var_directory()}".encode()).hexdigest()[:8]


def run_directory() -> Path:
    """The short directory for sockets, made if missing.

    Raises `DeskError` when somebody else made it first: whoever owns it could replace our sockets.
    """
    name = f"backoffice-{os.geteuid()}-{installation_key()}"
    directory = Path(tempfile.gettempdir()) / name
    if len(str(directory)) > LONGEST_SOCKET_PATH - len("/postgres/.s.PGSQL.5432"):
        directory = Path("/tmp") / name
    directory.mkdir(mode=private_mode(), exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise DeskError(f"{directory} was made by somebody else and cannot be trusted with sockets. Remove it.")
    return directory


def remove_run_directory() -> None:
    """Leave nothing in the temporary directory; a socket that somebody still uses keeps its directory."""
    directory = run_directory()
    for each in (*directory.iterdir(), directory):
        with contextlib.suppress(OSError):
            each.rmdir()


def write_private(path: Path, text: str) -> None:
    """Write a file that only we can read (0600), whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when the file is missing or was cut short."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def secret(name: str) -> str:
    """A generated secret of this installation, made on first use and kept in `var/secrets.json` (0600)."""
    path = var_directory() / "secrets.json"
    known = read_json(path)
    if name not in known:
        with (state_directory() / "secrets.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two first uses at once must not make two secrets
            known = read_json(path)
            if name not in known:
                known[name] = secrets.token_urlsafe(32)
                write_private(path, json.dumps(known, indent=1) + "\n")
    return str(known[name])


def open_log(name: str) -> int:
    """A descriptor that appends to `var/log/<name>.log`."""
    return os.open(log_directory() / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def trim_logs() -> None:
    """Set aside what stands in logs that grew too large (`.log.1`); whoever writes one goes on in the emptied file."""
    for path in log_directory().glob("*.log"):
        if path.stat().st_size > LARGEST_LOG:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)


def end_of_log(name: str, lines: int = 8) -> str:
    """The last lines of a log, for the sentence that says what died."""
    path = log_directory() / f"{name}.log"
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
