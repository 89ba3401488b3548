"""The ledger's door and its checks: many entries at once, and each check reaches the new ones first.

Functions are always replaced whole, by running their file: what stands is what the file says. When a file changes, its
name moves from here to a new migration: it runs once on a new database, and again on an older one.
"""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("trading", "0006_chain")]

    operations = [
        migrations.RunSQL((SQL / f"{name}.sql").read_text(), migrations.RunSQL.noop)
        for name in ("ledger_checks", "ledger_posting")
    ]
