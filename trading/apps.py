"""Django's entry to the trading app."""

from django.apps import AppConfig


class TradingConfig(AppConfig):
    """Signal → decision → order → fill → ledger."""

    name = "trading"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Trading"

    def ready(self) -> None:
        """The money context in every thread, the trail of people, the application login's rights after migrations."""
        from django.db.models.signals import post_migrate

        from trading.domain.money import use_money_context
        from trading.grants import grant_application_login
        from trading.services import rights

        use_money_context()
        rights.connect()
        post_migrate.connect(grant_application_login, sender=self, dispatch_uid="trading.grants")
