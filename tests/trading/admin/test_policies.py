"""An account's policy is changed by two people, on a page that says what would be different."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from backoffice.verification import INVARIANTS, check
from tests.trading.admin.world import World
from trading.domain.policy_words import policy_text
from trading.models import Account, Application, AuditEvent, ConfigVersion, Proposal, User
from trading.selectors.policies import policy_of, standing_policy
from trading.services import approvals, policies
from trading.services.audit import Actor
from trading.services.errors import RuleBroken
from trading.services.setup import ensure_version

SignIn = Callable[[str], Client]
TEST = Actor.system("a test", via="command")


def text_with(account: Account, **changed: object) -> str:
    """The account's policy as its file writes it, with other values."""
    text = policy_text(policy_of(account))
    for name, value in changed.items():
        lines = text.splitlines()
        [place] = [number for number, line in enumerate(lines) if line.strip().startswith(f"{name}:")]
        lines[place] = f"  {name}: {value}"
        text = "\n".join(lines)
    return text


def propose(world: World, **changed: object) -> Proposal:
    """Ada proposes."""
    return policies.propose(
        account=world.account,
        text=text_with(world.account, **changed),
        reason="as agreed in the meeting",
        proposer=world.people["ada"],
        actor=TEST,
    )


def decide(proposal: Proposal, person: User, verdict: str = "APPROVE", reason: str = "looked at it") -> None:
    """Somebody decides on exactly what the proposal says."""
    policies.decide(
        proposal_id=proposal.pk, person=person, verdict=verdict, payload_sha256=proposal.payload_sha256,
        reason=reason, actor=TEST,
    )  # fmt: skip


def page(account: Account) -> str:
    return reverse("admin:trading_account_policy", args=[account.pk])


def test_a_policy_stands_once_another_person_has_approved_it(world: World) -> None:
    account, before = world.account, world.account.policy
    proposal = propose(world, k_confirmations=3, alert_cap=5)
    assert standing_policy(account).k_confirmations == 2, "a proposal changes nothing"
    told = json.loads(proposal.payload)
    assert [each["setting"] for each in told["changes"]] == ["k_confirmations", "alert_cap"]
    decide(proposal, world.people["bob"])
    account.refresh_from_db()
    assert (policy_of(account).k_confirmations, policy_of(account).alert_cap) == (3, 5)
    assert (account.policy.sha256, before.sha256) == (told["to"], told["from"])
    assert ConfigVersion.objects.get(pk=before.pk).body == before.body, "the old version stays as it was"
    assert approvals.standing(proposal) == "APPLIED"
    [event] = AuditEvent.objects.filter(kind="account.changed", object_id=str(account.pk))
    assert (event.before, event.after) == ({"policy": str(before)}, {"policy": str(account.policy)})
    assert "as agreed in the meeting" in event.reason


def test_whoever_proposed_cannot_put_it_in_force_not_even_under_another_name(world: World) -> None:
    proposal = propose(world, alert_cap=5)
    for person in (world.people["ada"], world.people["ada2"]):
        with pytest.raises(RuleBroken, match="whoever proposed cannot approve"):
            decide(proposal, person)
    with pytest.raises(RuleBroken, match=r"charlie may not decide .* trading\.approve is missing"):
        decide(proposal, world.people["charlie"])
    assert standing_policy(world.account).alert_cap == 10 and not Application.objects.filter(proposal=proposal).exists()


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        ("k_confirmations", "0", r"policy\.k_confirmations: must be greater than or equal to 1"),
        ("max_allocation_per_symbol_pct", "0.2", r"policy\.max_allocation_per_symbol_pct: must be less than"),
        ("add_on_buy_confidence_threshold", "4", r"policy\.add_on_buy_confidence_threshold: must be greater"),
        ("default_proposal", '"guess"', r"policy\.default_proposal: "),
        ("flatten_on_conflict", '"perhaps"', r"policy\.flatten_on_conflict: "),
        ("max_risk_per_trade_pct", "3", "max_risk_per_trade_pct must not be above max_portfolio_heat_pct"),
        ("name", '"123"', r"policy\.name: "),
        ("alert_cap", "[", "cannot be read"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_setting(
    world: World, setting: str, value: str, complaint: str
) -> None:
    before = Proposal.objects.count()
    with pytest.raises(RuleBroken, match=complaint):
        propose(world, **{setting: value})
    assert Proposal.objects.count() == before


def test_one_change_at_a_time_and_never_none(world: World) -> None:
    with pytest.raises(RuleBroken, match="nothing was proposed"):
        propose(world)
    first = propose(world, alert_cap=5)
    with pytest.raises(RuleBroken, match=f"Proposal {first.pk} changes the policy"):
        propose(world, alert_cap=6)
    with pytest.raises(RuleBroken, match="Say why"):
        decide(first, world.people["bob"], "REJECT", reason="")
    decide(first, world.people["bob"], "REJECT", reason="too few for us")
    decide(propose(world, alert_cap=6), world.people["bob"])
    assert standing_policy(world.account).alert_cap == 6


def test_an_approval_of_what_would_replace_another_policy_is_refused(world: World) -> None:
    proposal = propose(world, alert_cap=5)
    other = ensure_version(kind="POLICY", name="by hand", body=policy_of(world.account).canonical.replace("60", "61"))
    Account.objects.filter(pk=world.account.pk).update(policy=other)
    with pytest.raises(RuleBroken, match="stands under another policy now"):
        decide(proposal, world.people["bob"])
    assert Account.objects.get(pk=world.account.pk).policy == other


def test_a_policy_changed_past_the_two_people_is_found(world: World) -> None:
    [rule] = [each for each in INVARIANTS if each.id == "I-43"]

    def offences() -> list[str]:
        with connection.cursor() as cursor:
            return [row.problem for row in check(cursor, rule).rows]

    decide(propose(world, alert_cap=5), world.people["bob"])
    assert offences() == [], "two people changed it"
    by_hand = ensure_version(kind="POLICY", name="mine", body=policy_of(world.account).canonical.replace("60", "61"))
    Account.objects.filter(pk=world.account.pk).update(policy=by_hand)
    [problem] = offences()
    assert "stands under mine" in problem and "in force" in problem


def test_an_account_of_which_nobody_recorded_the_opening_is_found(world: World) -> None:
    [rule] = [each for each in INVARIANTS if each.id == "I-43"]
    by_hand = Account.objects.get(pk=world.account.pk)
    by_hand.pk, by_hand.name, by_hand.external_id = None, "by-hand", "by-hand"
    by_hand.save(force_insert=True)
    with connection.cursor() as cursor:
        [problem] = [row.problem for row in check(cursor, rule).rows if row.id == str(by_hand.pk)]
    assert "none that is on record" in problem


@pytest.mark.parametrize(("before", "wanted", "needed"), [(0, 100, 1), (100, 50, 1), (100, 200, 2), (100, 0, 2)])
def test_letting_more_be_decided_by_one_person_takes_two(world: World, before: int, wanted: int, needed: int) -> None:
    if before:
        decide(propose(world, materiality=before), world.people["bob"])
    proposal = propose(world, materiality=wanted)
    assert proposal.approvals_required == needed
    decide(proposal, world.people["bob"])
    assert (policy_of(Account.objects.get(pk=world.account.pk)).materiality == wanted) is (needed == 1)


def test_the_page_says_the_policy_in_words_and_what_would_change(world: World, signed_in: SignIn) -> None:
    ada, bob, charlie = signed_in("ada"), signed_in("bob"), signed_in("charlie")
    shown = ada.get(page(world.account)).content.decode()
    assert "Complete runs that must see a difference before it opens" in shown and "2 runs" in shown
    assert 'id="propose"' in shown and 'id="propose"' not in charlie.get(page(world.account)).content.decode()
    text = text_with(world.account, k_confirmations=4)
    ada.post(page(world.account), {"policy": text, "reason": "as agreed in the meeting"})
    proposal = Proposal.objects.get(kind=policies.KIND)
    seen = bob.get(page(world.account)).content.decode()
    assert "What the proposal would change" in seen and "4 runs" in seen and "Approve and put in force" in seen
    assert "a second person must approve" in ada.get(page(world.account)).content.decode()
    decided = bob.post(
        page(world.account),
        {"verdict": "APPROVE", "proposal": proposal.pk, "payload_sha256": proposal.payload_sha256, "reason": ""},
        follow=True,
    ).content.decode()
    assert "Approved:" in decided and "4 runs" in decided
    assert standing_policy(world.account).k_confirmations == 4
    listed = bob.get(reverse("admin:trading_proposal_change", args=[proposal.pk])).content.decode()
    assert page(world.account) in listed


def test_a_refused_text_is_kept_on_the_page_with_the_reason(world: World, signed_in: SignIn) -> None:
    text = text_with(world.account, k_confirmations=0)
    answer = signed_in("ada").post(page(world.account), {"policy": text, "reason": "as agreed in the meeting"})
    shown = answer.content.decode()
    assert "policy.k_confirmations" in shown and "k_confirmations: 0" in shown and "as agreed in the meeting" in shown
    assert not Proposal.objects.filter(kind=policies.KIND).exists()


def test_nobody_proposes_without_the_right_to(world: World, signed_in: SignIn) -> None:
    text = text_with(world.account, alert_cap=5)
    for name in ("bob", "charlie"):
        answer = signed_in(name).post(page(world.account), {"policy": text, "reason": "as agreed in the meeting"})
        assert answer.status_code == 403
    assert not Proposal.objects.filter(kind=policies.KIND).exists()
