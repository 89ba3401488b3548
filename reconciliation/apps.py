"""Django's entry to the reconciliation app."""

from django.apps import AppConfig


class ReconciliationConfig(AppConfig):
    """The broker's truth against our books, and what people decide about each difference."""

    name = "reconciliation"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Reconciliation"

    def ready(self) -> None:
        """After migrations: the application login's rights, then what each group of people may do."""
        from django.db.models.signals import post_migrate

        from trading.grants import grant_application_login
        from trading.groups import assign_group_permissions

        post_migrate.connect(grant_application_login, sender=self, dispatch_uid="reconciliation.grants")
        post_migrate.connect(assign_group_permissions, sender=self, dispatch_uid="reconciliation.groups")
