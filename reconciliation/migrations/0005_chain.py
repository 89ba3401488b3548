"""Runs, snapshots, sign-offs and the steps of a discrepancy are facts that the hash chain seals."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0004_books"), ("trading", "0006_chain")]

    operations = [
        migrations.RunSQL("SELECT protect_append_only('reconciliation_signoff')", migrations.RunSQL.noop),
        *[
            migrations.RunSQL(f"SELECT chain_table('reconciliation_{table}')", migrations.RunSQL.noop)
            for table in ("snapshot", "run", "discrepancyevent", "signoff")
        ],
    ]
