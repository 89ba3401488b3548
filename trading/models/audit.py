"""The audit trail: who did what, through which door, why, and what it changed. Written in the change's transaction."""

from django.db import models

from trading.domain.audit_kinds import sentence

from .fields import Fact


class AuditEvent(Fact):
    """One audited act."""

    class Level(models.TextChoices):
        INFO = "INFO"
        WARNING = "WARNING"
        CRITICAL = "CRITICAL"

    level = models.CharField(max_length=8, choices=Level, default=Level.INFO)
    kind = models.CharField(max_length=60)
    actor = models.ForeignKey("trading.User", on_delete=models.PROTECT, null=True, related_name="+")
    actor_name = models.CharField(max_length=150)
    via = models.CharField(max_length=20)
    request_id = models.CharField(max_length=64, blank=True, default="")
    address = models.CharField(max_length=45, blank=True, default="", help_text="Where the request came from")
    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, null=True, related_name="audit_events")
    object_type = models.CharField(max_length=60, blank=True, default="")
    object_id = models.CharField(max_length=40, blank=True, default="")
    object_repr = models.CharField(max_length=200, blank=True, default="")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    reason = models.CharField(max_length=500, blank=True, default="")
    cause = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="effects")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["object_type", "object_id"], name="audit_of_an_object")]

    def __str__(self) -> str:
        return f"{self.kind} by {self.actor_name}"

    @property
    def sentence(self) -> str:
        """What it says, in words."""
        return sentence(
            self.kind,
            who=self.actor_name,
            about=self.object_repr or (f"{self.object_type} {self.object_id}" if self.object_id else ""),
            reason=self.reason,
            before=self.before,
            after=self.after,
        )
