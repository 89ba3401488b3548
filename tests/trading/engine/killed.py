"""A replay in a process of its own, to be killed: python -m tests.trading.engine.killed FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import django


def main(folder: Path) -> None:
    """Replay the generated market; what it prints goes to standard output."""
    django.setup()
    from tests.trading.engine.running import replay

    sys.stdout.write(replay(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
