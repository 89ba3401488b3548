"""An index of the few events that tell of corporate actions, so that a run asks for them at any size of the history."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0011_reading_indexes"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="brokerevent",
            index=models.Index(
                fields=["account", "at"],
                condition=models.Q(("kind", "CORPORATE_ACTION")),
                name="corporate_actions",
            ),
        ),
    ]
