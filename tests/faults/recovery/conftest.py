"""People who decide, for the tests beside this file."""

from tests.reconciliation.conftest import people

__all__ = ["people"]
