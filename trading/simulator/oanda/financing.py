"""What holding a position over night costs or earns: DAILY_FINANCING at 17:00 New York.

What always holds here: the rates are fixed, so the same trades give the same amounts; the parts of a booking add up
to the whole; an amount of zero is not booked.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache

from ..core import valuation
from ..core.hours import NEW_YORK
from ..core.model import Account, Trade
from ..core.numbers import ZERO, money
from .books import Books
from .render import Wire, amount

_AT = time(17, 0)
_YEAR = 365
# What a long and a short position earn (> 0) or pay (< 0) of their value in a year.
_RATES = {
    "EUR_USD": ("-0.0225", "0.0065"), "GBP_USD": ("-0.0120", "-0.0080"), "USD_JPY": ("0.0300", "-0.0480"),
    "EUR_GBP": ("-0.0260", "0.0085"), "AUD_USD": ("-0.0095", "-0.0090"), "USD_CHF": ("0.0270", "-0.0450"),
    "USD_CAD": ("0.0040", "-0.0220"), "EUR_JPY": ("0.0120", "-0.0310"), "XAU_USD": ("-0.0525", "0.0180"),
}  # fmt: skip
_DAYS = (1, 1, 3, 1, 1, 0, 0)  # Monday to Sunday: what is held on Wednesday pays for the weekend, as it settles then


def rate(name: str, units: Decimal) -> Decimal:
    """The share of its value that a position of this side earns in a year."""
    long, short = _RATES[name]
    return Decimal(long if units > 0 else short)


@lru_cache(maxsize=4096)
def _charged(day: date) -> datetime | None:
    """17:00 in New York of this day, which has the same date in UTC; None when nothing is charged."""
    return datetime.combine(day, _AT, NEW_YORK).astimezone(UTC) if _DAYS[day.weekday()] else None


def next_roll(after: datetime) -> datetime:
    """The next 17:00 in New York after this moment (in UTC) at which days are charged."""
    day = after.date()
    while (found := _charged(day)) is None or found <= after:
        day += timedelta(days=1)
    return found


class Financing:
    """Books financing into the accounts of one simulator."""

    def __init__(self, books: Books) -> None:
        self.books, self.world = books, books.world

    def roll(self, account: Account) -> None:
        """It is 17:00 in New York: book what the open trades cost or earn."""
        days = _DAYS[self.world.now.astimezone(NEW_YORK).weekday()]
        shares = []
        for trade in account.open_trades():
            value = valuation.value_of(self.world.market, self.world.now, account, trade.instrument, trade.units)
            shares.append((trade, money(value * rate(trade.instrument, trade.units) * days / _YEAR)))
        shares = [(trade, share) for trade, share in shares if share]
        if shares:
            with self.books.batch(account):
                self.book(account, shares)

    def book(
        self, account: Account, shares: list[tuple[Trade, Decimal]], name: str = "", value: Decimal = ZERO
    ) -> Wire:
        """Move the cash, and write the transaction with its parts; without trades, `value` is of instrument `name`."""
        total = sum((share for _, share in shares), ZERO) or value
        for trade, share in shares:
            trade.financing += share
            account.side(trade.instrument, trade.units).financing += share
        account.financing += total
        self.world.move_cash(account, "financing", total)
        rows = []
        for held in dict.fromkeys(trade.instrument for trade, _ in shares):
            parts = [(trade, share) for trade, share in shares if trade.instrument == held]
            rows.append(
                {
                    "instrument": held,
                    "financing": amount(sum((share for _, share in parts), ZERO)),
                    "openTradeFinancings": [{"tradeID": t.id, "financing": amount(share)} for t, share in parts],
                }
            )
        if not rows and name:
            rows = [{"instrument": name, "financing": amount(total), "openTradeFinancings": []}]
        fields: Wire = {
            "financing": amount(total), "accountBalance": amount(account.cash), "accountFinancingMode": "DAILY",
            "positionFinancings": rows,
        }  # fmt: skip
        return self.books.write(account, "DAILY_FINANCING", fields)
