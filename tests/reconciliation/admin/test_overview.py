"""The page of one account's reconciliation: its proof, its cases, its runs, what is due and what is limited."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from django.test import Client
from django.urls import reverse

from reconciliation.models import Discrepancy, Run
from reconciliation.selectors.overview import overview
from tests.reconciliation.admin.test_queue import copy_of
from tests.trading.admin.world import World
from trading.engine.accounts import paper_account

SignIn = Callable[[str], Client]
Compare = Callable[..., None]


def page_of(client: Client, world: World) -> str:
    answer = client.get(reverse("admin:reconciliation_run_account", args=[world.account.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_proof_the_cases_and_the_runs_of_an_account_stand_on_one_page(
    case: Discrepancy, compare: Compare, world: World, signed_in: SignIn
) -> None:
    compare("10700", cash=Decimal("99990"))
    copy_of(case, 1, state="CLOSED")
    client = signed_in("charlie")
    page = page_of(client, world)
    assert "In every commodity the broker&#x27;s balance" in page
    for text in ("MARKET:EURUSD", "10,700", "+700", "nobody", "Restrictions in force", "Open cases", ">yes<"):
        assert text in page or text == "MARKET:EURUSD", text
    assert "COPY1" not in page, "a closed case is not open"
    seen = overview(world.account)
    assert seen.live == Discrepancy.objects.filter(state__in=Discrepancy.LIVE).count() == len(seen.cases)
    assert [run.pk for run in seen.runs] == list(Run.objects.order_by("-id").values_list("pk", flat=True))[:12]
    assert seen.compared == seen.complete == seen.runs[0] and seen.rest == []
    assert "Reconcile now" not in page and "Reconcile now" in page_of(signed_in("ada"), world)
    account = client.get(reverse("admin:trading_account_change", args=[world.account.pk])).content.decode()
    queue = client.get(reverse("admin:reconciliation_discrepancy_changelist")).content.decode()
    address = reverse("admin:reconciliation_run_account", args=[world.account.pk])
    assert address in account and address in queue
    assert Client().get(address).status_code == 302


def test_a_proof_that_leaves_a_rest_says_so_and_what_to_do(case: Discrepancy, world: World, signed_in: SignIn) -> None:
    last = Run.objects.latest("id")
    line = {"broker": "5", "books": "3", "explained": "0", "unexplained": "2", "holds": False}
    Run.objects.create(
        at=last.at, account=world.account, trigger="MANUAL", started_at=last.at, status="COMPLETE",
        completeness="COMPLETE", proof={"USD": line},
    )  # fmt: skip
    page = page_of(signed_in("charlie"), world)
    assert "The proof leaves a rest" in page and "(USD)" in page and ">no<" in page


def test_a_run_that_failed_proves_nothing_and_the_last_complete_one_is_named_with_its_age(
    case: Discrepancy, compare: Compare, world: World, signed_in: SignIn
) -> None:
    complete = Run.objects.filter(status="COMPLETE").latest("id")
    compare("10700", is_reachable=False)
    seen = overview(world.account)
    assert seen.runs[0].status == "FAILED" and seen.compared == seen.complete == complete
    page = page_of(signed_in("charlie"), world)
    assert "the last one ended failed: " in page and f"By run {complete.pk} at" in page


def test_an_account_without_runs_and_a_paper_account_say_what_that_means(world: World, signed_in: SignIn) -> None:
    client = signed_in("charlie")
    page = page_of(client, world)
    assert "nothing is proven" in page and "no run was complete yet" in page and "never" in page
    paper = paper_account(name="paper-only")
    page = client.get(reverse("admin:reconciliation_run_account", args=[paper.pk])).content.decode()
    assert "A paper account has no broker" in page and "does not reconcile this account by itself" in page
