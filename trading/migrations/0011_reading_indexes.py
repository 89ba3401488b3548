"""Lots of an instrument and trades of a day are read at every fill: each has an index of its own."""

import django.db.models.deletion
from django.db import migrations, models


# The keys of an append-only table are checked at once; Django makes those anew, to be checked at the commit.
IMMEDIATE = """
DO $$
DECLARE
    key record;
BEGIN
    FOR key IN SELECT conname FROM pg_constraint
               WHERE conrelid = 'trading_lot'::regclass AND contype = 'f' AND condeferrable LOOP
        EXECUTE format('ALTER TABLE trading_lot ALTER CONSTRAINT %I NOT DEFERRABLE', key.conname);
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("trading", "0010_order_terms")]

    operations = [
        migrations.AlterField(
            model_name="lot",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="lots",
                to="trading.account",
            ),
        ),
        migrations.AlterField(
            model_name="lot",
            name="instrument",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="trading.instrument"
            ),
        ),
        migrations.RunSQL(IMMEDIATE, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="lot",
            index=models.Index(fields=["account", "instrument"], name="lots_of_an_instrument"),
        ),
        migrations.AddIndex(
            model_name="trade",
            index=models.Index(fields=["account", "trading_day"], name="trades_of_a_day"),
        ),
    ]
