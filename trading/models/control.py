"""Control that survives restarts: restrictions, leases, cursors, heartbeats, attempts.

What always holds: the trading state of an account, strategy or instrument is the strictest live Restriction; a Lease
is the only thing that excludes others across a wire call, and its token only grows.
"""

from django.db import models
from django.db.models import Q

from .fields import Fact


class RiskEvent(Fact):
    """A block, refusal or alarm of the risk side, with its numbers."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, null=True, related_name="risk_events")
    decision = models.ForeignKey("trading.Decision", on_delete=models.PROTECT, null=True, related_name="+")
    kind = models.CharField(max_length=40)
    reason = models.CharField(max_length=300)
    numbers = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


class Restriction(models.Model):
    """REDUCE_ONLY or CLOSED on everything, an account, a strategy or an instrument, until lifted or over."""

    class Level(models.TextChoices):
        REDUCE_ONLY = "REDUCE_ONLY"
        CLOSED = "CLOSED"

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, null=True, related_name="restrictions")
    strategy = models.CharField(max_length=80, blank=True, default="")
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, null=True, related_name="+")
    level = models.CharField(max_length=12, choices=Level)
    source = models.CharField(max_length=40)
    reason = models.CharField(max_length=300)
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(auto_now_add=True)
    until = models.DateTimeField(null=True, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.ForeignKey("trading.User", on_delete=models.PROTECT, null=True, related_name="+")
    lift_reason = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        indexes = [models.Index(fields=["account"], condition=Q(lifted_at=None), name="live_restrictions")]

    def __str__(self) -> str:
        return f"{self.level} by {self.source}: {self.reason}"


class Lease(models.Model):
    """Who holds what until when (wall time); `token` grows by one with each new holder."""

    key = models.CharField(max_length=120, primary_key=True)
    holder = models.CharField(max_length=120)
    token = models.PositiveBigIntegerField(default=0)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.key} by {self.holder}"


class Cursor(models.Model):
    """How far a history of an account was read."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="cursors")
    name = models.CharField(max_length=40)
    value = models.CharField(max_length=120, blank=True, default="")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "name"], name="one_cursor_per_name")]

    def __str__(self) -> str:
        return f"{self.account} {self.name}={self.value}"


class Heartbeat(models.Model):
    """When a part of the desk was last alive (wall time)."""

    name = models.CharField(max_length=120, primary_key=True)
    at = models.DateTimeField()
    details = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.name} {self.at:%H:%M:%S}"


class TaskAttempt(models.Model):
    """How often a piece of work was begun without ending; past the limit it is dead and a person must look."""

    key = models.CharField(max_length=160, primary_key=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True, default="")
    dead_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.key} ×{self.attempts}"


class Notification(models.Model):
    """A message to people, once per key. Without a channel it is only shown here; else its state says how far it got.

    UNKNOWN may have arrived and is not sent again; REFUSED surely did not, and was given up.
    """

    class State(models.TextChoices):
        PLANNED = "PLANNED"
        SENDING = "SENDING"
        SENT = "SENT"
        UNKNOWN = "UNKNOWN"
        REFUSED = "REFUSED"

    key = models.CharField(max_length=160, unique=True)
    level = models.CharField(max_length=10, default="INFO")
    channel = models.CharField(max_length=20, blank=True, default="")
    text = models.TextField()
    at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State, default=State.PLANNED)
    attempts = models.PositiveSmallIntegerField(default=0)
    claimed_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="SENT", sent_at__isnull=False) | (~Q(state="SENT") & Q(sent_at=None)),
                name="a_notification_is_sent_at_a_moment",
            )
        ]

    def __str__(self) -> str:
        return self.key
