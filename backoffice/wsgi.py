"""The web's entry point. Refuses to start without its key and its database: a web that half works misleads."""

import os

from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

from backoffice.demands import demand


def make_application() -> WSGIHandler:
    """The WSGI application, with a pool of database connections.

    Raises `ImproperlyConfigured` when a setting is missing that the web cannot do without.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backoffice.settings")
    os.environ.setdefault("BACKOFFICE_DATABASE_POOL", "1")
    missing = demand("BACKOFFICE_SECRET_KEY", "DATABASE_URL")
    if missing:
        raise ImproperlyConfigured(missing)
    application = get_wsgi_application()
    _audit_the_start()
    return application


def _audit_the_start() -> None:
    """The web starts without a database, too; then its start stands in the log alone."""
    from django.db import connections

    from trading.context import begin_process
    from trading.services.starts import try_to_record_start

    begin_process(via="web", name="web")
    try_to_record_start("web", via="web")
    connections.close_all()


application = make_application()
