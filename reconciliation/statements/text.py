"""From the bytes of a file to its rows: text, CSV and JSON, with the place of everything.

What always holds here: pure, no I/O; nothing is guessed: text is UTF-8 (or UTF-16 with its mark), numbers keep every
digit that was written, and what a spreadsheet would take for a formula is refused; a file that is too large, or broken,
is refused before anything is made of it.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from .document import BadStatement

MOST_BYTES = 32 * 1024 * 1024
MOST_ROWS = 200_000
DELIMITERS = (",", ";", "\t")
_FORMULA = ("=", "@", "+", "-")
_SIGNED = re.compile(r"[+-][0-9.,]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NOTE = re.compile(r"#\s*([a-z_]+)\s*:\s*(.*)")


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a CSV file by the names of its header, each with its line; `notes` are its `# name: value` lines."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]
    notes: Mapping[str, tuple[int, str]]


def decoded(body: bytes) -> str:
    """The text of a file. Raises `BadStatement`."""
    if len(body) > MOST_BYTES:
        raise BadStatement(
            f"The file has {len(body):,} bytes; at most {MOST_BYTES:,} are read at once. Export fewer days at a time."
        )
    wide = body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = body.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise BadStatement("it is not UTF-8; save the file as UTF-8.", line=line) from error
    found = _CONTROL.search(text)
    if found is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise BadStatement(f"it holds the control character {ord(found[0])}; the file is damaged.", line=line)
    if not text.strip():
        raise BadStatement("The file is empty.")
    return text


def table(text: str) -> Table:
    """The rows of a CSV file. Raises `BadStatement`."""
    records = _records(text)
    notes: dict[str, tuple[int, str]] = {}
    header: list[str] = []
    rows: list[tuple[int, Mapping[str, str]]] = []
    for line, cells in records:
        note = _NOTE.fullmatch(cells[0].strip()) if not header and len(cells) == 1 else None
        if not any(cell.strip() for cell in cells) or (note is None and not header and cells[0].startswith("#")):
            continue
        if note is not None:
            if note[1] in notes:
                raise BadStatement(f"{note[1]} was said in line {notes[note[1]][0]}.", line=line)
            notes[note[1]] = (line, note[2].strip())
        elif not header:
            header = _header(line, cells)
        else:
            rows.append((line, _row(line, header, cells)))
            if len(rows) > MOST_ROWS:
                raise BadStatement(f"The file has more than {MOST_ROWS:,} rows. Export fewer days at a time.")
    if not header:
        raise BadStatement("The file has no header.")
    return Table(tuple(header), tuple(rows), notes)


def document(text: str) -> Any:
    """What a JSON file holds; every number is the text that was written. Raises `BadStatement`."""
    try:
        found = json.loads(text, parse_float=str, parse_int=str, parse_constant=_constant, object_pairs_hook=_object)
        if "\\u0000" in text or not json.dumps(found, ensure_ascii=False).encode():
            raise BadStatement("It holds a character zero; the file is damaged.")
        return found
    except UnicodeEncodeError as error:
        raise BadStatement("It holds half of a character; the file is damaged.") from error
    except json.JSONDecodeError as error:
        raise BadStatement(f"it is not JSON: {error.msg}.", line=error.lineno) from error
    except RecursionError as error:
        raise BadStatement("It is nested too deeply to be a statement.") from error


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file, each with its first line."""
    notes, body = _split(text)
    yield from ((line, [note]) for line, note in notes)
    start = notes[-1][0] if notes else 0
    head = body.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, strict=True)
    before = 0
    try:
        for cells in reader:
            yield start + before + 1, cells or [""]
            before = reader.line_num
    except csv.Error as error:
        raise BadStatement(f"the quotes or cells are broken: {error}.", line=start + before + 1) from error


def _split(text: str) -> tuple[list[tuple[int, str]], str]:
    """The lines before the header that are notes or empty, and the rest."""
    notes: list[tuple[int, str]] = []
    while text.startswith(("#", "\n", "\r")):
        line, _, text = text.partition("\n")
        notes.append((len(notes) + 1, line.rstrip("\r").rstrip(",;\t")))
    return notes, text


def _header(line: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for place, name in enumerate(names, 1):
        if not name or names.index(name) != place - 1:
            raise BadStatement(f"the header's column {place} is {'empty' if not name else 'there twice'}.", line=line)
    return names


def _row(line: int, header: list[str], cells: list[str]) -> Mapping[str, str]:
    if len(cells) != len(header):
        raise BadStatement(f"it has {len(cells)} cells, and the header has {len(header)}.", line=line)
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    for name, cell in row.items():
        if cell.startswith(_FORMULA) and not _SIGNED.fullmatch(cell) and cell != "-":
            raise BadStatement(f"{cell!r:.40} is a formula, not a value.", line=line, column=name)
    return row


def _constant(word: str) -> NoReturn:
    raise BadStatement(f"It holds {word}, which is no number.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadStatement(f"An object says {twice!r:.40} twice.")
    return made
