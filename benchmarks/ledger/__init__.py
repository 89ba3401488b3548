"""`make bench-ledger`: our books beside django-hordak and a two-row ledger, on one server, in one run."""
