"""Orders keep to their states in the database too; Kite as a broker of accounts."""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("trading", "0007_posting_plans")]

    operations = [
        migrations.AlterField(
            model_name="account",
            name="broker",
            field=models.CharField(
                choices=[("PAPER", "Paper"), ("OANDA", "Oanda"), ("ALPACA", "Alpaca"), ("KITE", "Kite")], max_length=12
            ),
        ),
        migrations.AddField(
            model_name="orderevent",
            name="application",
            field=models.ForeignKey(
                help_text="Two people's decision, where the broker itself could not say what became of the order",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="trading.application",
            ),
        ),
        migrations.RunSQL((SQL / "order_states.sql").read_text(), migrations.RunSQL.noop),
    ]
