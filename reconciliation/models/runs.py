"""Runs and the snapshots they compared: facts, written when the run ends.

What always holds: a run that could not read everything says so in `completeness` and concludes nothing from what
it did not see; a FAILED run has no findings at all.
"""

from django.db import models
from django.db.models import Q

from trading.models.fields import Fact, sha256_field


class Snapshot(Fact):
    """One side of a comparison, as canonical JSON, under its SHA-256."""

    class Side(models.TextChoices):
        BROKER = "BROKER"
        BOOKS = "BOOKS"

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="snapshots")
    side = models.CharField(max_length=8, choices=Side)
    completeness = models.CharField(max_length=10)
    last_event_id = models.CharField(max_length=64, blank=True, default="")
    body = models.TextField()
    sha256 = sha256_field()

    def __str__(self) -> str:
        return f"{self.side} {self.sha256[:8]}"


class Run(Fact):
    """One reconciliation of one account. `at` is on the account's clock.

    `sha256` names what was compared, under which policy and rules, and what came of it: equal for equal inputs,
    whenever they were read. `resumes` is the run that the broker had broken off by "too many requests". Columns that
    came later are NULL for older runs, whose rows are sealed.
    """

    class Trigger(models.TextChoices):
        STARTUP = "STARTUP"
        POST_TRADE = "POST_TRADE"
        PERIODIC = "PERIODIC"
        MANUAL = "MANUAL"
        STATEMENT = "STATEMENT"

    class Status(models.TextChoices):
        COMPLETE = "COMPLETE"
        INCOMPLETE = "INCOMPLETE"
        FAILED = "FAILED"

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="runs")
    trigger = models.CharField(max_length=12, choices=Trigger)
    scheduled_for = models.DateTimeField(null=True)
    started_at = models.DateTimeField()
    status = models.CharField(max_length=10, choices=Status)
    completeness = models.CharField(max_length=10)
    error = models.CharField(max_length=500, blank=True, default="")
    cut_event_id = models.CharField(max_length=64, blank=True, default="")
    broker_snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, null=True, related_name="+")
    books_snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, null=True, related_name="+")
    policy = models.ForeignKey("trading.ConfigVersion", on_delete=models.PROTECT, null=True, related_name="+")
    counts = models.JSONField(default=dict)
    findings = models.JSONField(default=list)
    proof = models.JSONField(default=dict, help_text="broker − books − open cases, per commodity")
    sha256 = sha256_field(blank=True, default="")
    statement = models.ForeignKey("reconciliation.Statement", on_delete=models.PROTECT, null=True, related_name="runs")
    rules_version = models.CharField(  # noqa: DJ001 - NULL, not "": the rows that stood before are sealed
        max_length=64, null=True, help_text="The ladder of matching rules in force"
    )
    requests = models.PositiveIntegerField(null=True, help_text="Asked of the broker over the wire")
    cursor_from = models.CharField(  # noqa: DJ001
        max_length=120, null=True, help_text="How far the history was read before"
    )
    cursor_to = models.CharField(max_length=120, null=True, help_text="How far it was read afterwards")  # noqa: DJ001
    resumes = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="resumed_by")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "trigger", "scheduled_for"],
                condition=Q(scheduled_for__isnull=False),
                name="one_run_per_schedule_slot",
            )
        ]

    def __str__(self) -> str:
        return f"{self.trigger} run {self.pk} {self.status}"


class SignOff(Fact):
    """That two people signed off an account's trading day on the evidence of one run: prepared and reviewed."""

    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="sign_offs")
    trading_day = models.DateField()
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="sign_offs")
    application = models.OneToOneField("trading.Application", on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-trading_day"]
        constraints = [models.UniqueConstraint(fields=["account", "trading_day"], name="a_day_is_signed_off_once")]

    def __str__(self) -> str:
        return f"sign-off of {self.account} {self.trading_day}"
