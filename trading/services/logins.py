"""What only a person can put right at a broker, said once: a login that is needed, an order that nothing can find.

What always holds: each is one CRITICAL message for people (once a day for a login that is still needed); an account
whose broker turns us away takes no new risk until it lets us in again, and one whose broker speaks of another account
until a person has looked; no order is sent or moved here.
"""

from __future__ import annotations

from django.db import transaction

from trading.clock import wall_now
from trading.domain.broker import BrokerNeedsLogin, BrokerOtherAccount
from trading.models import Account, Order, Restriction

from .audit import Actor
from .notifications import note
from .restrictions import REDUCE_ONLY, lift, restrict

LOGIN, OTHER_ACCOUNT = "login", "other account"
"""Sources of restrictions: the first is lifted when the broker lets us in again, the second by a person."""
ACTOR = Actor.system("logins")


def turned_away(account: Account, error: BrokerNeedsLogin) -> None:
    """A read was turned away, or its answer was about another account: stop entries, and tell people."""
    if isinstance(error, BrokerOtherAccount):
        other_account(account, str(error))
    else:
        needs_login(account, str(error))


@transaction.atomic
def needs_login(account: Account, said: str) -> None:
    """The broker turns our credentials away; `said` is the adapter's sentence of what to do about it."""
    restrict(account=account, level=REDUCE_ONLY, source=LOGIN, reason=said, actor=ACTOR)
    key = f"needs-login:{account.pk}:{wall_now():%Y%m%d}"
    text = (
        f"{account.name}: {said} No new risk is taken, and orders that were not sent wait under their ids; nothing of "
        "them is lost. Nothing can be cancelled or closed from here either: what cannot wait must be done in the "
        "broker's own application, or by telephone."
    )
    note(key=key, text=text, level="CRITICAL")


@transaction.atomic
def other_account(account: Account, said: str) -> None:
    """An answer was about another account than this; `said` is the adapter's sentence of what it was. Said once."""
    standing = restrict(account=account, level=REDUCE_ONLY, source=OTHER_ACCOUNT, reason=said, actor=ACTOR)
    text = (
        f"{account.name}: the broker answers about another account. {said} Entries are blocked; find out whose answer "
        "that was, look at both accounts, and then lift the restriction."
    )
    note(key=f"other-account:{account.pk}:{standing.pk}", text=text, level="CRITICAL")


def waiting() -> list[Account]:
    """Active accounts that wait for a login."""
    found = Account.objects.filter(is_active=True, restrictions__source=LOGIN, restrictions__lifted_at=None)
    return list(found.distinct().order_by("pk"))


@transaction.atomic
def let_in(account: Account) -> None:
    """The broker has answered a signed question again: entries go on."""
    for standing in Restriction.objects.filter(account=account, source=LOGIN, lifted_at=None).order_by("pk"):
        lift(restriction=standing, actor=ACTOR, reason="the broker accepts our credentials again")


def person_must_decide(order: Order, said: str) -> None:
    """An order that may live or not, at a broker where sending it again could make a second one."""
    text = (
        f"{order.account.name}: nobody knows whether the broker has order {order.client_order_id} ({order.side} "
        f"{order.quantity.normalize():f} {order.instrument.symbol}). It is not sent again by itself, because nothing "
        f"there would recognise a copy ({said}). Look at the broker, and decide in the case of this order."
    )
    note(key=f"order-unknown:{order.pk}", text=text, level="CRITICAL")
