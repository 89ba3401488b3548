"""Who acts: a Person is one human, a User is one way that human signs in.

What always holds: four eyes compare persons, never users, and the person of a user cannot be changed by the
application login (a trigger refuses it). Users are never deleted, only deactivated.
"""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models, transaction


class Person(models.Model):
    """One human being."""

    name = models.CharField(max_length=120)

    class Meta:
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return self.name


class PeopleManager(UserManager["User"]):
    """Makes users; one made without a person gets a person of its own."""

    def create_user(self, username: str, email: str | None = None, password: str | None = None, **extra: Any) -> "User":
        self._ensure_person(username, extra)
        return super().create_user(username, email, password, **extra)

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **extra: Any
    ) -> "User":
        self._ensure_person(username, extra)
        return super().create_superuser(username, email, password, **extra)

    @staticmethod
    def _ensure_person(username: str, extra: dict[str, Any]) -> None:
        if "person" not in extra and "person_id" not in extra:
            extra["person"] = Person.objects.create(name=username)


class User(AbstractUser):
    """A sign-in of a person."""

    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="users")

    objects: ClassVar[PeopleManager] = PeopleManager()

    class Meta(AbstractUser.Meta):
        permissions = [
            ("propose", "Can propose a resolution"),
            ("approve", "Can approve what somebody else proposed"),
            ("pause", "Can pause trading"),
            ("kill", "Can use the kill switch"),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """In one transaction with the audit events that a change of a user leaves."""
        with transaction.atomic(using=kwargs.get("using")):
            super().save(*args, **kwargs)


class AccountGrant(models.Model):
    """Which account a user may see (VIEW) or act on (ACT)."""

    class Level(models.TextChoices):
        VIEW = "VIEW"
        ACT = "ACT"

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="account_grants")
    account = models.ForeignKey("trading.Account", on_delete=models.PROTECT, related_name="grants")
    level = models.CharField(max_length=8, choices=Level, default=Level.VIEW)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "account"], name="one_grant_per_user_and_account")]

    def __str__(self) -> str:
        return f"{self.user} {self.level} {self.account}"
