"""The formats that can be read, and which of them a file is: the one door to the readers.

What always holds here: pure; a file is read in one format, the one that was named or the only one that it looks like;
whatever is wrong with a file is a `BadStatement`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from . import alpaca, generic, kite, oanda
from .document import About, BadStatement, Document, Draft, checked
from .text import Table, decoded, document, table

_CSV: Mapping[str, tuple[Callable[[Table], bool], Callable[[Table, About], Draft]]] = MappingProxyType(
    {
        generic.NAME: (generic.fits, generic.read),
        oanda.CSV: (oanda.fits, oanda.read),
        alpaca.CSV: (alpaca.fits, alpaca.read),
        kite.TRADEBOOK: (kite.fits_tradebook, kite.read_tradebook),
        kite.LEDGER: (kite.fits_ledger, kite.read_ledger),
    }
)
_JSON: Mapping[str, tuple[Callable[[Any], bool], Callable[[Any, About], Draft]]] = MappingProxyType(
    {oanda.JSON: (oanda.fits_json, oanda.read_json), alpaca.JSON: (alpaca.fits_json, alpaca.read_json)}
)
FORMATS = (*_CSV, *_JSON)


def read(text: str, about: About, named: str = "") -> Document:
    """What a file says of an account. `named` is its format, "" to see from the file. Raises `BadStatement`."""
    if named and named not in FORMATS:
        raise BadStatement(f"The format {named!r:.40} is not known; known are {', '.join(FORMATS)}.")
    is_json = text.lstrip().startswith(("{", "["))
    if is_json:
        return checked(_one(_JSON, document(text), about, named), about)
    return checked(_one(_CSV, table(text), about, named), about)


def read_bytes(body: bytes, about: About, named: str = "") -> Document:
    """The same from the bytes of the file."""
    return read(decoded(body), about, named)


def _one(
    known: Mapping[str, tuple[Callable[[Any], bool], Callable[[Any, About], Draft]]],
    found: Any,
    about: About,
    named: str,
) -> Draft:
    for name, (fits, reader) in known.items():
        if (not named or name == named) and fits(found):
            return reader(found, about)
    wanted = named or "any known format"
    raise BadStatement(
        f"It does not look like {wanted}: its header or first row is another one. docs/statements.md shows what fits."
    )
