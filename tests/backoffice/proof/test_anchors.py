"""Anchors: lines outside the database that a rewritten, shortened or foreign chain cannot pass through."""

from __future__ import annotations

import json
import os
import stat
import threading
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from backoffice.proof.anchoring import anchor_key, anchor_now, anchors_file
from backoffice.proof.checking import prove
from backoffice.tasks import anchor as task
from tests.trading.services import making
from trading.auditor.verify_books import AnchorLine, Finding, read_anchors
from trading.engine.anchors import AnchorRefused, sink_of
from trading.models import Anchor, AuditEvent
from trading.services import audit

from .conftest import Books

# What a superuser does who knows how the chain is made and rewrites all of it after a change.
REWRITE = """
DO $$ DECLARE b record; r record; before bytea; BEGIN
    {change};
    SELECT previous INTO before FROM trading_chainblock ORDER BY number LIMIT 1;
    FOR b IN SELECT * FROM trading_chainblock ORDER BY number LOOP
        EXECUTE format('SELECT count(*) AS n, sha256(string_agg(l, %L::bytea ORDER BY id)) AS root, '
            'string_agg(substr(l, 1, 4), %L::bytea ORDER BY id) AS marks FROM (SELECT id, '
            'sha256(convert_to(rtrim(rtrim(x::text, %L), %L), %L)) AS l FROM %I x WHERE id BETWEEN %s AND %s) s',
            '', '', ')', ',', 'UTF8', b.table_name, b.first_id, b.last_id) INTO r;
        UPDATE trading_chainblock SET root = r.root, marks = r.marks, previous = before, hash = sha256(convert_to(
            concat_ws(':', 'block-1', b.number, b.table_name, b.first_id, b.last_id, b.row_count, encode(r.root, 'hex'),
                encode(before, 'hex'), b.transaction,
                to_char(b.sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), b.login), 'UTF8'))
            WHERE number = b.number RETURNING hash INTO before;
    END LOOP;
    UPDATE trading_chainhead SET hash = before;
END $$
"""
REWRITTEN = "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, MDY';" + REWRITE
CUT = """
    DELETE FROM trading_auditevent WHERE id = (SELECT last_id FROM trading_chainblock WHERE table_name =
        'trading_auditevent' AND number = (SELECT max(number) FROM trading_chainblock));
    DELETE FROM trading_chainblock WHERE number = (SELECT max(number) FROM trading_chainblock);
    UPDATE trading_chainhead SET (number, hash) =
        (SELECT number, hash FROM trading_chainblock ORDER BY number DESC LIMIT 1)
"""


def something_happens() -> None:
    """One more sealed row."""
    audit.record(kind="process.started", actor=making.TEST, after={"program": "test"})


def problems(anchors: Path | None = None) -> list[str]:
    """What the proof finds."""
    return [str(Finding(**finding)) for finding in prove(anchors=anchors)["findings"]]


def lines() -> list[AnchorLine]:
    """The anchors that stand in the file."""
    return read_anchors(anchors_file().read_text())[0]


def test_an_anchor_is_a_private_line_and_a_row_and_is_not_written_twice(books: Books) -> None:
    first = anchor_now(making.TEST)
    assert first is not None and lines() == [first]
    assert stat.S_IMODE(anchors_file().stat().st_mode) == 0o600
    row = Anchor.objects.latest("id")
    assert (row.number, bytes(row.hash).hex(), row.seal) == (first.number, first.hash, first.seal)
    assert row.sink == sink_of(anchors_file()) and AuditEvent.objects.filter(kind="chain.anchored").exists()
    assert anchor_now(making.TEST) is None, "the anchor's own rows are no reason for another"
    something_happens()
    second = anchor_now(making.TEST)
    assert second is not None and second.before == first.seal and second.number > first.number
    assert second.sealed_under(anchor_key()) == second and second.sealed_under("another").seal != second.seal
    assert problems() == []


def test_the_task_anchors_what_moved_and_the_command_says_so(books: Books) -> None:
    assert task() == lines()[0].number
    assert task() == 0
    something_happens()
    printed = StringIO()
    call_command("anchor", stdout=printed)
    assert f"Block {lines()[1].number} {lines()[1].hash} is anchored" in printed.getvalue()


def test_a_chain_that_was_rewritten_whole_is_seen_by_the_anchors_alone(books: Books) -> None:
    anchor_now(making.TEST)
    something_happens()
    good = anchor_now(making.TEST)
    assert good is not None
    books.alter(REWRITTEN.format(change="UPDATE trading_rate SET value = 7 WHERE id = 5"))
    assert problems() == [
        f"block {lines()[0].number}: is not the one that was anchored at {lines()[0].at}: the chain was rewritten from"
        " its beginning"
    ]
    with pytest.raises(AnchorRefused, match="have another block there"):
        anchor_now(making.TEST)
    assert task() == task() == 0 and len(lines()) == 2
    event = AuditEvent.objects.get(kind="chain.broken")
    assert event.level == "CRITICAL" and "have another block there" in event.reason
    anchors_file().rename(anchors_file().with_name("elsewhere"))
    with connection.cursor() as cursor:  # the seal in the books is still under the key that the forger lacks
        cursor.execute("SELECT count(*) FROM trading_anchor WHERE sink = %s", [sink_of(anchors_file())])
        assert cursor.fetchone()[0] == 2
    assert ["anchor" in each for each in problems()] == [True]


def test_a_tail_that_was_cut_off_with_its_head_is_seen_by_the_anchors_alone(books: Books) -> None:
    something_happens()
    anchor_now(making.TEST)  # one block for the anchor's row, one for its audit event; then its own number is the head
    books.alter(f"{CUT}; DELETE FROM trading_anchor WHERE number = {lines()[0].number}; {CUT}; {CUT}")
    (problem,) = problems()
    assert f"block {lines()[0].number}: was anchored at {lines()[0].at}, but the books end at block" in problem
    with pytest.raises(AnchorRefused, match="end at block"):
        anchor_now(making.TEST)


def test_anchors_of_other_books_are_a_failure_with_a_sentence(books: Books, tmp_path: Path) -> None:
    anchor_now(making.TEST)
    foreign = lines()[0]._replace(chain="ab" * 32).sealed_under(anchor_key())
    copy = tmp_path / "copy.jsonl"
    copy.write_text(json.dumps(foreign._asdict()) + "\n")
    (problem,) = problems(copy)
    assert problem.startswith("the anchors are of chain abababababab…") and "belongs to other books" in problem
    anchors_file().write_text(copy.read_text())
    with pytest.raises(AnchorRefused, match="anchors of other books"):
        anchor_now(making.TEST)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace('"before":""', '"before":"' + "0" * 64 + '"', 1), "does not follow the one before"),
        (lambda text: text.replace('"at":"2', '"at":"3', 1), "was not sealed under this key"),
        (lambda text: "".join(text.splitlines(keepends=True)[1:]), "does not follow the one before"),
        (lambda text: text.replace('{"at"', '{"it"', 1), "line 1 of the anchors cannot be read"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "is not in"),
        (lambda text: "", "and 2 later ones, is not in"),
    ],
)
def test_a_file_of_anchors_that_was_touched_says_so(books: Books, damage: object, said: str) -> None:
    for _ in range(3):
        something_happens()
        anchor_now(making.TEST)
    anchors_file().write_text(damage(anchors_file().read_text()))  # type: ignore[operator]
    assert any(said in problem for problem in problems()), problems()


def test_an_older_copy_kept_elsewhere_proves_as_much_as_it_knows(books: Books, tmp_path: Path) -> None:
    something_happens()
    anchor_now(making.TEST)
    copy = tmp_path / "copy.jsonl"
    copy.write_text(anchors_file().read_text())
    something_happens()
    anchor_now(making.TEST)
    assert problems(copy) == []


def test_half_a_line_of_a_power_cut_is_no_anchor_and_hinders_none(books: Books) -> None:
    first = anchor_now(making.TEST)
    with anchors_file().open("a") as file:
        file.write('{"at":"2026-')
    assert problems() == []
    something_happens()
    second = anchor_now(making.TEST)
    assert lines() == [first, second] and problems() == []


def test_a_line_whose_row_was_lost_in_a_crash_is_taken_up_again(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as crash:
        crash.setattr("trading.engine.anchors.record_anchor", lambda **_: (_ for _ in ()).throw(OSError("crash")))
        with pytest.raises(OSError, match="crash"):
            anchor_now(making.TEST)
    assert len(lines()) == 1 and problems() == []
    something_happens()
    assert anchor_now(making.TEST) is not None and len(lines()) == 2 and problems() == []


def test_two_who_anchor_at_once_write_one_line_after_the_other(books: Books) -> None:
    def hasten() -> None:
        something_happens()
        anchor_now(making.TEST)
        connection.close()

    threads = [threading.Thread(target=hasten) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(lines()) <= 4 and problems() == []


def test_a_file_that_cannot_be_written_is_a_sentence(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backoffice.proof.anchoring.anchors_file", lambda: Path("/proc/no/anchors.jsonl"))
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("anchor")
    assert task() == 0


def test_the_proof_runs_beside_a_writer_that_is_not_done(books: Books) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as writer:
        writer.execute(
            "INSERT INTO trading_rate (at, recorded_at, base, quote, value, source)"
            " VALUES (now(), now(), 'EUR', 'USD', 1, 'unfinished')"
        )
        assert problems() == []
        writer.commit()
    assert problems() == []
