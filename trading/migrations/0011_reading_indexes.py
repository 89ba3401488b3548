"""Lots of an instrument and trades of a day are read at every fill: each has an index of its own."""

import django.db.models.deletion
from django.db import migrations, models


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
        migrations.AddIndex(
            model_name="lot",
            index=models.Index(fields=["account", "instrument"], name="lots_of_an_instrument"),
        ),
        migrations.AddIndex(
            model_name="trade",
            index=models.Index(fields=["account", "trading_day"], name="trades_of_a_day"),
        ),
    ]
