"""Two people resolve a difference in the browser as newcomers would: led by the strip, from home to the closed case."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal

import pytest
from playwright.sync_api import Browser, Page, expect

from reconciliation.engine.run import run_reconciliation
from reconciliation.models import Discrepancy
from tests.screens.conftest import Screens
from tests.servers import Simulator
from trading.models import Account, AuditEvent, Position

Chromium = Callable[[], AbstractContextManager[Browser]]
MOST_CLICKS = 10


def reconcile(page: Page, screens: Screens, account_id: int) -> None:
    """What the desk does by itself every few minutes; here by the button on the account's page."""
    page.goto(f"{screens.url}/admin/trading/account/{account_id}/change/")
    page.click("text=Reconcile now")
    page.wait_for_selector(".messagelist")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_from_home_to_the_closed_case_in_at_most_ten_clicks(
    theme: str, screens: Screens, account: Account, simulator: Simulator, chromium: Chromium
) -> None:
    trade = {"kind": "trade", "instrument": "EUR_USD", "quantity": "1000", "price": "1.1"}
    simulator.post(f"/accounts/{simulator.account}/external", trade)
    for _ in range(2):
        run_reconciliation(account=account, trigger="MANUAL")
    with chromium() as browser:
        page = screens.window(browser, theme)
        screens.picture(page, f"00-sign-in-{theme}")
        screens.fill_in(page, "ada")
        page.click("input[type=submit]")  # the desk's first sign-in: not counted
        expect(page.locator("#guide li.now")).to_have_text("2Propose a resolution")
        screens.picture(page, f"01-home-{theme}")

        screens.click(page, "text=Look at the first case")
        expect(page.locator(".compare tr.differs").first).to_contain_text("+1,000")
        assert not page.locator("#propose table.entries").first.is_visible()
        screens.click(page, "label[for=action-book_fills]")
        expect(page.locator(".offer:has(#action-book_fills) table.entries")).to_contain_text("POSITION:EURUSD")
        screens.click(page, "text=Traded by hand, confirmed by the trader")
        screens.picture(page, f"02-proposing-{theme}")
        screens.click(page, "#propose button:has-text('Propose')")
        expect(page.locator(".messagelist")).to_contain_text("A second person must approve")
        expect(page.locator("#blocked")).to_have_text("ada proposed this; a second person must approve.")
        expect(page.locator("button:has-text('Approve and apply')")).to_be_disabled()
        screens.picture(page, f"03-proposed-{theme}")
        case_address = page.url

        screens.click(page, "text=Sign in as the second person")
        screens.fill_in(page, "bob")
        screens.click(page, "input[type=submit]")
        assert page.url == case_address, "the second person lands on the case"
        expect(page.locator("#proposal")).to_contain_text("ada proposed this at")
        expect(page.locator("#proposal table.entries")).to_contain_text("MARKET:EURUSD")
        page.fill("#verdict-reason", "seen on the broker's statement")
        page.press("#verdict-reason", "Enter")
        expect(page.locator("button:has-text('Approve and apply')")).to_be_enabled()
        screens.picture(page, f"04-deciding-{theme}")
        screens.click(page, "button:has-text('Approve and apply')")
        expect(page.locator(".messagelist")).to_contain_text("Approved and applied.")

        desk = screens.sign_in(browser, "ada")
        reconcile(desk, screens, account.pk)
        expect(desk.locator(".messagelist")).to_contain_text("Books and broker agree.")
        expect(page.locator("#timeline")).to_contain_text("Closed: books and broker agree", timeout=8000)
        screens.picture(page, f"05-closed-{theme}")
        screens.click(page, "nav a.home")
        expect(page.locator("#guide")).to_contain_text("ada proposed, bob approved, a later run closed it.")
        expect(page.locator("#needs")).to_contain_text("Nothing.")
        screens.picture(page, f"06-home-after-{theme}")
    assert len(screens.clicks) <= MOST_CLICKS, screens.clicks
    case = Discrepancy.objects.get(key="EURUSD")
    assert case.state == "CLOSED"
    assert Position.objects.get(account=account).quantity == Decimal("1000")
    truth = simulator.truth()["positions"]
    assert [(row["instrument"], row["quantity"]) for row in truth] == [("EUR_USD", "1000")]
    story = AuditEvent.objects.filter(object_type="reconciliation.Discrepancy", object_id=str(case.pk))
    assert [event.actor_name for event in story.order_by("id") if event.via == "admin"] == ["ada", "bob", "bob"]
