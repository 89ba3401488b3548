"""The ids that an order had at its broker before; an instrument's tick and freeze quantity."""

from decimal import Decimal
from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import trading.models.fields

# What the built-in instruments are known to have; the brokers' own lists say it again.
SHARES_IN_INDIA = {"INFY": 100_000, "RELIANCE": 100_000, "YESBANK": 20_000}
KNOWN = "\n".join(
    [
        "DO $$ BEGIN",
        "UPDATE trading_instrument SET tick_size = power(10::numeric, -price_decimals::numeric);",
        *(
            f"UPDATE trading_instrument SET tick_size = 0.05, freeze_quantity = {freeze} WHERE symbol = '{symbol}';"
            for symbol, freeze in SHARES_IN_INDIA.items()
        ),
        "END $$",
    ]
)


def add_keys_now(apps: Any, schema_editor: Any) -> None:
    """Make the new table's keys before it is protected, which makes them immediate: Django adds them at the end."""
    while schema_editor.deferred_sql:
        schema_editor.execute(schema_editor.deferred_sql.pop(0), None)


class Migration(migrations.Migration):
    dependencies = [("trading", "0009_order_event_keys")]

    operations = [
        migrations.AddField(
            model_name="instrument",
            name="tick_size",
            field=trading.models.fields.Numeric(decimal_places=12, default=Decimal("0.01"), max_digits=38),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="instrument",
            name="freeze_quantity",
            field=trading.models.fields.Numeric(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.RunSQL(KNOWN, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(condition=models.Q(("tick_size__gt", 0)), name="tick_is_above_zero"),
        ),
        migrations.AddConstraint(
            model_name="instrument",
            constraint=models.CheckConstraint(
                condition=models.Q(("freeze_quantity__gt", 0)), name="freeze_is_above_zero"
            ),
        ),
        migrations.CreateModel(
            name="OrderAlias",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("recorded_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("broker_order_id", models.CharField(max_length=64)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="trading.account"
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="aliases", to="trading.order"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "order aliases",
                "constraints": [
                    models.UniqueConstraint(fields=("account", "broker_order_id"), name="one_order_per_alias"),
                    models.CheckConstraint(
                        condition=models.Q(("broker_order_id", ""), _negated=True), name="alias_names_an_order"
                    ),
                ],
            },
        ),
        migrations.RunPython(add_keys_now, migrations.RunPython.noop),
        migrations.RunSQL(
            "SELECT protect_append_only('trading_orderalias'); SELECT chain_table('trading_orderalias')",
            migrations.RunSQL.noop,
        ),
    ]
