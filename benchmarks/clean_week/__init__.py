"""`make clean-week`: a week of the simulated market on the real desk, slot by slot, and then one fault of each kind."""
