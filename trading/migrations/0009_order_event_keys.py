"""The new foreign key of order events is checked at once, as all keys of append-only tables are."""

from django.db import migrations

IMMEDIATE = """
DO $$
DECLARE
    key record;
BEGIN
    FOR key IN SELECT conname FROM pg_constraint
               WHERE conrelid = 'trading_orderevent'::regclass AND contype = 'f' AND condeferrable LOOP
        EXECUTE format('ALTER TABLE trading_orderevent ALTER CONSTRAINT %I NOT DEFERRABLE', key.conname);
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("trading", "0008_order_states")]

    operations = [migrations.RunSQL(IMMEDIATE, migrations.RunSQL.noop)]
