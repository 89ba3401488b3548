"""Restrictions: the trading state of an account, strategy or instrument is the strictest live one."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from trading.clock import now, wall_now
from trading.locks import lock_account
from trading.models import Account, Instrument, Restriction

from . import audit
from .audit import Actor

OPEN, REDUCE_ONLY, CLOSED = "OPEN", "REDUCE_ONLY", "CLOSED"
RECONCILIATION = "reconciliation"
"""The source of the locks that open differences put."""
_STRICTNESS = {OPEN: 0, REDUCE_ONLY: 1, CLOSED: 2}


def trading_state(
    account: Account, strategy: str = "", instrument: Instrument | None = None, at: datetime | None = None
) -> tuple[str, list[str]]:
    """The strictest live level for this account (and strategy, instrument), and the reasons in words."""
    moment = at or now(account)
    live = (
        Restriction.objects.filter(lifted_at=None)
        .filter(Q(account=None) | Q(account=account))
        .filter(Q(strategy="") | Q(strategy=strategy))
        .filter(Q(instrument=None) | Q(instrument=instrument))
        .filter(Q(until=None) | Q(until__gt=moment))
        .order_by("id")
    )
    state, reasons = OPEN, []
    for restriction in live:
        reasons.append(f"{restriction.source}: {restriction.reason}")
        if _STRICTNESS[restriction.level] > _STRICTNESS[state]:
            state = restriction.level
    return state, reasons


def locked_since(account: Account, instrument: Instrument, *, source: str) -> datetime | None:
    """Since when, on the account's clock, this source has locked the instrument on this account; None if it has not."""
    standing = Restriction.objects.filter(account=account, instrument=instrument, source=source, lifted_at=None)
    return standing.order_by("at").values_list("at", flat=True).first()


@transaction.atomic
def restrict(
    *,
    account: Account | None = None,
    strategy: str = "",
    instrument: Instrument | None = None,
    level: str,
    source: str,
    reason: str,
    at: datetime | None = None,
    until: datetime | None = None,
    actor: Actor,
) -> Restriction:
    """Put a restriction; one that stands already (same scope, level, source) is returned as it is."""
    if account is not None:
        lock_account(account.pk)
    standing = Restriction.objects.filter(
        account=account,
        strategy=strategy,
        instrument=instrument,
        level=level,
        source=source,
        lifted_at=None,
        until=until,
    ).first()
    if standing is not None:
        return standing
    moment = at or (now(account) if account is not None else wall_now())
    row = Restriction.objects.create(
        account=account,
        strategy=strategy,
        instrument=instrument,
        level=level,
        source=source,
        reason=reason[:300],
        at=moment,
        until=until,
    )
    audit.record(
        kind="restriction.put",
        actor=actor,
        account=account,
        obj=row,
        after=_facts(row),
        reason=reason,
    )
    return row


def _facts(row: Restriction) -> dict[str, object]:
    """What the trail tells of a restriction that stands."""
    return {
        "level": row.level,
        "source": row.source,
        "strategy": row.strategy,
        "instrument": row.instrument.symbol if row.instrument is not None else "",
        "until": row.until,
    }


@transaction.atomic
def lift(*, restriction: Restriction, actor: Actor, reason: str) -> None:
    """Lift a restriction; lifting one that is lifted already changes nothing."""
    if restriction.account_id is not None:
        lock_account(restriction.account_id)
    row = Restriction.objects.select_for_update(no_key=True).get(pk=restriction.pk)
    before = {**_facts(row), "lifted_at": None}
    if row.lifted_at is not None:
        return
    row.lifted_at = wall_now()
    row.lifted_by = actor.user
    row.lift_reason = reason[:300]
    row.save(update_fields=["lifted_at", "lifted_by", "lift_reason"])
    after = {"lifted_at": row.lifted_at, "lift_reason": row.lift_reason}
    audit.record(
        kind="restriction.lifted", actor=actor, account=row.account, obj=row, before=before, after=after, reason=reason
    )
