"""The product's Celery application with short limits: tasks are ended after seconds.

What always holds: nothing else is different; workers of fault tests are started on it by name, and no test imports it:
it changes the application of the process that does.
"""

from backoffice.celery import app
from tests.faults.workers import HARD_SECONDS, SOFT_SECONDS

app.conf.task_soft_time_limit = SOFT_SECONDS
app.conf.task_time_limit = HARD_SECONDS
