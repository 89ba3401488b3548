"""The product's Celery application with a queue that takes a message back after two seconds, as if its worker had died.

What always holds: nothing else is different; workers of fault tests are started on it by name.
"""

from backoffice.celery import app

app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    "visibility_timeout": 2,
    "unacked_restore_interval": 1,
}
