"""Leases: the only thing that excludes others across a wire call.

What always holds: wall time of the database; a new holder gets a token one higher than the last, and whoever finds
that its token is no longer the current one must not act.
"""

from __future__ import annotations

from django.db import connection, transaction


@transaction.atomic
def acquire(*, key: str, holder: str, seconds: int) -> int | None:
    """Take the lease and return its fencing token; None while somebody else holds it."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO trading_lease (key, holder, token, until)
            VALUES (%s, %s, 1, clock_timestamp() + make_interval(secs => %s))
            ON CONFLICT (key) DO UPDATE
                SET holder = excluded.holder, token = trading_lease.token + 1, until = excluded.until
                WHERE trading_lease.until < clock_timestamp()
            RETURNING token
            """,
            [key, holder, seconds],
        )
        row = cursor.fetchone()
    return int(row[0]) if row else None


def renew(*, key: str, token: int, seconds: int) -> bool:
    """Hold on for `seconds` more; False if the lease has passed to somebody else."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE trading_lease SET until = clock_timestamp() + make_interval(secs => %s)"
            " WHERE key = %s AND token = %s",
            [seconds, key, token],
        )
        return bool(cursor.rowcount)


def still_holds(*, key: str, token: int) -> bool:
    """True while the token is the current one and the lease has not run out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM trading_lease WHERE key = %s AND token = %s AND until > clock_timestamp()", [key, token]
        )
        return cursor.fetchone() is not None


def release(*, key: str, token: int) -> None:
    """Give the lease back, if it is still ours."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE trading_lease SET until = clock_timestamp() WHERE key = %s AND token = %s", [key, token])


def held(key: str) -> bool:
    """True while anybody holds the lease."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM trading_lease WHERE key = %s AND until > clock_timestamp()", [key])
        return cursor.fetchone() is not None
