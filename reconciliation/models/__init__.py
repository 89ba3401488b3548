"""What reconciliation keeps, one aggregate a file."""

from .discrepancies import Discrepancy, DiscrepancyEvent
from .runs import Run, SignOff, Snapshot
from .statements import Statement, StatementLine

__all__ = ["Discrepancy", "DiscrepancyEvent", "Run", "SignOff", "Snapshot", "Statement", "StatementLine"]
