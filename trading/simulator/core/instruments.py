"""The instruments that can be traded, with the limits a broker publishes for them.

What always holds here: prices are quoted in `quote`, units are of `base`; every number is a Decimal; a dialect serves
what is in `FOREX`, what is in `SHARES` or what is in `INDIAN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

SHARE = "EQUITY"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument. Prices have `price_decimals` decimals and, where `step` is set, are multiples of it;
    `volatility` is the relative move of a year.
    """

    name: str
    kind: str
    display_name: str
    base: str
    quote: str
    price_decimals: int
    pip_location: int
    unit_decimals: int
    minimum_units: Decimal
    maximum_units: Decimal
    margin_rate: Decimal
    minimum_trailing: Decimal
    maximum_trailing: Decimal
    around: Decimal
    half_spread: Decimal
    volatility: float
    step: Decimal | None = None

    @property
    def tick(self) -> Decimal:
        """The smallest step of the price."""
        return self.step or Decimal(1).scaleb(-self.price_decimals)

    def price(self, value: Decimal) -> Decimal:
        """A price rounded to the instrument's tick."""
        if self.step is not None:
            value = (value / self.step).quantize(Decimal(1), rounding=ROUND_HALF_UP) * self.step
        return value.quantize(Decimal(1).scaleb(-self.price_decimals), rounding=ROUND_HALF_UP)


def _currency(name: str, decimals: int, margin: str, around: str, half_spread: str, volatility: float) -> Instrument:
    base, quote = name.split("_")
    pip = 1 - decimals
    return Instrument(
        name=name,
        kind="CURRENCY",
        display_name=f"{base}/{quote}",
        base=base,
        quote=quote,
        price_decimals=decimals,
        pip_location=pip,
        unit_decimals=0,
        minimum_units=Decimal(1),
        maximum_units=Decimal(100_000_000),
        margin_rate=Decimal(margin),
        minimum_trailing=Decimal(5).scaleb(pip),
        maximum_trailing=Decimal(10_000).scaleb(pip),
        around=Decimal(around),
        half_spread=Decimal(half_spread),
        volatility=volatility,
    )


_GOLD = Instrument(
    name="XAU_USD",
    kind="METAL",
    display_name="Gold",
    base="XAU",
    quote="USD",
    price_decimals=3,
    pip_location=-2,
    unit_decimals=0,
    minimum_units=Decimal(1),
    maximum_units=Decimal(100_000),
    margin_rate=Decimal("0.05"),
    minimum_trailing=Decimal("0.050"),
    maximum_trailing=Decimal("100.000"),
    around=Decimal("2350"),
    half_spread=Decimal("0.150"),
    volatility=0.16,
)

FOREX: dict[str, Instrument] = {
    item.name: item
    for item in (
        _currency("EUR_USD", 5, "0.02", "1.0850", "0.00003", 0.08),
        _currency("GBP_USD", 5, "0.03", "1.2700", "0.00005", 0.09),
        _currency("USD_JPY", 3, "0.03", "149.50", "0.004", 0.10),
        _currency("EUR_GBP", 5, "0.03", "0.8540", "0.00005", 0.06),
        _currency("AUD_USD", 5, "0.03", "0.6600", "0.00005", 0.10),
        _currency("USD_CHF", 5, "0.04", "0.8800", "0.00006", 0.08),
        _currency("USD_CAD", 5, "0.02", "1.3650", "0.00006", 0.07),
        _currency("EUR_JPY", 3, "0.03", "162.20", "0.006", 0.09),
        _GOLD,
    )
}


def _share(name: str, display_name: str, around: str, half_spread: str, volatility: float) -> Instrument:
    return Instrument(
        name=name,
        kind=SHARE,
        display_name=display_name,
        base=name,
        quote="USD",
        price_decimals=2,
        pip_location=-2,
        unit_decimals=9,
        minimum_units=Decimal("0.000000001"),
        maximum_units=Decimal(1_000_000),
        margin_rate=Decimal(1),
        minimum_trailing=Decimal("0.01"),
        maximum_trailing=Decimal(100_000),
        around=Decimal(around),
        half_spread=Decimal(half_spread),
        volatility=volatility,
    )


SHARES: dict[str, Instrument] = {
    item.name: item
    for item in (
        _share("AAPL", "Apple Inc. Common Stock", "225.00", "0.01", 0.28),
        _share("GOOG", "Alphabet Inc. Class C Capital Stock", "170.00", "0.01", 0.30),
        _share("IBM", "International Business Machines Corporation Common Stock", "215.00", "0.02", 0.22),
        _share("MSFT", "Microsoft Corporation Common Stock", "420.00", "0.02", 0.25),
        _share("SPY", "SPDR S&P 500 ETF Trust", "550.00", "0.01", 0.16),
    )
}


def _indian(
    name: str, kind: str, display_name: str, lot: int, freeze: int, margin: str, around: str, volatility: float
) -> Instrument:
    return Instrument(
        name=name,
        kind=kind,
        display_name=display_name,
        base=name,
        quote="INR",
        price_decimals=2,
        pip_location=-2,
        unit_decimals=0,
        minimum_units=Decimal(lot),
        maximum_units=Decimal(freeze),
        margin_rate=Decimal(margin),
        minimum_trailing=Decimal("0.05"),
        maximum_trailing=Decimal(100_000),
        around=Decimal(around),
        half_spread=Decimal("0.05"),
        volatility=volatility,
        step=Decimal("0.05"),
    )


# `minimum_units` is the lot, `maximum_units` the freeze quantity: what the exchange takes in one order.
INDIAN: dict[str, Instrument] = {
    item.name: item
    for item in (
        _indian("NSE:INFY", SHARE, "INFOSYS", 1, 100_000, "0.20", "1500.00", 0.25),
        _indian("NSE:RELIANCE", SHARE, "RELIANCE INDUSTRIES", 1, 100_000, "0.20", "2900.00", 0.24),
        _indian("NSE:YESBANK", SHARE, "YES BANK", 1, 20_000, "0.20", "22.00", 0.40),
        _indian("NFO:NIFTY27DECFUT", "FUTURE", "NIFTY", 75, 1_800, "0.12", "26200.00", 0.14),
        _indian("NFO:NIFTY27DEC26000CE", "OPTION", "NIFTY", 75, 1_800, "0.12", "1150.00", 0.60),
    )
}

INSTRUMENTS: dict[str, Instrument] = {**FOREX, **SHARES, **INDIAN}


def find_instrument(symbol: str) -> Instrument | None:
    """The instrument with this name, also when written without its separator (EURUSD for EUR_USD)."""
    wanted = symbol.upper().replace("/", "_")
    if wanted in INSTRUMENTS:
        return INSTRUMENTS[wanted]
    return next((item for name, item in INSTRUMENTS.items() if name.replace("_", "") == wanted), None)
