"""Tables for matching in the database; they hold nothing between two matchings."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).resolve().parents[1] / "sql" / "matching.sql"


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0006_statements")]

    operations = [
        migrations.RunSQL(
            SQL.read_text(encoding="utf-8"),
            "DROP FUNCTION matching_near; "
            "DROP TABLE matching_broker, matching_books, matching_broker_left, matching_books_left",
        )
    ]
