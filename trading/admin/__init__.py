"""The admin of trading: everything to look at, nothing to edit. Importing this package registers all of it."""

from . import accounts, approvals, audit, control, happened, intent, ledger, orders, people, positions

__all__ = ["accounts", "approvals", "audit", "control", "happened", "intent", "ledger", "orders", "people", "positions"]
