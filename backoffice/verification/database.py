"""The database's own guards, read from its catalogs: triggers, logins and rights, constraints, functions.

What always holds here: what must be there is derived from the models and from the migrations' SQL, not from a list
that somebody forgets to extend.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections

from trading.grants import DOORS, LEDGER_TABLES

from .registry import Invariant, Offence, either

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper
    from django.db.models import Model

OURS = ("trading", "reconciliation")
SQL = [Path(str(apps.get_app_config(app).path)) / "migrations" / "sql" for app in OURS]
# What PostgreSQL writes into pg_trigger.tgtype.
BITS = {"ROW": 1, "BEFORE": 2, "INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}
_TRIGGER = re.compile(
    r"CREATE TRIGGER (?P<name>\w+) BEFORE (?P<what>\w+(?: OR \w+)*) ON (?P<table>\w+)\s+"
    r"FOR EACH (?P<each>ROW|STATEMENT) EXECUTE FUNCTION (?P<function>\w+)\(\)"
)
_FUNCTION = re.compile(
    r"CREATE (?:OR REPLACE )?FUNCTION (?P<name>\w+)\((?:(?!\$\$).)*\$\$(?P<source>(?:(?!\$\$).)*)\$\$", re.DOTALL
)
_TABLES = (
    "SELECT NULL::bigint AS account_id FROM pg_class WHERE relkind = 'r' AND relname ~ '^(trading|reconciliation)_'"
)


def models() -> list[type[Model]]:
    """Every model of ours."""
    return [model for model in apps.get_models() if model._meta.app_label in OURS]


def append_only() -> set[str]:
    """The tables whose rows are written once."""
    return {model._meta.db_table for model in models() if getattr(model, "append_only", False)}


def chained() -> set[str]:
    """The tables whose every insert is sealed by a block of the chain."""
    return {
        model._meta.db_table
        for model in models()
        if getattr(model, "append_only", False) and getattr(model, "is_chained", True)
    }


def _offence(kind: str, name: str, problem: str) -> Offence:
    return Offence(None, kind, name, problem)


def _written() -> str:
    """Everything that the migrations' SQL says; a file that replaces a function sorts after the one it replaces."""
    return "\n".join(path.read_text(encoding="utf-8") for folder in SQL for path in sorted(folder.glob("*.sql")))


def _kind(what: str, each: str) -> int:
    return sum(BITS[word] for word in ("BEFORE", *what.split(" OR "), each) if word != "STATEMENT")


def _written_triggers() -> dict[tuple[str, str], tuple[str, int, str]]:
    """The triggers that the migrations' SQL makes by name: function, kind, and in which modes they are awake."""
    text = _written()
    found = {}
    for made in _TRIGGER.finditer(text):
        always = re.search(rf"ALTER TABLE {made['table']}\s[^;]*ENABLE ALWAYS TRIGGER {made['name']}\b", text)
        kind = _kind(made["what"], made["each"])
        found[made["table"], made["name"]] = (made["function"], kind, "A" if always else "OA")
    return found


def _triggers(cursor: CursorWrapper) -> Iterator[Offence]:
    """The triggers that refuse changes: present, of the right kind, and also awake in replica mode."""
    wanted = _written_triggers()
    for table in append_only() - {"trading_chainblock"}:  # blocks are written by those who hold the lock
        wanted[table, "a_append_lock"] = ("append_lock", _kind("INSERT", "STATEMENT"), "A")
    for table in append_only():
        wanted[table, "a_append_only"] = ("refuse_change", _kind("UPDATE OR DELETE OR TRUNCATE", "STATEMENT"), "A")
    for table in chained():
        wanted[table, "z_chain"] = ("chain_add", BITS["INSERT"], "A")
    cursor.execute("""
        SELECT c.relname, t.tgname, p.proname, t.tgtype, t.tgenabled::text, t.tgqual IS NULL
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_proc p ON p.oid = t.tgfoid WHERE n.nspname = 'public' AND NOT t.tgisinternal
    """)
    standing = {(table, name): rest for table, name, *rest in cursor.fetchall()}
    for (table, name), (function, kind, enabled) in sorted(wanted.items()):
        found = standing.get((table, name))
        if found is None:
            yield _offence("trigger", f"{table}.{name}", "is missing")
        elif [*found[:2], found[3]] != [function, kind, True]:
            yield _offence("trigger", f"{table}.{name}", "is another one than the migrations made")
        elif found[2] not in enabled:
            yield _offence("trigger", f"{table}.{name}", "is switched off, or sleeps in replica mode")
    cursor.execute("""
        SELECT DISTINCT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE t.tgisinternal AND t.tgenabled = 'D' AND c.relname ~ '^(trading|reconciliation)_' ORDER BY 1
    """)
    for (table,) in cursor.fetchall():
        yield _offence("table", table, "has its foreign keys switched off")


def _logins(cursor: CursorWrapper) -> Iterator[Offence]:
    """The application login: no owner, no way to become one, and no right to change a fact."""
    login = str(connections["default"].settings_dict["USER"])
    cursor.execute(
        """
        SELECT r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolbypassrls, r.rolreplication,
               has_schema_privilege(r.oid, 'public', 'CREATE')
        FROM pg_roles r WHERE r.rolname = %s
        """,
        [login],
    )
    found = cursor.fetchone()
    if found is None:
        yield _offence("login", login, "the application's login does not exist")
        return
    powers = ("is a superuser", "makes roles", "makes databases", "bypasses row security", "replicates", "makes tables")
    for power, has in zip(powers, found, strict=True):
        if has:
            yield _offence("login", login, f"the application's login {power}")
    cursor.execute(
        """
        SELECT DISTINCT w.rolname, w.oid = r.oid, pg_has_role(r.oid, w.oid, 'MEMBER'), pg_has_role(w.oid, r.oid,
            'MEMBER')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
        JOIN pg_roles w ON w.oid = c.relowner JOIN pg_roles r ON r.rolname = %s
        WHERE c.relname ~ '^(trading|reconciliation)_' AND c.relkind = 'r'
        """,
        [login],
    )
    for owner, is_owner, may_become, may_be in cursor.fetchall():
        if is_owner:
            yield _offence("login", login, "the application's login owns tables of the books")
        elif may_become or may_be:
            yield _offence("login", login, f"the application's login and the owner {owner} can become each other")
    yield from _rights(cursor, login)


def _rights(cursor: CursorWrapper, login: str) -> Iterator[Offence]:
    cursor.execute(
        """
        SELECT c.relname, p.privilege
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
        CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('TRIGGER')) AS p (privilege)
        WHERE c.relkind = 'r' AND c.relname = ANY(%s) AND (has_table_privilege(%s, c.oid, p.privilege)
            OR (p.privilege IN ('INSERT', 'UPDATE') AND has_any_column_privilege(%s, c.oid, p.privilege)))
        ORDER BY 1, 2
        """,
        [sorted(append_only() | {"trading_chainhead"}), login, login],
    )
    for table, privilege in cursor.fetchall():
        through_function = table in LEDGER_TABLES or table in ("trading_chainhead", "trading_chainblock")
        if privilege != "INSERT" or through_function:
            yield _offence("table", table, f"the application's login {login} has {privilege} on it")
    cursor.execute(
        """
        SELECT c.relname, coalesce(g.rolname, 'everybody'), string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
        CROSS JOIN LATERAL aclexplode(c.relacl) a LEFT JOIN pg_roles g ON g.oid = a.grantee
        WHERE c.relkind = 'r' AND c.relname ~ '^(trading|reconciliation)_' AND a.privilege_type <> 'SELECT'
          AND a.grantee <> c.relowner AND g.rolname IS DISTINCT FROM %s
        GROUP BY 1, 2 ORDER BY 1, 2
        """,
        [login],
    )
    for table, grantee, privileges in cursor.fetchall():
        yield _offence("table", table, f"{grantee} has {privileges} on it")


def _schema(cursor: CursorWrapper) -> Iterator[Offence]:
    """Constraints, foreign keys, column types and functions as the models and migrations have them."""
    cursor.execute("""
        SELECT k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
        WHERE c.relname ~ '^(trading|reconciliation)_' AND k.convalidated
        UNION SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisvalid
            AND i.indisready
    """)
    standing = {name for (name,) in cursor.fetchall()}
    for model in models():
        for constraint in model._meta.constraints:
            if constraint.name not in standing:
                yield _offence("table", model._meta.db_table, f"its rule {constraint.name} is missing or not checked")
    yield from _columns(cursor)
    yield from _keys(cursor)
    yield from _functions(cursor)


def _columns(cursor: CursorWrapper) -> Iterator[Offence]:
    cursor.execute("""
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
               EXISTS (SELECT 1 FROM pg_constraint k
                       WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated AND a.attnum = ANY(k.conkey)
                         AND position('<> ''NaN''' IN pg_get_constraintdef(k.oid)) > 0)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relkind = 'r' AND c.relname ~ '^(trading|reconciliation)_'
          AND a.atttypid IN ('numeric'::regtype, 'real'::regtype, 'double precision'::regtype) ORDER BY 1, 2
    """)
    for table, column, kind, refuses_nan in cursor.fetchall():
        if kind != "numeric(38,12)":
            yield _offence("column", f"{table}.{column}", f"is {kind}; money is numeric(38,12)")
        elif not refuses_nan:
            yield _offence("column", f"{table}.{column}", "no rule refuses NaN, which is above every limit")


def _keys(cursor: CursorWrapper) -> Iterator[Offence]:
    cursor.execute(
        """
        SELECT c.relname, k.conname, k.condeferrable FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
        WHERE k.contype = 'f' AND ((k.condeferrable AND c.relname = ANY(%s)) OR NOT k.convalidated)
          AND c.relname ~ '^(trading|reconciliation)_' ORDER BY 1, 2
        """,
        [sorted(append_only())],
    )
    for table, name, deferrable in cursor.fetchall():
        problem = "is checked at commit, after the append lock" if deferrable else "is not checked"
        yield _offence("table", table, f"its foreign key {name} {problem}")
    cursor.execute("""
        SELECT c.relname, array_agg(a.attname::text) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(k.conkey)
        WHERE k.contype = 'f' AND c.relname ~ '^(trading|reconciliation)_' GROUP BY 1
    """)
    standing = {table: set(columns) for table, columns in cursor.fetchall()}
    for model in models():
        for field in model._meta.local_fields:
            column: Any = field.column
            if field.is_relation and column not in standing.get(model._meta.db_table, set()):
                yield _offence("column", f"{model._meta.db_table}.{column}", "has no foreign key")


def _functions(cursor: CursorWrapper) -> Iterator[Offence]:
    written = {made["name"]: made["source"] for made in _FUNCTION.finditer(_written())}
    cursor.execute(
        """
        SELECT p.proname, p.prosrc, p.prosecdef, coalesce(array_to_string(p.proconfig, ';'), ''),
               p.proowner = (SELECT relowner FROM pg_class WHERE oid = 'trading_entry'::regclass),
               has_function_privilege('public', p.oid, 'EXECUTE')
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = 'public' AND p.proname = ANY(%s)
        """,
        [sorted(written)],
    )
    standing = {row[0]: row[1:] for row in cursor.fetchall()}
    for name in sorted(written):
        if name not in standing:
            yield _offence("function", name, "is missing")
            continue
        source, definer, settings, owned, public = standing[name]
        if source != written[name] or not owned:
            yield _offence("function", name, "is another one than the migrations made")
        elif definer and "search_path=public, pg_temp" not in settings:
            yield _offence("function", name, "runs with the owner's rights and looks where its caller says")
        elif public and (name.startswith("chain_") or (name in DOORS)):
            yield _offence("function", name, "may be called by everybody")


INVARIANTS = (
    Invariant(
        id="I-11",
        title="Append-only and four eyes are guarded by the database",
        rule="Every append-only table refuses UPDATE, DELETE and TRUNCATE and takes the append lock, proposals, "
        "approvals "
        "and applications are guarded, and persons are fixed, all also in replica mode.",
        means="facts can be changed, or one person can approve alone, without any trace",
        todo="stop everything that writes; run `migrate` as the owner, then compare the tables with the last backup",
        looks_at=_TABLES,
        find=_triggers,
    ),
    Invariant(
        id="I-56",
        title="The application's login can change no fact",
        rule="It owns nothing, is no member of the owner, has no UPDATE, DELETE, TRUNCATE or TRIGGER on append-only "
        "tables "
        "and no INSERT on the ledger or the chain; nobody else has any right to write.",
        means="whoever takes over the application can rewrite the books",
        todo="revoke the right named here; run `migrate` as the owner, which sets the rights again",
        looks_at=_TABLES,
        find=_logins,
    ),
    Invariant(
        id="I-57",
        title="Rules, keys, types and functions are as migrated",
        rule="Every constraint of the models is in force, foreign keys of append-only tables are immediate, money is "
        "numeric(38,12) without NaN, and the database's functions are those of the migrations.",
        means="a rule that everything else relies on is not enforced any more",
        todo="find out who changed the schema; restore it by a migration and run `verify` again",
        looks_at=_TABLES,
        find=_schema,
    ),
    Invariant(
        id="I-26",
        title="A broker's name means one instrument at a time",
        rule="No symbol of a broker stands for two instruments at one moment, no instrument has two names at one "
        "broker, "
        "and no name ends before it begins.",
        means="a fill could be booked on, or an order sent for, the wrong instrument",
        todo="pause trading of the instruments named here; end the wrong alias and run `reconcile`",
        looks_at="SELECT NULL::bigint AS account_id FROM trading_instrumentalias",
        find=either(
            """
            SELECT NULL::bigint AS account_id, 'alias' AS object, concat(a.id, ',', b.id) AS id,
                   concat(a.broker, ' ', a.symbol, ' and ', b.symbol, ' overlap from ', greatest(a.valid_from,
                       b.valid_from))
                       AS problem
            FROM trading_instrumentalias a
            JOIN trading_instrumentalias b ON b.broker = a.broker AND b.id > a.id
                AND (b.symbol = a.symbol OR b.instrument_id = a.instrument_id)
            WHERE a.valid_from < coalesce(b.valid_until, 'infinity') AND b.valid_from < coalesce(a.valid_until,
                'infinity')
            """,
            """
            SELECT NULL::bigint, 'alias', id::text, concat(symbol, ' ends at ', valid_until, ' before it begins')
            FROM trading_instrumentalias WHERE valid_until <= valid_from
            """,
        ),
    ),
)
