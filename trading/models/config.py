"""Versions of configuration. A decision names the version that made it; a version never changes."""

from django.db import models

from .fields import Fact, sha256_field


class ConfigVersion(Fact):
    """The canonical JSON of a session file or of an account policy, under its SHA-256."""

    class Kind(models.TextChoices):
        SESSION = "SESSION"
        POLICY = "POLICY"

    kind = models.CharField(max_length=12, choices=Kind)
    name = models.CharField(max_length=80)
    sha256 = sha256_field()
    body = models.TextField(help_text="Canonical JSON")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "sha256"], name="one_version_per_content")]

    def __str__(self) -> str:
        return f"{self.name} {self.sha256[:8]}"
