"""What a case is called on pages: its kind in words, and the instrument it is about.

What always holds: a key that is no instrument and no currency is shortened here; the page of the case has the whole of
it.
"""

from reconciliation.domain.kinds import Kind, family
from reconciliation.models import Discrepancy
from trading.admin import values

ABOUT_CASH = ("CASH", "CASH_EVENT")
LONGEST = 24


def kind_of(case: Discrepancy) -> str:
    """Its kind, in words."""
    return values.words(case.kind)


def about(case: Discrepancy) -> str:
    """The instrument, or else the currency, order or event, a long name shortened in the middle."""
    if case.instrument is not None:
        return str(case.instrument)
    key = case.key if len(case.key) <= LONGEST else f"{case.key[: LONGEST - 9]}…{case.key[-8:]}"
    return case.commodity if is_about_cash(case) and case.commodity and len(case.key) > LONGEST else key


def title_of_case(case: Discrepancy) -> str:
    """`Missing fill: USDJPY`."""
    return f"{kind_of(case)}: {about(case)}"


def is_about_cash(case: Discrepancy) -> bool:
    """Whether what differs is cash; a kind of an older version is none."""
    return case.kind in list(Kind) and family(Kind(case.kind)) in ABOUT_CASH


def is_money(case: Discrepancy) -> bool:
    """Whether its numbers are amounts of money, not units or prices."""
    return case.instrument_id is None and is_about_cash(case)


values.NAMES[Discrepancy] = title_of_case
