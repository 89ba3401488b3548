"""The project as Django applications: its commands and static files, and its own admin site."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin.apps import AdminConfig


class BackOfficeConfig(AppConfig):
    """The project itself; it has no models."""

    name = "backoffice"
    verbose_name = "Back office"

    def ready(self) -> None:
        """Listen to sign-ins and the schedule; make our Celery application the one that tasks are sent through."""
        for listening in ("backoffice.doors", "backoffice.schedule_trail"):
            import_module(listening).connect()
        if settings.REDIS_URL:
            import_module("backoffice.celery")


class BackOfficeAdminConfig(AdminConfig):
    """Django's admin with our site as the default, so that every `admin.register` lands on it."""

    default = False
    default_site = "backoffice.site.BackOfficeSite"
