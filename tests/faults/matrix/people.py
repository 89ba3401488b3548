"""The two people who end an order that nothing can find: one proposes, the other approves.

What always holds here: they act through the product's own case of the order, which two complete runs of reconciliation
open; nothing is decided about an order that is found meanwhile.
"""

from __future__ import annotations

from django.contrib.auth.models import Group

from reconciliation.domain.kinds import Kind
from reconciliation.engine.applications import sweep
from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy, Run
from reconciliation.services import resolutions
from tests.faults.world import World
from trading.models import Order, Person, User
from trading.services.audit import Actor

ACTOR = Actor.system("matrix", via="command")


def decide(world: World, order: Order) -> None:
    """Two people say that the broker never had this order.

    Raises AssertionError when no case about it is open, or what they approved was not carried out; ask again then.
    """
    if sweep(world.account):
        return  # approved before
    for _ in range(2):
        run_reconciliation(account=world.account, trigger=Run.Trigger.MANUAL)
    case = Discrepancy.objects.filter(
        account=world.account, kind=Kind.ORDER_UNCONFIRMED, key=f"order:{order.client_order_id}", state="OPEN"
    ).first()
    assert case is not None, f"no case is open about {order.client_order_id}"
    proposal = resolutions.propose(
        discrepancy_id=case.pk,
        action="accept",
        reason="the broker's order book does not have it",
        proposer=_user("ada", "operator"),
        actor=ACTOR,
    )
    resolutions.approve(
        proposal_id=proposal.pk,
        approver=_user("bob", "approver"),
        payload_sha256=proposal.payload_sha256,
        subject_version=proposal.subject_version,
        reason="looked there, too",
        actor=ACTOR,
    )
    assert sweep(world.account), f"what was approved about {order.client_order_id} was not carried out"


def _user(name: str, group: str) -> User:
    """Somebody of that group, made on first use."""
    found = User.objects.filter(username=name).first()
    if found is None:
        person = Person.objects.create(name=name)
        found = User.objects.create_user(name, password="x", person=person, is_staff=True)
        found.groups.add(Group.objects.get(name=group))
    return found
