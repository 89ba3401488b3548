"""The ledger's door and its checks anew: each check reaches the new entries first, whatever a plan was made for.

Functions are always replaced whole, by running their file again: what stands is what the file says.
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
