"""Named points where a test can kill, stop or fail the process. No-ops unless FAILPOINTS is set.

`FAILPOINTS="before_send:kill"`; actions are kill (SIGKILL), stop (SIGSTOP) and raise. `FAILPOINT_ONCE=FILE` makes it
happen only for whoever first creates FILE, so that the restarted process passes.
"""

import os
import signal


class FailpointReached(RuntimeError):
    """Raised by a failpoint with the action `raise`."""


def failpoint(name: str) -> None:
    """Act if FAILPOINTS names this point."""
    wanted = os.environ.get("FAILPOINTS")
    if not wanted:
        return
    actions = dict(part.split(":", 1) for part in wanted.split(",") if ":" in part)
    if name not in actions:
        return
    once = os.environ.get("FAILPOINT_ONCE")
    if once:
        try:
            os.close(os.open(once, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
    if actions[name] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif actions[name] == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        raise FailpointReached(name)
