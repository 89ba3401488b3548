"""A reader that follows a table by its numbers misses nothing, however many write: numbers appear in their order."""

from __future__ import annotations

import threading
import time

import psycopg

from tests.conftest import CommittedDatabase

WRITERS, SECONDS = 4, 1.5
MARK = (
    "INSERT INTO trading_mark (at, recorded_at, account_id, instrument_id, price, source, purpose)"
    " SELECT now(), now(), a.id, i.id, g, 'x', 'x' FROM (SELECT id FROM trading_account LIMIT 1) a,"
    " (SELECT id FROM trading_instrument LIMIT 1) i, generate_series(1, %s) g"
)


def test_a_reader_by_number_misses_no_row_of_four_writers(rich: CommittedDatabase) -> None:
    stop, written = time.monotonic() + SECONDS, [0] * WRITERS

    def write(number: int) -> None:
        with psycopg.connect(rich.urls.application) as connection:
            while time.monotonic() < stop:
                rows = 1 + (written[number] + number) % 3
                connection.execute(MARK, [rows])
                if written[number] % 7 == 6:  # some take back what they wrote, and leave a gap
                    connection.rollback()
                    connection.execute(MARK, [rows])
                time.sleep(0.001 * number)  # between the statement and its commit
                connection.commit()
                written[number] += rows

    with psycopg.connect(rich.urls.application, autocommit=True) as reader:
        (seen,) = reader.execute("SELECT coalesce(max(id), 0) FROM trading_mark").fetchone() or (0,)
        begin, read = seen, 0
        writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            for (row,) in reader.execute("SELECT id FROM trading_mark WHERE id > %s ORDER BY id", [seen]).fetchall():
                seen, read = row, read + 1
        read += len(reader.execute("SELECT id FROM trading_mark WHERE id > %s", [seen]).fetchall())
        (there,) = reader.execute("SELECT count(*) FROM trading_mark WHERE id > %s", [begin]).fetchone() or (0,)
    assert read == there == sum(written), f"{there - read} rows were missed"
    assert min(written) > 0, "every writer wrote"
