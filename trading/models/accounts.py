"""Accounts at brokers, the in-process paper accounts, and the last broker clock stored for each.

What always holds: (broker, environment, scope, external id) names one account for ever; `scope` is empty for the
desk's own world and names the replay for an account that lives in a replay's world.
"""

from django.db import models

from .fields import Numeric


class Account(models.Model):
    """One account at one broker."""

    class Broker(models.TextChoices):
        PAPER = "PAPER"
        OANDA = "OANDA"
        ALPACA = "ALPACA"
        KITE = "KITE"

    class Environment(models.TextChoices):
        IN_PROCESS = "IN_PROCESS", "in process"
        SIMULATOR = "SIMULATOR", "simulator"
        PRACTICE = "PRACTICE", "practice"
        LIVE = "LIVE", "live"

    class Mode(models.TextChoices):
        PAPER = "PAPER"
        LIVE = "LIVE"

    class LotMethod(models.TextChoices):
        FIFO = "FIFO", "first in, first out"
        AVERAGE = "AVERAGE", "average cost"

    name = models.CharField(max_length=80, unique=True)
    broker = models.CharField(max_length=12, choices=Broker)
    environment = models.CharField(max_length=12, choices=Environment)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.PAPER)
    external_id = models.CharField(max_length=64)
    scope = models.CharField(max_length=80, blank=True, default="")
    currency = models.CharField(max_length=3)
    time_zone = models.CharField(max_length=64, default="UTC")
    hedging = models.BooleanField(default=False)
    lot_method = models.CharField(max_length=8, choices=LotMethod, default=LotMethod.FIFO)
    policy = models.ForeignKey("trading.ConfigVersion", on_delete=models.PROTECT, related_name="+")
    mirror_of = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="mirrors")
    mirror_scale = Numeric(default=1)
    endpoint = models.CharField(max_length=200, blank=True, default="", help_text="Base URL last used, without secrets")
    is_active = models.BooleanField(default=True)
    opened_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["broker", "environment", "scope", "external_id"], name="one_account_per_external_id"
            ),
            models.CheckConstraint(
                condition=models.Q(mode="PAPER") | models.Q(environment="LIVE"), name="live_mode_only_on_a_live_account"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_paper_book(self) -> bool:
        """True for the in-process paper account, which is not reconciled."""
        return self.broker == self.Broker.PAPER


class AccountClock(models.Model):
    """The broker's clock as last seen: broker time, the wall time it was seen at, and how fast it runs."""

    account = models.OneToOneField(Account, on_delete=models.PROTECT, primary_key=True, related_name="clock")
    wall_at = models.DateTimeField()
    broker_at = models.DateTimeField()
    speed = Numeric(default=1)

    def __str__(self) -> str:
        return f"{self.account}: {self.broker_at:%Y-%m-%d %H:%M:%S} ×{self.speed}"
