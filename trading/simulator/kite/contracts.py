"""What the broker's instrument list says of an instrument beyond the neutral core.

What always holds here: the core's name of an instrument is "EXCHANGE:TRADINGSYMBOL"; a token names one contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ..core.instruments import INDIAN, Instrument
from ..core.numbers import ZERO

EQUITY, FUTURE, CALL = "EQ", "FUT", "CE"
_EXPIRY = date(2027, 12, 28)


@dataclass(frozen=True, slots=True)
class Contract:
    """One row of the instrument list. The lot is the item's `minimum_units`, the freeze its `maximum_units`."""

    item: Instrument
    token: int
    kind: str
    segment: str
    expiry: date | None = None
    strike: Decimal = ZERO
    isin: str = ""

    @property
    def exchange(self) -> str:
        """NSE or NFO."""
        return self.item.name.partition(":")[0]

    @property
    def symbol(self) -> str:
        """The trading symbol."""
        return self.item.name.partition(":")[2]

    @property
    def exchange_token(self) -> int:
        """The exchange's own number."""
        return self.token >> 8

    @property
    def name(self) -> str:
        """The company's or the underlying's name."""
        return self.item.display_name

    def __str__(self) -> str:
        return self.item.name


CONTRACTS: dict[str, Contract] = {
    one.item.name: one
    for one in (
        Contract(INDIAN["NSE:INFY"], 408065, EQUITY, "NSE", isin="INE009A01021"),
        Contract(INDIAN["NSE:RELIANCE"], 738561, EQUITY, "NSE", isin="INE002A01018"),
        Contract(INDIAN["NSE:YESBANK"], 3050241, EQUITY, "NSE", isin="INE528G01035"),
        Contract(INDIAN["NFO:NIFTY27DECFUT"], 13568258, FUTURE, "NFO-FUT", _EXPIRY),
        Contract(INDIAN["NFO:NIFTY27DEC26000CE"], 13571842, CALL, "NFO-OPT", _EXPIRY, Decimal(26000)),
    )
}
_TOKENS = {one.token: one for one in CONTRACTS.values()}


def by_token(token: int) -> Contract | None:
    """The contract with this instrument token."""
    return _TOKENS.get(token)
