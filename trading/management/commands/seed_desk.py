"""`manage.py seed_desk`: the people of a fresh desk, as one line of JSON with the passwords of those just made."""

import json
from typing import Any

from django.core.management.base import BaseCommand

from trading.services import people
from trading.services.audit import Actor


class Command(BaseCommand):
    """Make the demo cast; a second run keeps everybody and prints no password."""

    help = "Make the demo users ada (operator), bob (approver) and charlie (viewer); prints their passwords once."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print `{"users": [{"username", "groups", "password"?}]}`."""
        cast = people.seed_demo_cast(actor=Actor.system("seed_desk", via="command"))
        users = []
        for member in cast:
            shown: dict[str, Any] = {"username": member.username, "groups": list(member.groups)}
            if member.password is not None:
                shown["password"] = member.password
            users.append(shown)
        self.stdout.write(json.dumps({"users": users}, separators=(",", ":")))
