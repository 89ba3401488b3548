"""The inputs on disk: an append-only file of one JSON object a line, from which the world is rebuilt.

What always holds here: a line is written in one piece before anybody sees the answer to it, so a killed process loses
nothing that was seen; a half-written last line was never answered and is cut off. A checkpoint only saves the time of
doing the first part of the file again: it may be deleted, and one that does not fit the program is not used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def shape_of(classes: Sequence[type]) -> str:
    """A fingerprint of the classes whose objects are kept: it changes when one of their fields does."""
    text = repr([(one.__qualname__, [(f.name, str(f.type)) for f in dataclasses.fields(one)]) for one in classes])
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The file of inputs; without a directory nothing is kept."""

    def __init__(self, directory: Path | None, shape: str) -> None:
        self.path = None if directory is None else directory / "inputs.ndjson"
        self._shape = shape
        self._file = -1
        self._length = 0
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

    def checkpoint(self) -> Any:
        """What was saved last, or None. After it `entries` gives only what came later."""
        if self.path is None or not self._checkpoint_path.exists():
            return None
        with self._checkpoint_path.open("rb") as file:
            if file.readline().strip() != self._shape.encode():
                return None
            try:
                length, state = pickle.load(file)
            except (pickle.UnpicklingError, EOFError, ImportError, AttributeError, IndexError):
                return None  # damaged: the inputs themselves are whole
        if not self.path.exists() or self.path.stat().st_size < length:
            return None
        self._length = length
        return state

    @property
    def _checkpoint_path(self) -> Path:
        assert self.path is not None
        return self.path.with_name("checkpoint.pickle")

    def save(self, state: Any) -> None:
        """Save everything that follows from the inputs so far."""
        if self._file < 0:
            return
        draft = self._checkpoint_path.with_suffix(".draft")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(self._shape.encode() + b"\n")
            pickle.dump((self._length, state), file, pickle.HIGHEST_PROTOCOL)
        draft.replace(self._checkpoint_path)

    def entries(self) -> Iterator[dict[str, Any]]:
        """The inputs since the checkpoint, oldest first. A damaged line other than the last raises ValueError."""
        if self.path is None or not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._length)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{self.path}, byte {self._length} cannot be read: {error}") from None
                self._length += len(line)
                yield entry
        if self._length < self.path.stat().st_size:
            os.truncate(self.path, self._length)

    def open(self) -> None:
        """Get ready to append."""
        if self.path is not None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def append(self, entry: dict[str, Any]) -> None:
        """Keep one input."""
        if self._file >= 0:
            data = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
            self._length += len(data)
            while data:
                data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Nothing more will be kept."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
