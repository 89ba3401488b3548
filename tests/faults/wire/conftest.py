"""The desks that stand for a module of these tests."""

from tests.faults.standing import standing, standing_world

__all__ = ["standing", "standing_world"]
