"""A desk at each of the three brokers in turn."""

from tests.faults.conftest import any_world, running

__all__ = ["any_world", "running"]
