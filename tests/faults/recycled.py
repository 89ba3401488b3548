"""The product's Celery application whose processes end after every task, each forked anew from the one that listens.

What always holds: nothing else is different; workers of fault tests are started on it by name.
"""

from backoffice.celery import app

app.conf.worker_max_tasks_per_child = 1
