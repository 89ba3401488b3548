"""Cash instruments: value dates, receivables and payables, their settlement; lots that continue earlier ones."""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):

    dependencies = [
        ('trading', '0002_guards'),
    ]

    operations = [
        migrations.AddField(
            model_name='fill',
            name='settles_on',
            field=models.DateField(help_text='Value date of the payment; empty for margin instruments and for units taken without payment', null=True),
        ),
        migrations.AlterField(
            model_name='account',
            name='broker',
            field=models.CharField(choices=[('PAPER', 'Paper'), ('OANDA', 'Oanda'), ('ALPACA', 'Alpaca')], max_length=12),
        ),
        migrations.AlterField(
            model_name='entry',
            name='kind',
            field=models.CharField(choices=[('FILL', 'Fill'), ('SETTLEMENT', 'payment of a fill on its value date'), ('TRANSFER', 'deposit or withdrawal'), ('FINANCING', 'Financing'), ('DIVIDEND', 'Dividend'), ('FEE', 'Fee'), ('EXTERNAL_FILL', "approved fill of somebody else's order"), ('ADOPTION', "approved position of the broker's"), ('ESTIMATE', 'approved close at an estimate'), ('SPLIT', 'approved split of an instrument'), ('ADJUSTMENT', 'Adjustment'), ('REVERSAL', 'Reversal')], max_length=16),
        ),
        migrations.AlterField(
            model_name='ledgeraccount',
            name='kind',
            field=models.CharField(choices=[('CASH', 'Cash'), ('UNSETTLED', 'receivable or payable until the value date'), ('CAPITAL', 'capital (deposits and withdrawals)'), ('POSITION', 'contracts held'), ('MARKET', "contracts' other side, and what held shares cost"), ('REALISED', 'realised profit and loss'), ('COMMISSION', 'Commission'), ('FINANCING', 'Financing'), ('DIVIDEND', 'Dividend'), ('FEE', 'Fee'), ('SUSPENSE', 'approved adjustments')], max_length=12),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'SETTLEMENT')), fields=('fill',), name='a_fill_settles_once'),
        ),
        migrations.AddField(
            model_name='lot',
            name='origin',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='trading.fill'),
        ),
        migrations.RemoveConstraint(
            model_name='entry',
            name='a_correcting_entry_needs_an_application',
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['EXTERNAL_FILL', 'ADOPTION', 'ESTIMATE', 'SPLIT', 'ADJUSTMENT', 'REVERSAL']), _negated=True), ('application__isnull', False), _connector='OR'), name='a_correcting_entry_needs_an_application'),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(condition=models.Q(('kind', 'SPLIT')), fields=['account'], name='splits_of_an_account'),
        ),
        migrations.RunSQL((SQL / "ledger_cash_instruments.sql").read_text(), migrations.RunSQL.noop),
    ]
