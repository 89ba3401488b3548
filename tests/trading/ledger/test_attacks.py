"""The application login against the wall, in plain SQL: everything is refused, and not one row is another after it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from django.apps import apps
from psycopg import sql

from tests.conftest import CommittedDatabase
from tests.trading.ledger.digest import digest
from tests.trading.ledger.proving import report

# Key and another column of every table of facts.
FACTS = {
    model._meta.db_table: (model._meta.concrete_fields[0].column, model._meta.concrete_fields[-1].column)
    for model in apps.get_models()
    if getattr(model, "append_only", False)
} | {"trading_ledgeraccount": ("id", "kind"), "trading_commodity": ("code", "scale")}
NO = "permission denied|append-only|must be owner|non-DEFAULT|get their numbers|only be updated to DEFAULT"

# {0} is the table, {1} its key, {2} another column.
ON_EVERY_TABLE = {
    "update": "UPDATE {0} SET {2} = {2}",
    "another number": "UPDATE {0} SET {1} = {1}",
    "delete": "DELETE FROM {0}",
    "truncate": "TRUNCATE {0} CASCADE",
    "merge that deletes": "MERGE INTO {0} x USING (SELECT 1) y ON true WHEN MATCHED THEN DELETE",
    "merge that updates": "MERGE INTO {0} x USING (SELECT 1) y ON true WHEN MATCHED THEN UPDATE SET {2} = x.{2}",
    "writable CTE": "WITH gone AS (DELETE FROM {0} RETURNING 1) SELECT count(*) FROM gone",
    "insert over": "INSERT INTO {0} OVERRIDING SYSTEM VALUE SELECT * FROM {0} ON CONFLICT ({1}) DO UPDATE SET {2} ="
    " excluded.{2}",
    "row lock": "SELECT * FROM {0} FOR UPDATE",
    "share lock": "SELECT * FROM {0} FOR SHARE",
    "exclusive lock": "LOCK TABLE {0} IN ACCESS EXCLUSIVE MODE",
    "lock against writers": "LOCK TABLE {0} IN SHARE MODE",
    "triggers off": "ALTER TABLE {0} DISABLE TRIGGER ALL",
    "the chain's trigger off": "ALTER TABLE {0} DISABLE TRIGGER z_chain",
    "no trigger": "DROP TRIGGER a_append_only ON {0}",
    "a trigger of one's own": "CREATE TRIGGER mine BEFORE INSERT ON {0} FOR EACH ROW EXECUTE FUNCTION"
    " suppress_redundant_updates_trigger()",
    "a rule": "CREATE RULE mine AS ON INSERT TO {0} DO INSTEAD NOTHING",
    "another owner": "ALTER TABLE {0} OWNER TO CURRENT_USER",
    "no table": "DROP TABLE {0} CASCADE",
    "a column": "ALTER TABLE {0} ADD COLUMN mine text",
    "a renamed table": "ALTER TABLE {0} RENAME TO mine",
    "another schema": "ALTER TABLE {0} SET SCHEMA pg_temp",
    "inherited": "ALTER TABLE {0} NO INHERIT {0}",
    "row security": "ALTER TABLE {0} ENABLE ROW LEVEL SECURITY",
    "a policy": "CREATE POLICY mine ON {0} USING (true)",
    "no constraint": "ALTER TABLE {0} DROP CONSTRAINT IF EXISTS mine",
    "a comment": "COMMENT ON TABLE {0} IS 'mine'",
    "rewritten": "CLUSTER {0}",
    "read from a file": "COPY {0} FROM '/etc/passwd'",
    "written by a program": "COPY {0} TO PROGRAM 'cat'",
    "numbers drawn": "SELECT nextval('{0}_id_seq')",
    "numbers set back": "SELECT setval('{0}_id_seq', 1)",
    "numbers owned": "ALTER SEQUENCE {0}_id_seq RESTART",
}
REFUSED = (
    "permission denied|must be (owner|superuser)|only be called as triggers|cannot be changed now|PREPARE|update view"
)
ONLY_WITH_NUMBERS = {"numbers drawn", "numbers set back", "numbers owned"}
IN_GENERAL = {
    "replica mode": "SET session_replication_role = replica",
    "replica mode for later": "ALTER ROLE CURRENT_USER SET session_replication_role = replica",
    "the owner's role": "SET ROLE backoffice_owner",
    "the superuser's role": "SET ROLE backoffice_superuser",
    "the owner's session": "SET SESSION AUTHORIZATION backoffice_owner",
    "membership": "GRANT backoffice_owner TO CURRENT_USER",
    "a superuser": "ALTER ROLE CURRENT_USER SUPERUSER",
    "a new login": "CREATE ROLE mine LOGIN",
    "a larger role": "ALTER ROLE CURRENT_USER CREATEROLE",
    "a schema": "CREATE SCHEMA mine",
    "a table": "CREATE TABLE mine ()",
    "a temporary table in front": "CREATE TEMPORARY TABLE trading_entry (id bigint)",
    "a temporary view in front": "CREATE TEMPORARY VIEW trading_chainhead AS SELECT 1 AS id",
    "a function": "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a function in front": "CREATE FUNCTION pg_temp.round(numeric, int) RETURNS numeric LANGUAGE sql AS 'SELECT 0.0'",
    "an operator in front": "CREATE OPERATOR public.<> (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = numeric_eq)",
    "a cast": "CREATE CAST (text AS numeric) WITH INOUT AS IMPLICIT",
    "the lock replaced": "CREATE OR REPLACE FUNCTION append_lock() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "the chain replaced": "CREATE OR REPLACE FUNCTION chain_add() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "the door replaced": "CREATE OR REPLACE FUNCTION ledger_post_many(p jsonb) RETURNS bigint[] LANGUAGE sql AS"
    " 'SELECT NULL::bigint[]'",
    "the door dropped": "DROP FUNCTION ledger_post_many(jsonb)",
    "the guard dropped": "DROP FUNCTION guard_application() CASCADE",
    "the door's path": "ALTER FUNCTION ledger_post_many(jsonb) RESET search_path",
    "a trigger function called": "SELECT append_lock()",
    "the chain's trigger called": "SELECT chain_add()",
    "a block sealed by hand": "SELECT chain_append('trading_entry', 1, 1, 1, '', '')",
    "a table chained by hand": "SELECT chain_table('trading_order')",
    "a check called": "SELECT ledger_check_entries(ARRAY[1::bigint])",
    "lots moved by hand": "SELECT ledger_move_lots(NULL, ARRAY[1::bigint])",
    "a block inserted": "INSERT INTO trading_chainblock SELECT * FROM trading_chainblock",
    "the head moved": "UPDATE trading_chainhead SET number = 0",
    "no head": "DELETE FROM trading_chainhead",
    "another head": "INSERT INTO trading_chainhead VALUES (2, 0, '')",
    "an entry inserted": "INSERT INTO trading_entry OVERRIDING SYSTEM VALUE SELECT * FROM trading_entry",
    "transfers copied in": "COPY trading_transfer FROM STDIN",
    "lots copied in": "COPY trading_lot (quantity) FROM STDIN",
    "the accountants' view": "UPDATE ledger_posting SET amount = 1",
    "rights": "GRANT ALL ON trading_entry TO PUBLIC",
    "rights of all": "GRANT UPDATE ON ALL TABLES IN SCHEMA public TO CURRENT_USER",
    "the schema's rights": "GRANT CREATE ON SCHEMA public TO CURRENT_USER",
    "everybody's things": "REASSIGN OWNED BY backoffice_owner TO CURRENT_USER",
    "the migrations' list": "DELETE FROM django_migrations",
    "settings of the server": "SET fsync = off",
    "settings of the database": "ALTER DATABASE postgres SET search_path = mine",
    "an event trigger": "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION append_lock()",
    "a language": "CREATE LANGUAGE mine HANDLER plpgsql_call_handler",
    "a publication": "CREATE PUBLICATION mine FOR ALL TABLES",
    "logical slots": "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
    "files read": "SELECT pg_read_file('PG_VERSION')",
    "files written": "SELECT lo_export(0, '/dev/null')",
    "passwords read": "SELECT * FROM pg_authid",
    "a prepared transaction that holds the lock for ever": "PREPARE TRANSACTION 'mine'",
    "a block of code as somebody else": "DO $$ BEGIN SET ROLE backoffice_owner; END $$",
    "catalogues": "UPDATE pg_trigger SET tgenabled = 'D'",
}


@pytest.fixture
def login(rich: CommittedDatabase) -> Iterator[psycopg.Connection]:
    """A connection as the application; afterwards nothing in the database is another."""
    with psycopg.connect(rich.urls.application) as connected:
        before = digest(connected.cursor())
        connected.commit()
        yield connected
        connected.rollback()
        assert digest(connected.cursor()) == before
        connected.rollback()


@pytest.mark.parametrize("name", ON_EVERY_TABLE)
@pytest.mark.scenario("S-78")
def test_no_statement_touches_a_table_of_facts(login: psycopg.Connection, name: str) -> None:
    for table, (key, column) in FACTS.items():
        if name in ONLY_WITH_NUMBERS and key != "id":
            continue
        with pytest.raises(psycopg.Error, match=NO), login.transaction():
            login.execute(ON_EVERY_TABLE[name].format(table, key, column))


def test_no_statement_takes_the_wall_down(login: psycopg.Connection) -> None:
    rights = "SELECT count(*) FROM information_schema.role_table_grants WHERE privilege_type IN ('UPDATE', 'DELETE')"
    before = login.execute(rights).fetchall()
    for name, statement in IN_GENERAL.items():
        try:
            with login.transaction(force_rollback=True):
                login.execute(statement)
                # GRANT by somebody without the right is only a warning: then nothing may have been granted.
                assert statement.startswith("GRANT") and login.execute(rights).fetchall() == before, name
        except psycopg.Error as error:
            assert re.search(REFUSED, str(error)), (name, str(error))


@pytest.mark.parametrize("place", ["ahead", "taken", "below", "negative"])
def test_rows_with_numbers_of_ones_own_cannot_be_copied_in(login: psycopg.Connection, place: str) -> None:
    """COPY takes the numbers that it is given, even where they are generated always: the chain refuses them."""
    for table in ("trading_auditevent", "trading_brokerevent", "trading_proposal", "trading_ledgeraccount"):
        low, high = login.execute(f"SELECT min(id), max(id) FROM {table}").fetchone() or (0, 0)
        number = {"ahead": high + 1, "taken": high, "below": 0, "negative": -5}[place]
        with login.cursor().copy(f"COPY (SELECT * FROM {table} WHERE id = {low}) TO STDOUT") as out:
            row = b"".join(bytes(part) for part in out).split(b"\t", 1)[1]
        with (
            pytest.raises(psycopg.Error, match="get their numbers from the database|duplicate key"),
            login.transaction(),
            login.cursor().copy(f"COPY {table} FROM STDIN") as into,
        ):
            into.write(str(number).encode() + b"\t" + row)


def test_a_number_that_a_taken_back_row_left_free_is_no_way_into_the_past(login: psycopg.Connection) -> None:
    """An insert that was rolled back leaves a gap; a row may stand in it only as the next one."""
    insert = sql.SQL(
        "INSERT INTO trading_mark (id, at, recorded_at, account_id, instrument_id, price, source, purpose)"
        " OVERRIDING {} VALUE SELECT {}, now(), now(), a.id, i.id, 1, 'x', 'x' FROM trading_account a,"
        " trading_instrument i LIMIT 1"
    )
    usual, own = sql.SQL("USER"), sql.SQL("SYSTEM")
    for _ in range(3):
        with login.transaction(force_rollback=True):
            login.execute(insert.format(usual, 0))
    with login.transaction(force_rollback=True):
        login.execute(insert.format(usual, 0))
        (last,) = login.execute("SELECT max(id) FROM trading_mark").fetchone() or (0,)
        for number in (last - 1, last + 1, last + 1000):
            with pytest.raises(psycopg.Error, match="get their numbers from the database"), login.transaction():
                login.execute(insert.format(own, number))


def test_any_settings_of_a_session_leave_a_chain_that_everybody_can_verify(login: psycopg.Connection) -> None:
    settings = {
        "timezone": "Asia/Kolkata", "datestyle": "German, DMY", "bytea_output": "escape", "extra_float_digits": "-15",
        "intervalstyle": "sql_standard", "search_path": "pg_catalog", "xmlbinary": "hex", "lc_numeric": "C",
        "array_nulls": "off", "quote_all_identifiers": "on", "backslash_quote": "on",
    }  # fmt: skip
    values = "now(), now(), 'INFO', 'x', 'x', 'task', '', '', '', '', E'a\\\\\"b,(c)', '{}', '{\"f\": 1.10}', ''"
    columns = (
        "(at, recorded_at, level, kind, actor_name, via, request_id, address, object_type, object_id, object_repr,"
        " before, after, reason)"
    )
    into = f"INTO public.trading_auditevent {columns}"
    with login.transaction(force_rollback=True):
        for name, value in settings.items():
            login.execute(f"SET LOCAL {name} = '{value}'")
        login.execute(f"INSERT {into} VALUES ({values}), ({values})")
        login.execute(f"WITH one AS (INSERT {into} VALUES ({values}) RETURNING id) INSERT {into} VALUES ({values})")
        login.execute(
            f"MERGE INTO public.trading_auditevent x USING (SELECT 1) y ON false WHEN NOT MATCHED THEN"
            f" INSERT {columns} VALUES ({values})"
        )
        with login.cursor().copy(f"COPY public.trading_auditevent {columns} FROM STDIN") as copy:
            copy.write("now\tnow\tINFO\tx\tx\ttask\t\t\t\t\tü\t{}\t{}\t\n" * 3)
        for name in settings:
            login.execute(f"RESET {name}")
        found = report(login.cursor())
        assert found["ok"], found["findings"]
        (last,) = login.execute("SELECT count(*) FROM trading_auditevent WHERE kind = 'x'").fetchone() or (0,)
        assert last == 8


def test_a_snapshot_of_before_cannot_fork_the_chain(rich: CommittedDatabase) -> None:
    mark = (
        "INSERT INTO trading_mark (at, recorded_at, account_id, instrument_id, price, source, purpose) SELECT now(),"
        " now(), a.id, i.id, 1, 'x', 'x' FROM trading_account a, trading_instrument i LIMIT 1"
    )
    for level in ("REPEATABLE READ", "SERIALIZABLE"):
        with psycopg.connect(rich.urls.application) as old, psycopg.connect(rich.urls.application) as new:
            old.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            old.execute("SELECT count(*) FROM trading_mark")
            new.execute(mark)
            new.commit()
            with pytest.raises(psycopg.errors.SerializationFailure):
                old.execute(mark)
    with psycopg.connect(rich.urls.application) as connected:
        found = report(connected.cursor())
        assert found["ok"], found["findings"]
