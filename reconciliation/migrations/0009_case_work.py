"""Labels of a case, and indexes for the cases that people have labelled or related: few among many."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("reconciliation", "0008_run_facts"),
        ("trading", "0011_reading_indexes"),
    ]

    operations = [
        migrations.AddField(
            model_name="discrepancy",
            name="labels",
            field=models.JSONField(blank=True, default=list, help_text="Words that people put on it, sorted"),
        ),
        migrations.AddIndex(
            model_name="discrepancy",
            index=models.Index(
                condition=models.Q(("labels", []), _negated=True), fields=["account"], name="labelled_discrepancies"
            ),
        ),
        migrations.AddIndex(
            model_name="discrepancyevent",
            index=models.Index(
                condition=models.Q(("kind", "RELATED")), fields=["discrepancy"], name="related_cases"
            ),
        ),
    ]
