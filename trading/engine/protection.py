"""Trades that lost their stop: made known, and left again where somebody wanted to leave them.

Where legs reserve units they are gone before the exit is sent; an exit that then fails would leave its trade naked.

What always holds: an exit that failed is tried again for as long as nothing covers its trade, at longer and longer
intervals, under an intent and an id of its own; a trade that nobody wanted to leave is only made known.
"""

from __future__ import annotations

from datetime import timedelta

from trading.clock import now, wall_now
from trading.models import Account, Trade
from trading.services.exits import plan_exit
from trading.services.protection import failed_exits, review

from .sender import send_order

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=15)


def mind(account: Account) -> int:
    """Look at the account's open trades; returns how many failed exits were tried again."""
    return sum(_leave_again(found.trade) for found in review(account))


def _leave_again(trade: Trade) -> bool:
    failed = failed_exits(trade)
    if not failed:
        return False
    last = failed[0]
    wait = min(FIRST_WAIT * 2 ** min(len(failed) - 1, 10), LONGEST_WAIT)
    if last.exit_intent is None or wall_now() < last.updated_at + wait:
        return False
    order = plan_exit(
        account=trade.account,
        decision=trade.decision,
        exit_type=last.exit_intent.exit_type,
        reason=last.exit_intent.exit_reason,
        quantity=trade.open_quantity,
        at=now(trade.account),
    )
    send_order(order_id=order.pk)
    return True
