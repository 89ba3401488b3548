"""The course of the demo day: wait for the desk, plant what differs, hide a fill until its case is open.

What always holds: each difference is planted once in the life of the desk's data, however often the day is started,
because planting leaves an audit event; a hidden fill is always revealed in the end; nothing here touches the books.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction

from backoffice.demo.differences import AT_ONCE, Difference, hide_next_fill, reveal
from reconciliation.models import Discrepancy, Run
from reconciliation.services.runs import STARTUP
from trading.brokers.simulator_control import SimulatorControl
from trading.engine.desk import VENUES, session_of
from trading.models import Account, AuditEvent, Order, Restriction
from trading.services import audit
from trading.services.audit import Actor

ACTOR = Actor.system("demo", via="command")
PLANTED, REVEALED = "demo.planted", "demo.revealed"
HIDDEN_FILL = "hidden_fill"
SAID_HIDDEN = "the next fill of ours will be missing from the broker's history until its case is open"
HIDING = "desk-alpaca"
PAUSE = 1.0


class DemoStopped(Exception):
    """The day cannot go on. The message says why and what to do."""


@dataclass(slots=True)
class Day:
    """One demo day. `tell` says a sentence to the person who watches."""

    control: SimulatorControl
    tell: Callable[[str], None]
    patience_seconds: float = 900.0

    def run(self) -> None:
        """Plant everything that has not been planted yet. Raises DemoStopped."""
        self.until(self._accounts_are_ready, 180, "the accounts are reconciled for the first time")
        for difference in AT_ONCE:
            if not was(PLANTED, difference.key):
                self._plant(difference)
        if not was(PLANTED, HIDDEN_FILL):
            self._hide_a_fill()
        if not was(REVEALED, HIDDEN_FILL):
            self._reveal_the_fill()

    def _plant(self, difference: Difference) -> None:
        account = Account.objects.get(name=difference.account)
        difference.make(self.control, account.external_id)
        note(PLANTED, difference.key, account, difference.said)
        self.tell(f"{account.name}: {difference.said}. A case opens after two complete runs.")

    def _hide_a_fill(self) -> None:
        """Alpaca keeps fills apart from orders, so one can be late while everything else is there."""
        account = Account.objects.get(name=HIDING)
        hide_next_fill(self.control, _traded_by_strategies())
        note(PLANTED, HIDDEN_FILL, account, SAID_HIDDEN)
        self.tell(f"{account.name}: {SAID_HIDDEN}.")

    def _reveal_the_fill(self) -> None:
        account = Account.objects.get(name=HIDING)
        planted = AuditEvent.objects.filter(kind=PLANTED, after__difference=HIDDEN_FILL).latest("id")
        try:
            self.until(
                lambda: _case_about_a_fill(account, planted), self.patience_seconds, "the case of the hidden fill opens"
            )
        finally:
            reveal(self.control)
        note(REVEALED, HIDDEN_FILL, account, "the broker's history shows it again")
        self.tell(f"{account.name}: the fill is in the broker's history now, and its case offers to book it.")

    def until(self, what: Callable[[], object], seconds: float, meaning: str) -> None:
        """Wait for something to become true. Raises DemoStopped when it does not in time."""
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                raise DemoStopped(
                    f"Not within {seconds:g} seconds: {meaning}. What was planted stays; start `manage.py demo` again "
                    "once the desk runs well (its logs are in var/log)."
                )
            time.sleep(PAUSE)

    def _accounts_are_ready(self) -> bool:
        names = {difference.account for difference in AT_ONCE}
        accounts = list(Account.objects.filter(name__in=names, is_active=True))
        if len(accounts) < len(names):
            return False
        waiting = Restriction.objects.filter(account__in=accounts, source=STARTUP, lifted_at=None)
        ran = all(Run.objects.filter(account=row, status=Run.Status.COMPLETE).exists() for row in accounts)
        return ran and not waiting.exists()


@transaction.atomic
def note(kind: str, key: str, account: Account, said: str) -> None:
    """Leave the trace by which a later start knows what was done."""
    audit.record(kind=kind, actor=ACTOR, account=account, obj=account, after={"difference": key}, reason=said)


def was(kind: str, key: str) -> bool:
    """Whether this was done before on this desk's data."""
    return AuditEvent.objects.filter(kind=kind, after__difference=key).exists()


def _traded_by_strategies() -> tuple[str, ...]:
    """The shares that strategies trade; what people order about other ones must never be hidden."""
    session = session_of(VENUES[1])
    return session.symbols if session is not None else ()


def _case_about_a_fill(account: Account, planted: AuditEvent) -> bool:
    """A confirmed case about an instrument that strategies trade, since the fill was hidden."""
    traded = Order.objects.filter(account=account, decision__isnull=False).values("instrument")
    return Discrepancy.objects.filter(
        account=account,
        instrument__in=traded,
        state__in=[Discrepancy.State.OPEN, Discrepancy.State.PROPOSED],
        last_run__recorded_at__gt=planted.recorded_at,
    ).exists()
