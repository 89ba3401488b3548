"""What a standing process needs from its environment before it may start."""

import os


def demand(*names: str) -> str:
    """A sentence naming the environment variables that are missing; empty when none is."""
    missing = [name for name in names if not os.environ.get(name)]
    if not missing:
        return ""
    return (
        f"{' and '.join(missing)} must be set: this process does not start without. "
        "`manage.py desk` sets them itself; for your own servers see docs/operations.md."
    )
