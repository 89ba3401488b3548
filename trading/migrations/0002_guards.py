"""Append-only tables, the ledger's door and four eyes, as plain SQL in `sql/`."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"
APPEND_ONLY = [
    "configversion",
    "bar",
    "mark",
    "rate",
    "signal",
    "decision",
    "orderevent",
    "brokermessage",
    "brokerevent",
    "fill",
    "cashevent",
    "entry",
    "transfer",
    "lot",
    "lotclose",
    "proposal",
    "approval",
    "application",
    "riskevent",
    "auditevent",
]


def read(name: str) -> str:
    return (SQL / name).read_text()


class Migration(migrations.Migration):
    dependencies = [("trading", "0001_initial")]

    operations = [
        migrations.RunSQL(read("append_only.sql"), migrations.RunSQL.noop),
        migrations.RunSQL(read("ledger.sql"), migrations.RunSQL.noop),
        migrations.RunSQL(read("four_eyes.sql"), migrations.RunSQL.noop),
        *[
            migrations.RunSQL(f"SELECT protect_append_only('trading_{table}')", migrations.RunSQL.noop)
            for table in APPEND_ONLY
        ],
    ]
