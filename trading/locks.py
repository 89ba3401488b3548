"""The lock order: account lock → rows by primary key → append-only inserts last.

What always holds: whoever changes rows of an account holds the account's advisory lock until commit, so two services
can never wait for each other between a row and the append lock. Across a wire call only a Lease excludes others.
"""

from django.db import connection

ACCOUNT_CLASS = 0x41434354  # "ACCT": keeps these keys apart from any other advisory lock


def lock_account(account_id: int) -> None:
    """Hold the account until the transaction ends. Raises RuntimeError outside a transaction."""
    if not connection.in_atomic_block:
        raise RuntimeError("an account is locked inside a transaction only")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [ACCOUNT_CLASS, account_id])
