"""The desk: real PostgreSQL and Redis as our own child processes, and one command that runs everything.

Nothing here imports Django: the door (`manage.py`) asks this package for a database before Django reads its settings.
"""
