"""Where this installation keeps its anchors and their key, and the one verb that writes one.

What always holds here: the key is in `BACKOFFICE_ANCHOR_KEY` or in `var/secrets.json`, never in the database and never
beside a backup of it; the file is `var/anchors.jsonl`.
"""

from __future__ import annotations

import os
from pathlib import Path

from backoffice.desk import paths
from trading.auditor.verify_books import AnchorLine
from trading.engine.anchors import anchor_head
from trading.services.audit import Actor

FILE = "anchors.jsonl"


def anchors_file() -> Path:
    """The anchors of this installation; not there before the first."""
    return paths.var_directory() / FILE


def anchor_key() -> str:
    """The key of the anchors' seals, made at its first use."""
    return os.environ.get("BACKOFFICE_ANCHOR_KEY") or paths.secret("anchor_key")


def anchor_now(actor: Actor) -> AnchorLine | None:
    """Write the chain's head down; None when it has not moved. Raises AnchorRefused and OSError."""
    return anchor_head(file=anchors_file(), key=anchor_key(), actor=actor)
