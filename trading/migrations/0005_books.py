"""The books: blocks and anchors of the chain, closed days, snapshots of balances, further kinds of entry."""

import django.db.models.deletion
import django.utils.timezone
import trading.models.fields
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('trading', '0004_notifications'),
    ]

    operations = [
        migrations.CreateModel(
            name='Anchor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('number', models.BigIntegerField()),
                ('hash', models.BinaryField()),
                ('sink', models.CharField(max_length=200)),
                ('seal', models.CharField(help_text='HMAC-SHA-256 of the anchor; its key is not in the database', max_length=64)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='BalanceSnapshot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('last_transfer', models.BigIntegerField(help_text='Number of the last transfer that is in it')),
                ('balance', trading.models.fields.Numeric(decimal_places=12, help_text='debits − credits', max_digits=38)),
                ('made_at', models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name='ChainBlock',
            fields=[
                ('number', models.BigIntegerField(primary_key=True, serialize=False)),
                ('table_name', models.CharField(max_length=63)),
                ('first_id', models.BigIntegerField()),
                ('last_id', models.BigIntegerField()),
                ('row_count', models.IntegerField()),
                ('root', models.BinaryField(help_text="Hash of the rows' hashes, in the order of their numbers")),
                ('marks', models.BinaryField(help_text="The first four bytes of each row's hash: they name the row that was changed")),
                ('previous', models.BinaryField(unique=True)),
                ('hash', models.BinaryField()),
                ('sealed_at', models.DateTimeField()),
                ('transaction', models.BigIntegerField(help_text='Number of the database transaction')),
                ('login', models.CharField(max_length=63)),
            ],
            options={
                'ordering': ['number'],
            },
        ),
        migrations.CreateModel(
            name='ClosedDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('trading_day', models.DateField()),
            ],
            options={
                'ordering': ['-trading_day'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='entry',
            name='a_correcting_entry_needs_an_application',
        ),
        migrations.AddField(
            model_name='account',
            name='lot_method',
            field=models.CharField(choices=[('FIFO', 'first in, first out'), ('AVERAGE', 'average cost')], default='FIFO', max_length=8),
        ),
        migrations.AddField(
            model_name='auditevent',
            name='address',
            field=models.CharField(blank=True, default='', help_text='Where the request came from', max_length=45),
        ),
        migrations.AddField(
            model_name='cashevent',
            name='counter_amount',
            field=trading.models.fields.Numeric(decimal_places=12, max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name='cashevent',
            name='counter_currency',
            field=models.CharField(blank=True, default='', max_length=3),
        ),
        migrations.AddField(
            model_name='chainhead',
            name='hash',
            field=models.BinaryField(default=bytes),
        ),
        migrations.AddField(
            model_name='entry',
            name='replaces',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replacements', to='trading.entry'),
        ),
        migrations.AddField(
            model_name='trade',
            name='mae_r',
            field=trading.models.fields.Numeric(decimal_places=12, help_text='Most adverse excursion while it was open, in R (zero or below)', max_digits=38, null=True),
        ),
        migrations.AddField(
            model_name='trade',
            name='mfe_r',
            field=trading.models.fields.Numeric(decimal_places=12, help_text='Most favourable excursion while it was open, in R; empty without marks', max_digits=38, null=True),
        ),
        # Django drops this rule's index with the plain one of the same column, so it is taken off and put back.
        migrations.RemoveConstraint(
            model_name='entry',
            name='a_fill_settles_once',
        ),
        migrations.AlterField(
            model_name='entry',
            name='account',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='trading.account'),
        ),
        migrations.AlterField(
            model_name='entry',
            name='application',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='trading.application'),
        ),
        migrations.AlterField(
            model_name='entry',
            name='cash_event',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='trading.cashevent'),
        ),
        migrations.AlterField(
            model_name='entry',
            name='fill',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='trading.fill'),
        ),
        migrations.AlterField(
            model_name='entry',
            name='kind',
            field=models.CharField(choices=[('FILL', 'Fill'), ('SETTLEMENT', 'payment of a fill on its value date'), ('TRANSFER', 'deposit or withdrawal'), ('FINANCING', 'Financing'), ('DIVIDEND', 'Dividend'), ('FEE', 'Fee'), ('TAX', 'tax withheld or paid'), ('CONVERSION', 'one currency paid for another'), ('EXTERNAL_FILL', "approved fill of somebody else's order"), ('MARGIN_CLOSEOUT', "approved fill of the broker's own margin close-out"), ('ADOPTION', "approved position of the broker's"), ('ESTIMATE', 'approved close at an estimate'), ('SPLIT', 'approved split of an instrument'), ('SYMBOL_CHANGE', 'approved change of an instrument into another'), ('ADJUSTMENT', 'Adjustment'), ('REVERSAL', 'Reversal')], max_length=16),
        ),
        migrations.AlterField(
            model_name='entry',
            name='reverses',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='reversals', to='trading.entry'),
        ),
        migrations.AlterField(
            model_name='ledgeraccount',
            name='kind',
            field=models.CharField(choices=[('CASH', 'Cash'), ('UNSETTLED', 'receivable or payable until the value date'), ('CAPITAL', 'capital (deposits and withdrawals)'), ('POSITION', 'contracts held'), ('MARKET', "contracts' other side, and what held shares cost"), ('REALISED', 'realised profit and loss'), ('COMMISSION', 'Commission'), ('FINANCING', 'Financing'), ('DIVIDEND', 'Dividend'), ('FEE', 'Fee'), ('TAX', 'taxes withheld or paid'), ('TRADING', 'the other side of currency conversions'), ('ROUNDING', 'what rounding left over'), ('SUSPENSE', 'approved adjustments')], max_length=12),
        ),
        migrations.AlterField(
            model_name='transfer',
            name='commodity',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='trading.commodity'),
        ),
        migrations.AlterField(
            model_name='transfer',
            name='credit',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='credits', to='trading.ledgeraccount'),
        ),
        migrations.AlterField(
            model_name='transfer',
            name='debit',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='debits', to='trading.ledgeraccount'),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(fields=['account'], name='entries_of_an_account'),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(condition=models.Q(('fill__isnull', False)), fields=['fill'], name='entries_of_a_fill'),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(condition=models.Q(('cash_event__isnull', False)), fields=['cash_event'], name='entries_of_cash'),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(condition=models.Q(('application__isnull', False)), fields=['application'], name='entries_of_an_application'),
        ),
        migrations.AddIndex(
            model_name='mark',
            index=models.Index(fields=['account', 'instrument', 'at'], name='marks_of_an_instrument'),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['EXTERNAL_FILL', 'MARGIN_CLOSEOUT', 'ADOPTION', 'ESTIMATE', 'SPLIT', 'SYMBOL_CHANGE', 'ADJUSTMENT', 'REVERSAL']), _negated=True), ('application__isnull', False), _connector='OR'), name='a_correcting_entry_needs_an_application'),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'SETTLEMENT')), fields=('fill',), name='a_fill_settles_once'),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.UniqueConstraint(condition=models.Q(('reverses__isnull', False)), fields=('reverses',), name='an_entry_is_reversed_once'),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.UniqueConstraint(condition=models.Q(('replaces__isnull', False)), fields=('replaces',), name='an_entry_is_replaced_once'),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.CheckConstraint(condition=models.Q(('replaces', None), ('application__isnull', False), _connector='OR'), name='a_replacement_needs_an_application'),
        ),
        migrations.AddField(
            model_name='balancesnapshot',
            name='ledger_account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='snapshots', to='trading.ledgeraccount'),
        ),
        migrations.AddConstraint(
            model_name='chainblock',
            constraint=models.UniqueConstraint(fields=('table_name', 'last_id'), name='blocks_of_a_table_do_not_meet'),
        ),
        migrations.AddField(
            model_name='closedday',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='closed_days', to='trading.account'),
        ),
        migrations.AddField(
            model_name='closedday',
            name='application',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='trading.application'),
        ),
        migrations.AddConstraint(
            model_name='balancesnapshot',
            constraint=models.UniqueConstraint(fields=('ledger_account', 'last_transfer'), name='one_snapshot_per_cut'),
        ),
        migrations.AddConstraint(
            model_name='closedday',
            constraint=models.UniqueConstraint(fields=('account', 'trading_day'), name='a_day_closes_once'),
        ),
        migrations.AlterField(
            model_name='entry',
            name='idempotency_key',
            field=models.CharField(max_length=120),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.UniqueConstraint(fields=('idempotency_key',), name='a_key_posts_once'),
        ),
    ]
