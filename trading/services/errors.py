"""What services raise for people: the sentence is shown as it is."""

from django.db import DatabaseError


class RuleBroken(Exception):
    """A rule refuses this. The text says what happened, what it means, and what to do."""


def sentence(error: DatabaseError) -> str:
    """The first line of a database refusal, without its SQLSTATE decoration."""
    return str(error).splitlines()[0]
