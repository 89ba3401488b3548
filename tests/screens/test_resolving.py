"""Two people resolve a difference in the browser, from the button that finds it to the run that closes it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal

import pytest
from django.db.models import Value
from django.db.models.functions import Concat
from playwright.sync_api import Browser, Page, expect

from reconciliation.models import Discrepancy
from tests.screens.conftest import Screens
from tests.trading.admin.world import build_world
from trading.models import AuditEvent, Position, User

Chromium = Callable[[], AbstractContextManager[Browser]]


def reconcile(page: Page, screens: Screens, account_id: int) -> None:
    """The button on the account's page."""
    page.goto(f"{screens.url}/admin/trading/account/{account_id}/change/")
    page.click("text=Reconcile now")
    page.wait_for_selector(".messagelist")


def test_ada_proposes_she_cannot_approve_bob_approves_and_the_books_agree(screens: Screens, chromium: Chromium) -> None:
    account_id = screens.account.pk
    with chromium() as browser:
        ada = screens.sign_in(browser, "ada")
        screens.picture(ada, "01-index")
        reconcile(ada, screens, account_id)
        expect(ada.locator(".messagelist")).to_contain_text("Books and broker agree.")

        trade = {"kind": "trade", "instrument": "EUR_USD", "quantity": "1000", "price": "1.1"}
        screens.simulator.post(f"/accounts/{screens.simulator.account}/external", trade)
        for _ in range(2):
            reconcile(ada, screens, account_id)
        expect(ada.locator(".messagelist")).to_contain_text("1 difference found; 1 live case.")
        screens.picture(ada, "02-run")

        ada.goto(f"{screens.url}/admin/reconciliation/discrepancy/?standing=review")
        screens.picture(ada, "03-queue")
        ada.click("#result_list tbody th a")
        screens.picture(ada, "04-open-case")
        ada.select_option("#action", "book_fills")
        ada.fill("#reason", "ticket 12: bought by hand on the broker's web page")
        ada.click("#propose button")
        expect(ada.locator(".messagelist")).to_contain_text("A second person must approve")
        assert ada.locator("button:has-text('Approve and apply')").count() == 0
        expect(ada.locator("#blocked")).to_have_text("ada proposed this; a second person must approve.")
        screens.picture(ada, "05-proposed-ada")

        bob = screens.sign_in(browser, "bob")
        bob.goto(ada.url)
        expect(bob.locator("#proposal")).to_contain_text("ada proposed this at")
        screens.picture(bob, "06-proposed-bob")
        bob.fill("#verdict-reason", "seen on the broker's statement")
        bob.press("#verdict-reason", "Enter")
        assert bob.locator("button:has-text('Approve and apply')").is_enabled(), "Enter decides nothing"
        bob.click("button:has-text('Approve and apply')")
        expect(bob.locator(".messagelist")).to_contain_text("Approved and applied.")
        screens.picture(bob, "07-applied")

        reconcile(ada, screens, account_id)
        expect(ada.locator(".messagelist")).to_contain_text("Books and broker agree.")
        bob.reload()
        expect(bob.locator(".facts")).to_contain_text("CLOSED")
        screens.picture(bob, "08-closed")

        charlie = screens.sign_in(browser, "charlie")
        for name in ("account", "entry", "fill", "auditevent", "ledgeraccount", "brokerevent", "proposal"):
            charlie.goto(f"{screens.url}/admin/trading/{name}/")
            screens.picture(charlie, f"10-{name}-list")
            charlie.click("#result_list tbody th a")
            screens.picture(charlie, f"10-{name}")
    case = Discrepancy.objects.get(key="EURUSD")
    assert case.state == "CLOSED"
    assert Position.objects.get(account_id=account_id).quantity == Decimal("1000")
    truth = screens.simulator.truth()["positions"]
    assert [(row["instrument"], row["quantity"]) for row in truth] == [("EUR_USD", "1000")]
    story = AuditEvent.objects.filter(object_type="reconciliation.Discrepancy", object_id=str(case.pk))
    assert [event.actor_name for event in story.order_by("id") if event.via == "admin"] == ["ada", "bob", "bob"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_story_of_an_order_can_be_read_in_both_themes(theme: str, screens: Screens, chromium: Chromium) -> None:
    User.objects.filter(username__in=["ada", "bob", "charlie"]).update(username=Concat("username", Value("-demo")))
    world = build_world()
    message = world.entry.messages.values_list("pk", flat=True).get()
    screens.passwords = {"charlie": "a-password-for-tests"}
    with chromium() as browser:
        page = screens.sign_in(browser, "charlie")
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        pages = {"order": world.entry.pk, "decision": world.rejected.pk, "brokermessage": message}
        for name, key in pages.items():
            page.goto(f"{screens.url}/admin/trading/{name}/")
            screens.picture(page, f"30-{name}-list-{theme}")
            page.goto(f"{screens.url}/admin/trading/{name}/{key}/change/")
            screens.picture(page, f"30-{name}-{theme}")
            assert page.locator(".panel").count() > 0


def test_a_page_fits_a_phone_without_sideways_scrolling_of_the_whole_page(screens: Screens, chromium: Chromium) -> None:
    with chromium() as browser:
        page = screens.sign_in(browser, "charlie")
        page.set_viewport_size({"width": 390, "height": 800})
        page.goto(f"{screens.url}/admin/trading/account/{screens.account.pk}/change/")
        screens.picture(page, "20-phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
