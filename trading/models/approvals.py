"""Four eyes: the one mechanism for everything that two people decide.

What always holds, and is enforced by triggers whatever path the row takes: the approver's person is not the
proposer's; an approval carries the payload hash and subject version it was given for; nothing is approved or applied
after its expiry; a rejected or withdrawn proposal is never applied; an application exists at most once.
"""

from django.db import models

from .fields import Fact, sha256_field


class Proposal(Fact):
    """What somebody proposes to do, with the exact payload. `payload` is canonical JSON text."""

    kind = models.CharField(max_length=40)
    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, null=True, related_name="proposals")
    subject_type = models.CharField(max_length=40)
    subject_id = models.BigIntegerField()
    subject_version = models.PositiveIntegerField()
    payload = models.TextField()
    payload_sha256 = sha256_field()
    reason = models.CharField(max_length=500)
    proposer = models.ForeignKey("trading.User", on_delete=models.PROTECT, related_name="proposals")
    approvals_required = models.PositiveSmallIntegerField(default=1)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["subject_type", "subject_id"], name="proposals_of_a_subject")]

    def __str__(self) -> str:
        return f"proposal {self.pk}: {self.kind}"


class Approval(Fact):
    """One person's verdict on a proposal. WITHDRAW is the proposer's own."""

    class Verdict(models.TextChoices):
        APPROVE = "APPROVE"
        REJECT = "REJECT"
        WITHDRAW = "WITHDRAW"

    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="approvals")
    approver = models.ForeignKey("trading.User", on_delete=models.PROTECT, related_name="approvals")
    verdict = models.CharField(max_length=8, choices=Verdict)
    payload_sha256 = sha256_field()
    subject_version = models.PositiveIntegerField()
    reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["proposal", "approver"], name="one_verdict_per_user")]

    def __str__(self) -> str:
        return f"{self.verdict} of {self.proposal_id} by {self.approver}"


class Application(Fact):
    """The one application of an approved proposal, and what it did."""

    proposal = models.OneToOneField(Proposal, on_delete=models.PROTECT, related_name="application")
    applied_by = models.ForeignKey("trading.User", on_delete=models.PROTECT, null=True, related_name="+")
    result = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"application of {self.proposal_id}"
