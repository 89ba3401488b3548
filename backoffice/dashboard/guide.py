"""The strip that leads a newcomer through the demo: five steps, decided from the facts alone.

What always holds: it is shown only while the desk runs its demo (BACKOFFICE_DEMO) on an account at a simulator; it
remembers nothing of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from reconciliation.admin.titles import about
from reconciliation.models import Discrepancy
from trading.models import Account, Approval, User

from .attention import case_url
from .desk_facts import AccountLine

STATE = Discrepancy.State
STEPS = ("A difference appears", "Propose a resolution", "A second person approves", "The next run checks", "Resolved")
APPROVER, PROPOSER = "bob", "ada"


@dataclass(frozen=True, slots=True)
class Guide:
    """Which step the demo stands at (0 is the first), what to do now, and the button that does it.

    `sign_out_for` names the person to sign in as instead; the button then signs out first and comes back to `url`.
    """

    step: int
    says: str
    button: str = ""
    url: str = ""
    sign_out_for: str = ""

    @property
    def steps(self) -> list[tuple[int, str, str]]:
        """Each step's number, name and standing: done, now or next."""
        last = len(STEPS) - 1
        return [
            (n + 1, name, "done" if n < self.step or self.step == n == last else "now" if n == self.step else "next")
            for n, name in enumerate(STEPS)
        ]


def guide(lines: list[AccountLine], user: User) -> Guide | None:
    """The strip for this person now; None outside the demo."""
    demo = [line.account for line in lines if line.account.environment == Account.Environment.SIMULATOR]
    if not settings.BACKOFFICE_DEMO or not demo:
        return None
    rows = list(
        Discrepancy.objects.filter(account__in=demo)
        .exclude(state=STATE.CLEARED)
        .select_related("account", "instrument", "proposal__proposer")
        .order_by("opened_at", "id")
    )
    by_state = {state: [row for row in rows if row.state == state] for state in STATE}
    resolved = [row for row in by_state[STATE.CLOSED] if row.proposal_id is not None]
    under_way = by_state[STATE.APPROVED] + by_state[STATE.APPLIED]
    if under_way:
        return Guide(3, _NEXT_RUN, "Watch the case", case_url(under_way[0].pk))
    if by_state[STATE.PROPOSED]:
        return _waiting(by_state[STATE.PROPOSED], user)
    if resolved:
        return _resolved(resolved[-1], by_state[STATE.OPEN])
    if by_state[STATE.OPEN]:
        return _open(by_state[STATE.OPEN][0], user)
    return Guide(0, _SUSPECTED if by_state[STATE.SUSPECTED] else _PLANTED)


_PLANTED = (
    "The strategies are trading on simulated brokers. A difference between the broker and the books is being planted; "
    "it opens after two reconciliations have seen it."
)
_SUSPECTED = "A first reconciliation has seen a difference. It opens as a case when the next one confirms it."
_NEXT_RUN = "Approved and booked. The next reconciliation compares again, and only that closes the case."


def _open(case: Discrepancy, user: User) -> Guide:
    found = f"{case.account.name} and its broker do not agree about {about(case)}. "
    if user.has_perm("trading.propose"):
        return Guide(
            1, f"{found}Look at what differs and propose what to do.", "Look at the first case", case_url(case.pk)
        )
    says = f"{found}You may look; proposing is for an operator."
    return Guide(1, says, f"Sign in as {PROPOSER} to propose", case_url(case.pk), PROPOSER)


def _waiting(cases: list[Discrepancy], user: User) -> Guide:
    may = user.has_perm("trading.approve")
    for case in cases:
        proposer = case.proposal.proposer if case.proposal is not None else None
        if proposer is not None and may and proposer.person_id != user.person_id:
            says = f"{proposer.get_username()} proposed a resolution. You are the second person: check it and decide."
            return Guide(2, says, "Review the proposal", case_url(case.pk))
    case = cases[0]
    own = case.proposal is not None and case.proposal.proposer.person_id == user.person_id
    says = "You proposed it, so you cannot approve it: " if own else "It waits for an approver: "
    return Guide(
        2, f"{says}a second person must decide.", f"Sign in as {APPROVER} to approve", case_url(case.pk), APPROVER
    )


def _resolved(case: Discrepancy, still_open: list[Discrepancy]) -> Guide:
    people = Approval.objects.filter(proposal=case.proposal).select_related("approver")
    approver = ", ".join(sorted({verdict.approver.get_username() for verdict in people}))
    proposer = case.proposal.proposer.get_username() if case.proposal is not None else ""
    more = len(still_open)
    left = f" {more} more case{'s wait' if more > 1 else ' waits'} below." if more else ""
    says = f"Books and broker agree again: {proposer} proposed, {approver} approved, a later run closed it.{left}"
    return Guide(4, says, "See its timeline", f"{case_url(case.pk)}#timeline")
