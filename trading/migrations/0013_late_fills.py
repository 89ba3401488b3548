"""An index of the few events that say an order filled after its end, so that a run asks for them at any size."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0012_corporate_actions"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="orderevent",
            index=models.Index(
                fields=["order"],
                condition=models.Q(
                    ("from_state__in", ["CANCELLED", "REJECTED", "EXPIRED"]), ("to_state__in", ["PARTIAL", "FILLED"])
                ),
                name="late_fills",
            ),
        ),
    ]
