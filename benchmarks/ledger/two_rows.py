"""The classic two-row ledger (an entry and one posting row a side), filled by COPY: the fast and unguarded reference.

What always holds: it has what a reader would call the minimum (foreign keys, a unique key for each entry, an index of
an account's postings) and nothing that looks at what it holds; the second of it also refuses entries that do not add
up to zero, by one check a statement. It commits as often as our books do.
"""

from __future__ import annotations

import time
from decimal import Decimal

import psycopg

from . import data

_TABLES = """
    CREATE SCHEMA {name};
    SET search_path = {name};
    CREATE TABLE account (
        id bigint PRIMARY KEY, owner integer NOT NULL, kind varchar(12) NOT NULL, commodity varchar(40) NOT NULL,
        UNIQUE (id, commodity));
    CREATE TABLE entry (
        id bigint PRIMARY KEY, idempotency_key varchar(120) NOT NULL UNIQUE, kind varchar(16) NOT NULL,
        at timestamptz NOT NULL, recorded_at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE posting (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entry_id bigint NOT NULL REFERENCES entry,
        account_id bigint NOT NULL, commodity varchar(40) NOT NULL, amount numeric(38, 12) NOT NULL CHECK (amount <> 0),
        FOREIGN KEY (account_id, commodity) REFERENCES account (id, commodity));
    CREATE INDEX ON posting (account_id, id) INCLUDE (amount);
"""
_CHECK = """
    CREATE FUNCTION adds_up() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT 1 FROM fresh GROUP BY entry_id, commodity HAVING sum(amount) <> 0) THEN
            RAISE EXCEPTION 'an entry does not add up to zero' USING errcode = '23514';
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER adds_up AFTER INSERT ON posting REFERENCING NEW TABLE AS fresh
        FOR EACH STATEMENT EXECUTE FUNCTION adds_up();
"""


class TwoRows:
    """One such ledger, with one client."""

    def __init__(self, url: str, name: str, *, checked: bool) -> None:
        self._connection = psycopg.connect(url)
        self._connection.execute(_TABLES.format(name=name))
        if checked:
            self._connection.execute(_CHECK)
        with self._connection.cursor().copy("COPY account FROM STDIN") as copy:
            for place, book in enumerate(data.BOOKS):
                copy.write_row((place, book.owner, book.kind, book.commodity))
        self._connection.commit()
        self._connection.autocommit = True
        self._connection.execute("ANALYZE")
        self._connection.autocommit = False

    def bulk(self, first: int, count: int, batch: int = data.BATCH) -> float:
        """COPY entries and postings, one commit a batch; seconds."""
        batches = data.batches(data.events(first, count), batch)
        begin = time.perf_counter()
        for rows in batches:
            with self._connection.cursor() as cursor:
                with cursor.copy("COPY entry (id, idempotency_key, kind, at) FROM STDIN") as copy:
                    for event in rows:
                        copy.write_row((event.number, event.key, "FILL", event.at))
                with cursor.copy("COPY posting (entry_id, account_id, commodity, amount) FROM STDIN") as copy:
                    for event in rows:
                        for move in event.moves:
                            copy.write_row((event.number, move.debit, move.commodity, move.amount))
                            copy.write_row((event.number, move.credit, move.commodity, -move.amount))
            self._connection.commit()
        return time.perf_counter() - begin

    def holds(self) -> tuple[int, str]:
        """How many postings there are and what their debit sides add up to."""
        row = self._connection.execute(
            "SELECT count(*), coalesce(sum(amount) FILTER (WHERE amount > 0), 0) FROM posting"
        ).fetchone()
        self._connection.commit()
        assert row is not None
        return row[0], f"{Decimal(row[1]):.2f}"

    def close(self) -> None:
        """End the client."""
        self._connection.close()
