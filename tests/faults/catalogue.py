"""The catalogue of faults on the wire, in content, in time and in the books: what each is, and where it cannot happen.

What always holds: `ROWS` names every row once; a row that does not apply to a broker says why, and no row is left out
without such a reason; what no test shows yet stands in `OPEN` with what it waits for. Tests say by their marker `fault`
which rows they show; `marks` reads the markers.
"""

from __future__ import annotations

from tests.faults.places import BY_NAME

WIRE = {
    "F-001": "accepted, then closed without a byte",
    "F-002": "accepted, then reset",
    "F-003": "closed before the request was read",
    "F-004": "accepted, answered 504 again and again",
    "F-005": "answered 504 and not accepted",
    "F-006": "answered 504 and accepted later",
    "F-007": "accepted, and no answer for longer than the deadline",
    "F-008": "accepted, and the answer drips byte by byte",
    "F-009": "accepted, and the answer breaks off",
    "F-010": "redirected to another address",
    "F-011": "502 with a page, 502 without a type, 200 and 204 without a body",
    "F-012": "500 with the body of a success",
    "F-013": "accepted with 200 instead of 201",
    "F-014": "429 with and without a time to wait, on every route",
    "F-015": "connections refused",
    "F-016": "a certificate that is not trusted, a name that does not resolve",
    "F-017": "a kept connection that was closed between two requests",
    "F-018": "the answer to another order",
    "F-019": "the client id exists already",
    "F-020": "our request arrives twice",
}
CONTENT = {
    "F-021": "numbers that are none: NaN, infinities, text, nothing",
    "F-022": "numbers of more places than can be kept",
    "F-023": "numbers that binary fractions have blurred",
    "F-024": "a status, side or kind that nobody knows",
    "F-025": "fields missing, added, of another type",
    "F-026": "filled below zero, or more than was ordered",
    "F-027": "filled quantity that shrinks",
    "F-028": "a fill at a price of zero, below zero, or a hundred times off",
    "F-029": "a fill of the other side",
    "F-030": "an id that is used again for something else",
    "F-031": "cash in no, another or an unknown currency",
    "F-032": "an instrument under another name",
    "F-033": "the answer is about another account",
    "F-034": "a live host for a paper account, and the reverse",
    "F-035": "bodies that are huge, compressed bombs, or nested without end",
    "F-036": "text that is no text, or means something to a terminal or a spreadsheet",
    "F-037": "times without zone, of other centuries, or too exact",
    "F-038": "a page of somebody else, and an empty answer for positions",
}
BEHAVIOUR = {
    "F-039": "a fill before the answer to its order",
    "F-040": "fills and transactions out of order",
    "F-041": "the same fill by stream, poll and history",
    "F-042": "a position before its fill",
    "F-043": "a partial fill and a cancel",
    "F-044": "a cancel that does not end its order",
    "F-045": "an order that goes on under another id",
    "F-046": "an order that fills and leaves the list of open ones",
    "F-047": "yesterday's orders are not listed any more",
    "F-048": "pages that shift, repeat, end early or run in circles",
    "F-049": "reads that lag behind writes",
    "F-050": "positions that come and go",
    "F-051": "busts, corrections, fees, financing, dividends, closeouts",
    "F-052": "an order that somebody else placed",
    "F-053": "refusals: margin, closed market, too small, unknown",
    "F-054": "stop and target both fill",
    "F-055": "the other leg cannot be cancelled",
    "F-056": "a key that expires",
    "F-057": "a broker that shows an older state than before",
}
BOOKS = {
    "F-094": "books of an old backup under a broker that has gone on",
    "F-103": "amounts off by almost nothing or by everything, another sign, two errors that cancel out",
    "F-104": "a balance below zero, interest on it, a remainder below one step",
    "F-105": "another base currency, and one without places",
    "F-106": "a fee charged late and given back, thirds that leave a rest",
    "F-107": "a reversal of a reversal, a reversal twice, an entry into a closed day",
    "F-108": "a difference that appears, goes and comes back",
    "F-109": "thousands of differences in one run",
    "F-110": "a run that never ends, runs that overlap",
    "F-111": "the same broken input for a hundred runs",
    "F-112": "the same inputs twice",
}
ROWS = {**WIRE, **CONTENT, **BEHAVIOUR, **BOOKS}
OPEN: dict[str, str] = {}
BROKERS = tuple(BY_NAME)

_OWN_CLOCK = "its history has no day roll: orders of earlier days stay listed"
NOT_APPLICABLE: dict[tuple[str, str], str] = {
    ("F-013", "alpaca"): "answers 200 by its own specification",
    ("F-013", "kite"): "answers 200 by its own specification",
    ("F-019", "kite"): "has no client id that could exist already; its tag is not unique at the broker",
    ("F-031", "kite"): "its lists name neither a currency nor movements of cash: all of it is in rupees",
    ("F-031", "oanda"): "its transactions name no currency: all cash is in the account's own",
    ("F-045", "kite"): "an order that is changed there keeps its id",
    ("F-047", "oanda"): _OWN_CLOCK,
    ("F-047", "alpaca"): _OWN_CLOCK,
    ("F-055", "alpaca"): "its bracket ends the other leg by itself; one that lives on and fills is F-054",
}


def applicable(row: str) -> tuple[str, ...]:
    """The brokers at which a row of the catalogue can happen and is to be shown."""
    return () if row in OPEN else tuple(broker for broker in BROKERS if (row, broker) not in NOT_APPLICABLE)
