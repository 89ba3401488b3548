"""`make bench-orders`: how long an order takes from its committed decision to the broker, and back into the ledger."""
