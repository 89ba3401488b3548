"""Notifications that are sent: where to, how far each got, and what went wrong."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('trading', '0003_cash_instruments'),
    ]

    operations = [
        migrations.AddField(
            model_name='notification',
            name='attempts',
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='notification',
            name='channel',
            field=models.CharField(blank=True, default='', max_length=20),
        ),
        migrations.AddField(
            model_name='notification',
            name='claimed_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='notification',
            name='error',
            field=models.CharField(blank=True, default='', max_length=300),
        ),
        migrations.AddField(
            model_name='notification',
            name='state',
            field=models.CharField(choices=[('PLANNED', 'Planned'), ('SENDING', 'Sending'), ('SENT', 'Sent'), ('UNKNOWN', 'Unknown'), ('REFUSED', 'Refused')], default='PLANNED', max_length=8),
        ),
        migrations.AddConstraint(
            model_name='notification',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('sent_at__isnull', False), ('state', 'SENT')), models.Q(models.Q(('state', 'SENT'), _negated=True), ('sent_at', None)), _connector='OR'), name='a_notification_is_sent_at_a_moment'),
        ),
    ]
