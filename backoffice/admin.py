"""The schedule in the admin: shown, with when each entry last ran, never edited past the audit trail.

What always holds: entries come from `schedules.py` at every start of beat; the schedule's own forms are not offered.
"""

from django.contrib import admin
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule

from trading.admin.pages import ReadOnlyAdmin

for model in (PeriodicTask, IntervalSchedule, CrontabSchedule, SolarSchedule, ClockedSchedule):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(ReadOnlyAdmin):
    """What beat asks for, and when it last did."""

    list_display = ("name", "task", "interval", "queue", "enabled", "last_run_at", "total_run_count")
