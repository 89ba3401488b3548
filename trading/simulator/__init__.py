"""A broker for people who have none, and the opponent of the tests: a process that speaks the brokers' protocols.

It imports nothing of the project and the project imports nothing of it: it is the truth that adapters are tested
against. `core` is neutral (clock, market, matching, accounts, journal, faults); each dialect package translates it.
"""
