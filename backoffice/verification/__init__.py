"""Invariants that the data must show at any moment, and their check. Read-only; needs no broker."""

from .check import INVARIANTS, Report, Result, UnknownAccount, check, run_all
from .registry import Invariant, Offence
from .report import lines

__all__ = ["INVARIANTS", "Invariant", "Offence", "Report", "Result", "UnknownAccount", "check", "lines", "run_all"]
