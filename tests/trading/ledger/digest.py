"""What a database holds, as one value: two equal digests mean that not one row or column is another."""

from __future__ import annotations

from typing import Any

TABLES = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"


def digest(cursor: Any, tables: list[str] | None = None) -> dict[str, tuple[int, str]]:
    """Rows and their hash, table by table. `cursor` is psycopg's or Django's, of whoever may read."""
    if tables is None:
        cursor.execute(TABLES)
        tables = [name for (name,) in cursor.fetchall()]
    hashed = "coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '')"
    parts = [f"SELECT '{name}', count(*), {hashed} FROM {name} t" for name in tables]
    cursor.execute(" UNION ALL ".join(parts))
    return {name: (rows, value) for name, rows, value in cursor.fetchall()}
