"""Statements and their lines: facts that the hash chain seals; and which statement a run compared."""

from typing import Any

import django.db.models.deletion
import django.utils.timezone
import trading.models.fields
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


def seal(apps: Any, schema_editor: Any) -> None:
    """Django makes foreign keys when a migration ends; here they are made first, and then the tables are sealed."""
    for statement in schema_editor.deferred_sql:
        schema_editor.execute(statement)
    schema_editor.deferred_sql.clear()
    for table in ("reconciliation_statement", "reconciliation_statementline"):
        schema_editor.execute(f"SELECT protect_append_only('{table}')")
        schema_editor.execute(f"SELECT chain_table('{table}')")
    schema_editor.execute(IMMEDIATE, params=None)


class Migration(migrations.Migration):

    dependencies = [
        ('reconciliation', '0005_chain'),
        ('trading', '0011_reading_indexes'),
    ]

    operations = [
        migrations.AlterField(
            model_name='run',
            name='trigger',
            field=models.CharField(choices=[('STARTUP', 'Startup'), ('POST_TRADE', 'Post Trade'), ('PERIODIC', 'Periodic'), ('MANUAL', 'Manual'), ('STATEMENT', 'Statement')], max_length=12),
        ),
        migrations.CreateModel(
            name='Statement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('kind', models.CharField(choices=[('TRADES', 'Trades'), ('POSITIONS', 'Positions'), ('CASH', 'Cash'), ('NAV', 'Nav')], max_length=10)),
                ('format', models.CharField(max_length=20)),
                ('first_day', models.DateField()),
                ('last_day', models.DateField()),
                ('covers_from', models.DateTimeField()),
                ('covers_until', models.DateTimeField()),
                ('currency', models.CharField(max_length=3)),
                ('opening', trading.models.fields.Numeric(decimal_places=12, help_text='Balance before the first line', max_digits=38, null=True)),
                ('closing', trading.models.fields.Numeric(decimal_places=12, help_text='Balance after the last line', max_digits=38, null=True)),
                ('line_count', models.PositiveIntegerField()),
                ('file_name', models.CharField(max_length=200)),
                ('body', models.TextField(help_text="The file's text")),
                ('sha256', models.CharField(help_text="Of the file's bytes", max_length=64)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='statements', to='trading.account')),
                ('replaces', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replaced_by', to='reconciliation.statement')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='run',
            name='statement',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='reconciliation.statement'),
        ),
        migrations.CreateModel(
            name='StatementLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('number', models.PositiveIntegerField()),
                ('external_id', models.CharField(blank=True, default='', max_length=80)),
                ('order_id', models.CharField(blank=True, default='', max_length=80)),
                ('instrument', models.CharField(blank=True, default='', max_length=40)),
                ('side', models.CharField(blank=True, default='', max_length=4)),
                ('product', models.CharField(blank=True, default='', max_length=20)),
                ('quantity', trading.models.fields.Numeric(decimal_places=12, max_digits=38, null=True)),
                ('price', trading.models.fields.Numeric(decimal_places=12, max_digits=38, null=True)),
                ('amount', trading.models.fields.Numeric(decimal_places=12, max_digits=38, null=True)),
                ('currency', models.CharField(max_length=3)),
                ('day', models.DateField()),
                ('raw', models.JSONField()),
                ('statement', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='reconciliation.statement')),
            ],
            options={
                'ordering': ['statement', 'number'],
            },
        ),
        migrations.AddIndex(
            model_name='statement',
            index=models.Index(fields=['account', 'kind', 'first_day'], name='statements_of_days'),
        ),
        migrations.AddConstraint(
            model_name='statement',
            constraint=models.UniqueConstraint(fields=('account', 'sha256'), name='a_file_is_imported_once'),
        ),
        migrations.AddConstraint(
            model_name='statement',
            constraint=models.CheckConstraint(condition=models.Q(('last_day__gte', models.F('first_day'))), name='statement_days_in_order'),
        ),
        migrations.AddConstraint(
            model_name='statementline',
            constraint=models.UniqueConstraint(fields=('statement', 'number'), name='statement_lines_are_numbered'),
        ),
        migrations.RunPython(seal, migrations.RunPython.noop),
    ]
