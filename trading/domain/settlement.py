"""What a cash instrument's execution pays, and when the payment is due. Margin instruments pay nothing of the kind.

What always holds here: a payment is signed as it moves cash (a purchase is below zero) and rounded once, to what the
books store; where the broker names no value date, it is the weekday after the trade's day, as on the US and Indian
markets; a holiday between them only makes the books settle a day before the bank does.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from trading.domain.broker_data import Side
from trading.domain.money import ONE, STORED_STEP, round_to_step

SATURDAY = 5


def payment(side: Side, quantity: Decimal, price: Decimal, *, multiplier: Decimal = ONE) -> Decimal:
    """What an execution moves of cash, in the instrument's quote currency: below zero for a purchase."""
    return round_to_step(-side.sign * quantity * price * multiplier, STORED_STEP)


def usual_value_date(traded_on: date) -> date:
    """The value date of a trade of that day when its broker does not say: the next weekday."""
    following = traded_on + timedelta(days=1)
    while following.weekday() >= SATURDAY:
        following += timedelta(days=1)
    return following
