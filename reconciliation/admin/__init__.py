"""The admin of reconciliation: runs to read, discrepancies to decide. Importing this package registers all of it."""

from . import runs

__all__ = ["runs"]
