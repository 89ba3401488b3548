"""Runs, snapshots and the steps of a discrepancy are facts."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0002_initial"), ("trading", "0002_guards")]

    operations = [
        migrations.RunSQL(f"SELECT protect_append_only('reconciliation_{table}')", migrations.RunSQL.noop)
        for table in ("snapshot", "run", "discrepancyevent")
    ]
