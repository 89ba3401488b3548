"""The product's Celery application with short limits: tasks are ended after seconds.

What always holds: nothing else is different; workers of fault tests are started on it by name.
"""

from backoffice.celery import app

SOFT_SECONDS, HARD_SECONDS = 2, 4

app.conf.task_soft_time_limit = SOFT_SECONDS
app.conf.task_time_limit = HARD_SECONDS
