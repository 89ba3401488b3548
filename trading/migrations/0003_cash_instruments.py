"""Cash instruments: value dates of fills, receivables and payables, and the settlement that pays them."""

from pathlib import Path

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
            field=models.CharField(choices=[('FILL', 'Fill'), ('SETTLEMENT', 'payment of a fill on its value date'), ('TRANSFER', 'deposit or withdrawal'), ('FINANCING', 'Financing'), ('DIVIDEND', 'Dividend'), ('FEE', 'Fee'), ('EXTERNAL_FILL', "approved fill of somebody else's order"), ('ADOPTION', "approved position of the broker's"), ('ESTIMATE', 'approved close at an estimate'), ('ADJUSTMENT', 'Adjustment'), ('REVERSAL', 'Reversal')], max_length=16),
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
        migrations.RunSQL((SQL / "ledger_settlement.sql").read_text(), migrations.RunSQL.noop),
    ]
