"""What a run asked for and read: rules, requests, cursors, and the run that it takes up again. NULL for older runs."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models

# Of the keys of a table that the chain seals, none may wait for the end of the transaction.
IMMEDIATE = """
DO $$
DECLARE
    key record;
BEGIN
    FOR key IN SELECT conname FROM pg_constraint
               WHERE conrelid = 'reconciliation_run'::regclass AND contype = 'f' AND condeferrable LOOP
        EXECUTE format('ALTER TABLE reconciliation_run ALTER CONSTRAINT %I NOT DEFERRABLE', key.conname);
    END LOOP;
END $$
"""


def make_keys_immediate(apps: Any, schema_editor: Any) -> None:
    """Django makes foreign keys when a migration ends; here they are made first."""
    for statement in schema_editor.deferred_sql:
        schema_editor.execute(statement)
    schema_editor.deferred_sql.clear()
    schema_editor.execute(IMMEDIATE, params=None)


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0007_matching")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="rules_version",
            field=models.CharField(max_length=64, null=True, help_text="The ladder of matching rules in force"),
        ),
        migrations.AddField(
            model_name="run",
            name="requests",
            field=models.PositiveIntegerField(null=True, help_text="Asked of the broker over the wire"),
        ),
        migrations.AddField(
            model_name="run",
            name="cursor_from",
            field=models.CharField(max_length=120, null=True, help_text="How far the history was read before"),
        ),
        migrations.AddField(
            model_name="run",
            name="cursor_to",
            field=models.CharField(max_length=120, null=True, help_text="How far it was read afterwards"),
        ),
        migrations.AddField(
            model_name="run",
            name="resumes",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="resumed_by",
                to="reconciliation.run",
            ),
        ),
        migrations.RunPython(make_keys_immediate, migrations.RunPython.noop),
    ]
