"""Reconciliation of millions of fills, measured."""
