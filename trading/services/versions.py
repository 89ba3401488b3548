"""What was booked of one thing that the broker said, and what may be booked of it again.

What always holds: it is booked under the broker's own id first; after that was taken back, under the id with `~` and a
number, so that at most the last one stands; nothing that two people took back, or that falls into a day that two people
signed off, is booked again by one program.
"""

from __future__ import annotations

from trading.domain.broker import CashData, EventKind
from trading.domain.money import ZERO
from trading.models import Account, BrokerEvent, CashEvent, Entry, Fill
from trading.selectors.lot_history import RESTATED

from . import audit, periods
from .audit import Actor
from .errors import RuleBroken


def named(external_id: str, earlier: int) -> str:
    """The id under which something of the broker's is booked that was booked `earlier` times before."""
    return f"{external_id}~{earlier}" if earlier else external_id


def base_id(external_id: str) -> str:
    """The broker's own id of what was booked more than once."""
    return external_id.partition("~")[0]


def fill_versions(account: Account, event: BrokerEvent, external_id: str) -> list[Fill]:
    """Every fill that was booked of one execution of the broker's, oldest first; at most the last one stands."""
    first = list(Fill.objects.filter(account=account, external_id=external_id))
    later = Fill.objects.filter(broker_event=event, external_id__startswith=f"{external_id}~")
    return [*first, *later.order_by("id")] if first else []


def cash_versions(account: Account, event: BrokerEvent, external_id: str) -> list[CashEvent]:
    """Every row that was booked of one movement of the broker's, oldest first; at most the last one stands."""
    first = list(CashEvent.objects.filter(account=account, external_id=external_id))
    later = CashEvent.objects.filter(broker_event=event, external_id__startswith=f"{external_id}~")
    return [*first, *later.order_by("id")] if first else []


def refuse_again(account: Account, event: BrokerEvent, earlier: str) -> None:
    """Nothing that two people took back, nor into a day that two people signed off, is booked without two people."""
    if earlier:
        raise RuleBroken(
            f"{account.name}: {earlier} of the broker's event {event.external_id} was taken back by two people: it is "
            "booked again only when two people approve it. Nothing was booked."
        )
    periods.must_be_open(account, event.at)


def refuse_half_a_conversion(account: Account, cash: CashData) -> None:
    if cash.kind is not EventKind.CONVERSION and cash.counter_amount is None:
        return
    sides = (cash.amount, cash.counter_amount or ZERO)
    if cash.kind is not EventKind.CONVERSION or cash.currency == cash.counter_currency or sides[0] * sides[1] >= 0:
        raise RuleBroken(
            f"{account.name}: the broker's {cash.kind} {cash.external_id} is no conversion that can be booked: one "
            "currency must be given and another received. Nothing was booked."
        )


def entry_of(row: Fill | CashEvent) -> Entry | None:
    """The entry that booked what was taken back; None for a movement of nothing."""
    own = row.entries.filter(reversals__isnull=False).exclude(kind=Entry.Kind.SETTLEMENT)
    found: Entry | None = own.exclude(idempotency_key__startswith=RESTATED).first()
    return found


def tell_replaced(entry: Entry, actor: Actor) -> None:
    """The audit's word of an entry that was booked in the place of another."""
    if entry.replaces is None or entry.application is None:
        return
    audit.record(
        kind="entry.replaced",
        actor=actor,
        account=entry.account,
        obj=entry.replaces,
        after={
            "entry": entry.pk,
            "replaces": entry.replaces_id,
            "kind": str(entry.kind),
            "proposal": entry.application.proposal_id,
        },
        reason=entry.application.proposal.reason,
    )
