"""`manage.py seed_desk`: the people of a fresh desk, as one line of JSON with the passwords of those just made."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trading.engine.desk import ensure_desk
from trading.services import people
from trading.services.audit import Actor


class Command(BaseCommand):
    """Make the demo cast; a second run keeps everybody and prints no password."""

    help = "Make the demo users ada (operator), bob (approver) and charlie (viewer); prints their passwords once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where the desk's simulator is controlled from."""
        parser.add_argument("--simulator", metavar="URL", default="", help="control address of the desk's simulator")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print `{"users": [{"username", "groups", "password"?}]}`; with a simulator also make the desk's accounts."""
        if options["simulator"]:
            ensure_desk(control_url=options["simulator"])
        cast = people.seed_demo_cast(actor=Actor.system("seed_desk", via="command"))
        users = []
        for member in cast:
            shown: dict[str, Any] = {"username": member.username, "groups": list(member.groups)}
            if member.password is not None:
                shown["password"] = member.password
            users.append(shown)
        self.stdout.write(json.dumps({"users": users}, separators=(",", ":")))
