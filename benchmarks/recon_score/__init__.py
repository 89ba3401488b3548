"""The scoreboard of reconciliation: faults are planted, and what the desk finds is compared with the plants."""
