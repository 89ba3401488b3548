"""Sign-offs of trading days."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('reconciliation', '0003_append_only'),
        ('trading', '0005_books'),
    ]

    operations = [
        migrations.CreateModel(
            name='SignOff',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('trading_day', models.DateField()),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='sign_offs', to='trading.account')),
                ('application', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='trading.application')),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='sign_offs', to='reconciliation.run')),
            ],
            options={
                'ordering': ['-trading_day'],
                'constraints': [models.UniqueConstraint(fields=('account', 'trading_day'), name='a_day_is_signed_off_once')],
            },
        ),
    ]
