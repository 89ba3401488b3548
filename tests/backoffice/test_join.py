"""Any command has its database: it joins, or starts PostgreSQL for its own life."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backoffice.desk import children
from backoffice.desk.join import needs_database
from backoffice.desk.paths import PROJECT
from backoffice.desk.postgres import running_pid
from tests.conftest import CommittedDatabase

COUNT = "from django.contrib.auth.models import Group; print('groups', Group.objects.count())"


def _environment(var: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "BACKOFFICE_"))}
    return {**kept, "BACKOFFICE_VAR": str(var)}


def _command(var: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env={**_environment(var), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )


def _hear_ctrl_c() -> None:
    """A shell that starts the tests in the background lets them, and all that they start, ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def var(open_directory: Path) -> Path:
    """A `var` directory with an embedded database that one command has already made."""
    directory = open_directory / "var"
    first = _command(directory, "shell", "--no-imports", "--command", COUNT)
    out, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    assert out.startswith("groups "), "progress words must not go to stdout"
    assert "up to date" in err
    return directory


def _data(var: Path) -> Path:
    """Where that installation's PostgreSQL keeps its data, wherever root had to put it."""
    answer = subprocess.run(
        [sys.executable, "-c", "from backoffice.desk.postgres import data_directory as d; print(d())"],
        cwd=PROJECT,
        env=_environment(var),
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(answer.stdout.strip())


def test_a_second_command_finds_the_data_and_is_quick_and_stops_what_it_started(var: Path) -> None:
    begin = time.monotonic()
    second = _command(var, "shell", "--no-imports", "--command", COUNT)
    out, err = second.communicate(timeout=60)
    assert (second.returncode, err) == (0, "")
    assert out.startswith("groups ")
    assert time.monotonic() - begin < 10
    assert running_pid(_data(var)) is None


def test_commands_at_the_same_moment_share_one_server_and_all_finish(var: Path) -> None:
    slow = "import time; time.sleep(1.5); " + COUNT
    commands = [_command(var, "shell", "--no-imports", "--command", slow) for _ in range(3)]
    for command in commands:
        out, err = command.communicate(timeout=60)
        assert command.returncode == 0, err
        assert out.startswith("groups ")
    assert running_pid(_data(var)) is None


def test_whoever_started_the_server_waits_for_the_others_and_says_so(var: Path) -> None:
    starter = _command(var, "shell", "--no-imports", "--command", "import time; time.sleep(1)")
    data = _data(var)
    assert children.wait_until(lambda: running_pid(data) is not None, 20)
    other = _command(var, "shell", "--no-imports", "--command", "import time; time.sleep(3); " + COUNT)
    out, err = other.communicate(timeout=60)
    assert other.returncode == 0, err
    assert out.startswith("groups ")
    _, words = starter.communicate(timeout=60)
    assert starter.returncode == 0
    assert "Waiting for other commands" in words
    assert running_pid(data) is None


def test_a_killed_command_leaves_no_server_and_the_next_one_works(var: Path) -> None:
    killed = _command(var, "shell", "--no-imports", "--command", "import time; time.sleep(60)")
    data = _data(var)
    assert children.wait_until(lambda: running_pid(data) is not None, 20)
    server = running_pid(data)
    assert server is not None
    killed.kill()
    killed.communicate(timeout=10)
    assert children.wait_until(lambda: not children.is_alive(server), 20)
    _next_works(var)


def test_a_pid_file_that_names_another_living_process_is_no_obstacle(var: Path) -> None:
    data = _data(var)
    mark = data / "postmaster.pid"
    mark.write_text(f"{os.getpid()}\n{data}\n{int(time.time())}\n5432\n\n\n")
    _next_works(var)


def _next_works(var: Path) -> None:
    after = _command(var, "shell", "--no-imports", "--command", COUNT)
    out, err = after.communicate(timeout=60)
    assert after.returncode == 0, err
    assert out.startswith("groups ")


def test_data_of_another_major_version_is_refused_with_a_sentence(var: Path) -> None:
    version = _data(var) / "PG_VERSION"
    kept = version.read_text()
    version.write_text("15\n")
    try:
        command = _command(var, "shell", "--no-imports", "--command", COUNT)
        _, err = command.communicate(timeout=60)
        assert command.returncode == 1
        assert "made by PostgreSQL 15" in err
        assert "Nothing was changed" in err
        assert "Traceback" not in err
    finally:
        version.write_text(kept)


def test_lost_passwords_are_a_sentence_not_a_traceback(var: Path) -> None:
    secrets = var / "secrets.json"
    kept = secrets.read_text()
    secrets.write_text(json.dumps({**json.loads(kept), "superuser_password": "another"}))
    try:
        command = _command(var, "shell", "--no-imports", "--command", COUNT)
        _, err = command.communicate(timeout=60)
        assert command.returncode == 1
        assert "secrets.json" in err
        assert "Traceback" not in err
    finally:
        secrets.write_text(kept)
    assert running_pid(_data(var)) is None


def test_what_is_secret_only_we_can_read(var: Path) -> None:
    assert (var / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert (var / "run" / "database.json").stat().st_mode & 0o777 == 0o600
    assert _data(var).stat().st_mode & 0o777 == 0o700


def test_a_named_database_is_used_and_nothing_is_started(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    command = _command(
        tmp_path, "shell", "--no-imports", "--command", COUNT, DATABASE_URL=committed_db.urls.application
    )
    out, err = command.communicate(timeout=60)
    assert command.returncode == 0, err
    assert out.startswith("groups ")
    assert not (tmp_path / "postgres").exists()


def test_migrations_need_the_owners_login(committed_db: CommittedDatabase, tmp_path: Path) -> None:
    alone = _command(tmp_path, "migrate", DATABASE_URL=committed_db.urls.application)
    _, err = alone.communicate(timeout=60)
    assert alone.returncode == 1
    assert "DATABASE_OWNER_URL is not" in err
    same = _command(
        tmp_path,
        "migrate",
        DATABASE_URL=committed_db.urls.application,
        DATABASE_OWNER_URL=committed_db.urls.application,
    )
    _, err = same.communicate(timeout=60)
    assert same.returncode == 1
    assert "Nothing was changed" in err
    both = _command(tmp_path, "migrate", **committed_db.urls.environment())
    out, err = both.communicate(timeout=60)
    assert both.returncode == 0, err
    assert "No migrations to apply" in out


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("", False),
        ("help", False),
        ("--help", False),
        ("simulator --ports 9200", False),
        ("desk", False),
        ("makemigrations --check", False),
        ("reconcile --help", False),
        ("migrate -h", False),
        ("reconcile --report-only", True),
        ("migrate", True),
        ("seed_desk", True),
    ],
)
def test_only_commands_that_use_the_books_start_a_database(line: str, needed: bool) -> None:
    assert needs_database(["manage.py", *line.split()]) is needed


def test_ctrl_c_in_a_command_stops_its_server(var: Path) -> None:
    work = "import time; print('up', flush=True); time.sleep(60)"
    command = _command(var, "shell", "--no-imports", "--command", work)
    data = _data(var)
    assert command.stdout is not None and command.stdout.readline() == "up\n"
    assert running_pid(data) is not None
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=30)
    assert running_pid(data) is None
