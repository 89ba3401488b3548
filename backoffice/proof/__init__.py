"""Proving the books, and keeping them: anchors, the chain's check, bundles for auditors, backup and restore."""
