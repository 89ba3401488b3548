"""Balance snapshots: what each ledger account had come to at a cut, so that a balance need not add up its whole past.

What always holds: a snapshot is the exact sum of the transfers up to the one it names, which never changes, because
transfers appear in the order of their numbers; taking them again or twice at once adds nothing. They are a cache: all
or any of them may be thrown away, and no proof reads them.
"""

from __future__ import annotations

from datetime import UTC

from django.db import connection, transaction
from django.db.models import Max

from trading.clock import wall_now
from trading.models import Account, BalanceSnapshot
from trading.selectors.balances import BALANCES, last_transfer

# Transfers after the last snapshot that are read for every balance: some ten milliseconds' worth.
LONG_TAIL = 20_000


@transaction.atomic
def take_snapshots(account: Account | None = None) -> int:
    """Snapshot every ledger account (of one account) as of now, in the place of earlier ones; returns how many.

    Those that nothing was posted to move on as well: what is to be read after the oldest snapshot stays short.
    """
    cut = last_transfer()
    earlier = BalanceSnapshot.objects.filter(last_transfer__lt=cut)
    if account is not None:
        earlier = earlier.filter(ledger_account__account=account)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO trading_balancesnapshot (ledger_account_id, last_transfer, balance, made_at)
            SELECT ledger_account_id, %(cut)s, amount, clock_timestamp() FROM ({BALANCES}) b
            ON CONFLICT DO NOTHING
            """,
            {
                "cut": cut,
                "from_snapshots": True,
                "account": account.pk if account is not None else None,
                "kind": "",
                "ledger_accounts": None,
            },
        )
        taken = int(cursor.rowcount)
    earlier.delete()
    return taken


def take_nightly() -> int:
    """Take snapshots when the UTC day (wall time) has none yet, or much was posted since; returns how many."""
    newest = BalanceSnapshot.objects.aggregate(made=Max("made_at"), cut=Max("last_transfer"))
    if newest["cut"] is not None:
        made_today = newest["made"].astimezone(UTC).date() == wall_now().astimezone(UTC).date()
        since = last_transfer() - newest["cut"]
        if since <= 0 or (made_today and since < LONG_TAIL):
            return 0
    return take_snapshots()


def retake_snapshots(account: Account) -> int:
    """Throw the snapshots of an account away and take new ones from all its transfers; returns how many."""
    with transaction.atomic():
        BalanceSnapshot.objects.filter(ledger_account__account=account).delete()
        return take_snapshots(account)
