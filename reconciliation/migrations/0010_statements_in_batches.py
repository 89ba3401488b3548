"""A file is imported once for the same time, and lines may be stored before the statement that makes them count.

Both columns are NULL for older rows, and stand at the end, so that no sealed row gets another text. A foreign key that
Django alters is made anew as a deferrable one, which the key of a sealed table may not be: its column is changed here.
"""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0009_case_work")]

    operations = [
        migrations.RemoveConstraint(model_name="statement", name="a_file_is_imported_once"),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.UniqueConstraint(
                fields=("account", "sha256", "covers_from", "covers_until"), name="a_file_is_imported_once_for_its_time"
            ),
        ),
        migrations.AddField(
            model_name="statement",
            name="batch",
            field=models.UUIDField(null=True, unique=True, help_text="Names its lines; none of older ones"),
        ),
        migrations.AddField(
            model_name="statementline",
            name="batch",
            field=models.UUIDField(null=True, help_text="Counts once a statement names it"),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE reconciliation_statementline ALTER COLUMN statement_id DROP NOT NULL",
                    migrations.RunSQL.noop,
                )
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="statementline",
                    name="statement",
                    field=models.ForeignKey(
                        help_text="Of older lines: theirs",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="reconciliation.statement",
                    ),
                )
            ],
        ),
        migrations.AlterModelOptions(name="statementline", options={"ordering": ["statement_id", "batch", "number"]}),
        migrations.AddConstraint(
            model_name="statementline",
            constraint=models.UniqueConstraint(fields=("batch", "number"), name="lines_of_a_batch_are_numbered"),
        ),
        migrations.AddConstraint(
            model_name="statementline",
            constraint=models.CheckConstraint(
                condition=models.Q(("batch", None), ("statement", None), _connector="XOR"),
                name="a_line_has_a_batch_or_a_statement",
            ),
        ),
    ]
