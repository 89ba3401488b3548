"""What a case is called on pages: its kind in words, the instrument it is about, and how its term stands.

What always holds: a key that is no instrument and no currency is shortened here; the page of the case has the whole of
it.
"""

from datetime import datetime

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from reconciliation.domain.kinds import Kind, family
from reconciliation.models import Discrepancy
from reconciliation.selectors.discrepancies import due
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


def term(case: Discrepancy, at: datetime, before: str = "") -> SafeString:
    """`in 3 h 5 m` (after `before`), `overdue 12 m`, or nothing where nobody has to decide; the moment on hover."""
    until = due(case)
    if until is None:
        return values.NOTHING
    is_late = at > until
    said = f"overdue {values.span(at - until)}" if is_late else f"{before}in {values.span(until - at)}"
    shape = '<span class="nowrap{}" title="a {} case is decided by {} UTC">{}</span>'
    return format_html(shape, " bad" if is_late else "", case.severity.lower(), values.moment(until), said)


def with_labels(case: Discrepancy, first: SafeString) -> SafeString:
    """The labels of a case after what comes first."""
    return format_html_join(" ", "{}", ((part,) for part in (first, *map(values.pill, case.labels))))


def is_about_cash(case: Discrepancy) -> bool:
    """Whether what differs is cash; a kind of an older version is none."""
    return case.kind in list(Kind) and family(Kind(case.kind)) in ABOUT_CASH


def is_money(case: Discrepancy) -> bool:
    """Whether its numbers are amounts of money, not units or prices."""
    return case.instrument_id is None and is_about_cash(case)


values.NAMES[Discrepancy] = title_of_case
