"""The hash chain over every append-only table.

A migration of its own: Django adds the foreign keys of new tables when the migration that makes them has ended.
"""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"
# Every append-only table of this app that existed before, in the order in which its rows are sealed.
CHAINED = [
    "configversion",
    "bar",
    "mark",
    "rate",
    "signal",
    "decision",
    "orderevent",
    "brokermessage",
    "brokerevent",
    "fill",
    "cashevent",
    "ledgeraccount",
    "entry",
    "transfer",
    "lot",
    "lotclose",
    "proposal",
    "approval",
    "application",
    "riskevent",
    "auditevent",
    "anchor",
    "closedday",
]


class Migration(migrations.Migration):
    dependencies = [("trading", "0005_books")]

    operations = [
        # A transfer is found by either side; narrow enough that equal values share their place in the index.
        migrations.RunSQL(
            "DROP INDEX transfer_debits; DROP INDEX transfer_credits;"
            "CREATE INDEX transfer_debits ON trading_transfer (debit_id);"
            "CREATE INDEX transfer_credits ON trading_transfer (credit_id)",
            migrations.RunSQL.noop,
        ),
        *[
            migrations.RunSQL(
                f"DROP TRIGGER a_append_only ON trading_{table}; SELECT protect_append_only('trading_{table}')",
                migrations.RunSQL.noop,
            )
            for table in ("commodity", "ledgeraccount")
        ],
        *[
            migrations.RunSQL(f"SELECT protect_append_only('trading_{table}')", migrations.RunSQL.noop)
            for table in ("anchor", "closedday")
        ],
        migrations.RunSQL((SQL / "chain.sql").read_text(), migrations.RunSQL.noop),
        migrations.RunSQL((SQL / "account_basis.sql").read_text(), migrations.RunSQL.noop),
        *[
            migrations.RunSQL(f"SELECT chain_table('trading_{table}')", migrations.RunSQL.noop) for table in CHAINED
        ],
    ]
