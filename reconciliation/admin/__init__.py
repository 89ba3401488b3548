"""The admin of reconciliation: runs to read, discrepancies to decide. Importing this package registers all of it."""

from . import discrepancies, runs, sign_offs, statements

__all__ = ["discrepancies", "runs", "sign_offs", "statements"]
