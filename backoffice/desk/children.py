"""Child processes that cannot outlive us.

What always holds here:
- a child asks the kernel to be told when its parent dies (`kill -9` included), and dies then;
- a child has a session of its own, so that Ctrl-C in the terminal reaches only us, and we stop children in order;
- children are started from the main thread: the kernel's promise is bound to the parent *thread*.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(by: signal.Signals) -> Callable[[], None]:
    """What a child runs before its program: ask for signal `by` at the parent's death (Linux only)."""
    parent = os.getpid()

    def hook() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(by))
            if os.getppid() != parent:  # the parent died before the request was in force
                os._exit(1)

    return hook


def stop_with_our_parent() -> None:
    """Ask for SIGTERM at the death of whoever started us (Linux only): a killed `make run` must not leave its desk."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


def start(
    arguments: Sequence[str | Path],
    *,
    log: int,
    environment: Mapping[str, str] | None = None,
    directory: str | Path = "/",
    at_parents_death: signal.Signals = signal.SIGTERM,
    user: tuple[int, int] | None = None,
    read_output: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program as our child; what it prints goes to the descriptor `log`, which is closed here.

    `user` is (uid, gid) to run as; the caller must be root for it. `read_output`: we read its stdout from a pipe.
    """
    try:
        return subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if read_output else log,
            stderr=log,
            cwd=directory,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            preexec_fn=die_with_parent(at_parents_death),
            user=user[0] if user else None,
            group=user[1] if user else None,
            extra_groups=[] if user else None,
        )
    finally:
        os.close(log)


def stop(process: subprocess.Popen[bytes], *steps: tuple[signal.Signals, float]) -> int:
    """End a child with each signal in turn, waiting so many seconds after each; at last by SIGKILL. Its exit code."""
    for by, seconds in steps:
        if process.poll() is not None:
            break
        process.send_signal(by)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:
        process.kill()
    return process.wait()


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists and has not ended (one that waits to be collected has)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc/self").exists()


def wait_until(what: Callable[[], bool], seconds: float, pause: float = 0.02) -> bool:
    """Ask again and again until it is true or the seconds are over."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
    return True
