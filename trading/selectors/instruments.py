"""Instruments by our name or a broker's."""

from __future__ import annotations

from dataclasses import replace

from trading.domain.instruments import BUILT_IN, InstrumentSpec
from trading.models import Account, Instrument, InstrumentAlias


class UnmappedInstrument(LookupError):
    """The broker names an instrument that we do not know: nothing is booked under a guess."""


def instrument_for(account: Account, broker_symbol: str) -> Instrument:
    """Our instrument for a broker's symbol. Raises UnmappedInstrument."""
    if account.is_paper_book:
        found = Instrument.objects.filter(symbol=broker_symbol).first()
    else:
        alias = (
            InstrumentAlias.objects.filter(broker=account.broker, symbol=broker_symbol, valid_until=None)
            .select_related("instrument")
            .first()
        )
        found = alias.instrument if alias else None
    if found is None:
        raise UnmappedInstrument(
            f"{account.broker} names {broker_symbol}, which is no instrument of ours: its events stay in the inbox, "
            "unbooked, and the difference is shown as a case to decide on."
        )
    return found


def spec_of(instrument: Instrument) -> InstrumentSpec:
    """What the domain must know of an instrument: as built in, with the tick and the freeze quantity of today."""
    built_in = BUILT_IN[instrument.symbol]
    return replace(built_in, tick_size=instrument.tick_size, freeze_quantity=instrument.freeze_quantity)


def broker_symbol(account: Account, instrument: Instrument) -> str:
    """The broker's symbol for our instrument. Raises UnmappedInstrument."""
    if account.is_paper_book:
        return str(instrument.symbol)
    alias = InstrumentAlias.objects.filter(broker=account.broker, instrument=instrument, valid_until=None).first()
    if alias is None:
        raise UnmappedInstrument(
            f"{instrument.symbol} has no name at {account.broker}: nothing of it can be sent there."
        )
    return str(alias.symbol)
