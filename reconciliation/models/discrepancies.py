"""Differences between the broker's truth and our books, each with one identity over time.

What always holds: the fingerprint names one difference for ever (it reopens, it is not made anew); `state`, `version`
and everything else here is a projection of its DiscrepancyEvents; only a later complete run closes a case.
"""

from django.db import models
from django.db.models import Q

from trading.models.fields import Fact, Numeric, sha256_field


class Discrepancy(models.Model):
    """One difference: what it is, since when, how sure, and where its resolution stands."""

    class State(models.TextChoices):
        SUSPECTED = "SUSPECTED"
        OPEN = "OPEN"
        PROPOSED = "PROPOSED"
        APPROVED = "APPROVED"
        APPLIED = "APPLIED"
        CLOSED = "CLOSED"
        CLEARED = "CLEARED"

    class Severity(models.TextChoices):
        LOW = "LOW"
        MEDIUM = "MEDIUM"
        HIGH = "HIGH"
        CRITICAL = "CRITICAL"

    LIVE = (State.SUSPECTED, State.OPEN, State.PROPOSED, State.APPROVED, State.APPLIED)

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="discrepancies")
    fingerprint = sha256_field(unique=True)
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=120, help_text="Instrument, currency, order or event the difference is about")
    severity = models.CharField(max_length=8, choices=Severity)
    state = models.CharField(max_length=10, choices=State, default=State.SUSPECTED)
    version = models.PositiveIntegerField(default=1)
    instrument = models.ForeignKey("trading.Instrument", on_delete=models.PROTECT, null=True, related_name="+")
    commodity = models.CharField(max_length=40, blank=True, default="")
    books_value = Numeric(null=True)
    broker_value = Numeric(null=True)
    difference = Numeric(null=True, help_text="broker − books")
    cause = models.TextField(help_text="Why we think it is there, in words")
    evidence = models.JSONField(default=dict)
    first_run = models.ForeignKey("reconciliation.Run", on_delete=models.PROTECT, related_name="+")
    last_run = models.ForeignKey("reconciliation.Run", on_delete=models.PROTECT, related_name="+")
    first_seen_at = models.DateTimeField(help_text="Account's clock")
    last_seen_at = models.DateTimeField(help_text="Account's clock")
    opened_at = models.DateTimeField(null=True, help_text="Confirmed, on the account's clock")
    closed_at = models.DateTimeField(null=True)
    times_seen = models.PositiveIntegerField(default=1)
    times_reopened = models.PositiveIntegerField(default=0)
    owner = models.ForeignKey("trading.User", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    labels = models.JSONField(default=list, blank=True, help_text="Words that people put on it, sorted")
    proposal = models.ForeignKey("trading.Proposal", on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "discrepancies"
        indexes = [
            models.Index(
                fields=["account", "state"],
                condition=~Q(state__in=["CLOSED", "CLEARED"]),
                name="live_discrepancies",
            ),
            models.Index(fields=["account"], condition=~Q(labels=[]), name="labelled_discrepancies"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class DiscrepancyEvent(Fact):
    """One step in the life of a discrepancy, gapless from 1."""

    discrepancy = models.ForeignKey(Discrepancy, on_delete=models.PROTECT, related_name="events")
    sequence = models.PositiveIntegerField()
    kind = models.CharField(max_length=20)
    from_state = models.CharField(max_length=10, blank=True, default="")
    to_state = models.CharField(max_length=10)
    run = models.ForeignKey("reconciliation.Run", on_delete=models.PROTECT, null=True, related_name="+")
    proposal = models.ForeignKey("trading.Proposal", on_delete=models.PROTECT, null=True, related_name="+")
    actor = models.ForeignKey("trading.User", on_delete=models.PROTECT, null=True, related_name="+")
    reason = models.CharField(max_length=500, blank=True, default="")
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ["discrepancy", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["discrepancy", "sequence"], name="discrepancy_events_are_numbered")
        ]
        indexes = [models.Index(fields=["discrepancy"], condition=Q(kind="RELATED"), name="related_cases")]

    def __str__(self) -> str:
        return f"{self.kind} → {self.to_state}"
