"""Anchors: the chain's head, sealed with a key that the database does not know, as lines of a file outside of it.

What always holds: a line is on the disk before the database says that it is; lines are only appended, one at a time
(a lock on the file), never to a file of another chain and never to one that the books contradict; the same head is not
written twice, and the rows that an anchor itself leaves in the books are no reason for another.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection

from trading.auditor.verify_books import AnchorLine, read_anchors
from trading.clock import wall_now
from trading.domain.canonical import canonical_json, utc_text
from trading.models import Anchor
from trading.selectors import chain
from trading.services.anchors import record_anchor
from trading.services.audit import Actor

TAIL = 8192


class AnchorRefused(Exception):
    """No anchor was written, because the file and the books contradict each other. The text says what to do."""


def sink_of(file: Path) -> str:
    """How the books name the file: the machine and the place."""
    return f"{socket.gethostname()}:{file}"


def anchor_head(*, file: Path, key: str, actor: Actor) -> AnchorLine | None:
    """Append the chain's head to the file; None when nothing has moved since its last line.

    Raises AnchorRefused when the file belongs to another chain or the books do not go on from its last line, and
    OSError when it cannot be written.
    """
    with _alone(file) as descriptor:
        last = _last_line(descriptor)
        with connection.cursor() as cursor:
            number, head = chain.head(cursor)
            identity = chain.identity(cursor)
            if last is not None:
                _go_on_from(last, number, identity, chain.hashes(cursor, [last.number]), file)
            if number == 0 or (last is not None and not _has_moved(last, number)):
                return None
        at = wall_now()
        line = AnchorLine(identity, number, head.hex(), utc_text(at), last.seal if last else "").sealed_under(key)
        text = (canonical_json(line._asdict()) + "\n").encode()
        if os.write(descriptor, text) != len(text):
            raise OSError("a part of the line only was written; is the disk full?")
        os.fsync(descriptor)
        record_anchor(number=number, block_hash=head, at=at, sink=sink_of(file), seal=line.seal, actor=actor)
        return line


def _has_moved(last: AnchorLine, number: int) -> bool:
    """Whether anything but the last anchor's own rows was sealed since."""
    if number == last.number:
        return False
    row = Anchor.objects.order_by("-id").first()
    if row is None or row.seal != last.seal:  # the power was cut between the line and its row
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM trading_chainblock WHERE number > %s AND transaction <> ("
            "SELECT transaction FROM trading_chainblock WHERE table_name = 'trading_anchor' AND last_id = %s))",
            [last.number, row.pk],
        )
        return bool(cursor.fetchone()[0])


def _go_on_from(last: AnchorLine, number: int, identity: str, known: dict[int, str], file: Path) -> None:
    if last.chain != identity:
        raise AnchorRefused(
            f"{file} holds anchors of other books (chain {last.chain[:12]}…; these are {identity[:12]}…), so no anchor "
            "was written. Move the file to where those books are; a new one is begun for these."
        )
    if known.get(last.number) != last.hash:
        where = f"end at block {number}" if last.number > number else "have another block there"
        raise AnchorRefused(
            f"{file} says that block {last.number} was {last.hash[:12]}… at {last.at}, but the books {where}: they "
            "were rewritten, cut off or restored from an older copy. No anchor was written; run `verify_chain`."
        )


@contextmanager
def _alone(file: Path) -> Iterator[int]:
    """The file, open for appending by nobody else; made (0600) if it is not there."""
    is_new = not file.exists()
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if is_new:
            directory = os.open(file.parent, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
        yield descriptor
    finally:
        os.close(descriptor)


def _last_line(descriptor: int) -> AnchorLine | None:
    """The last whole line; half a line, left by a power cut, is taken away. Raises AnchorRefused on other damage."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, TAIL, max(0, size - TAIL))
    whole, _, torn = tail.rpartition(b"\n")
    if torn:
        os.ftruncate(descriptor, size - len(torn))
    if not whole:
        return None
    found, damaged = read_anchors(whole.rsplit(b"\n", 1)[-1].decode(errors="replace") + "\n")
    if damaged:
        raise AnchorRefused(
            "The last line of the anchors cannot be read, so no anchor was written. Restore the file from a copy, or "
            "move it away: a new one is begun, and what the old one proves must be checked by hand."
        )
    return found[0]
