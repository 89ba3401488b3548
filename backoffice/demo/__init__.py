"""The demo day: a market at speed, strategies that trade, and four planted differences for a newcomer to resolve."""
