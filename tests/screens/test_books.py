"""The pages of the books in a browser: from the home page's equity down to the broker's words, by keyboard, in both
themes, and without a script of their own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal

import pytest
from playwright.sync_api import Browser, expect

from tests.screens.conftest import Screens
from tests.screens.showcase import Showcase
from tests.trading.selectors.corrected import correct
from trading.models import Entry, LedgerAccount, Trade, User

Chromium = Callable[[], AbstractContextManager[Browser]]
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
ALIGNED = """columns => [...document.querySelectorAll('.figures table')].every(table => {
    const cells = [...table.querySelectorAll('tbody td.number, tfoot td.number')].filter(cell => cell.innerText.trim());
    return cells.every(cell => getComputedStyle(cell).textAlign === 'right'
        && getComputedStyle(cell).fontVariantNumeric.includes('tabular-nums'));
})"""


@pytest.fixture
def corrected(showcase: Showcase) -> Entry:
    """The deposit of the broker's account, corrected by two people."""
    deposit = Entry.objects.get(account=showcase.oanda, kind="TRANSFER")
    correct(deposit, Decimal("99500"), User.objects.get(username="ada"), User.objects.get(username="bob"))
    return deposit


def test_the_books_in_both_themes(screens: Screens, showcase: Showcase, corrected: Entry, chromium: Chromium) -> None:
    cash = LedgerAccount.objects.get(account=showcase.oanda, kind="CASH")
    fill = Entry.objects.filter(account=showcase.oanda, kind="FILL").order_by("id").first()
    trade = Trade.objects.filter(account=showcase.oanda, state="CLOSED").first()
    assert fill is not None and trade is not None
    pages = {
        "40-trial-balance": "trading/ledgeraccount/trial-balance/",
        "41-trial-balance-account": f"trading/ledgeraccount/trial-balance/?account={showcase.oanda.pk}",
        "42-statement": f"trading/ledgeraccount/{cash.pk}/change/",
        "43-entry": f"trading/entry/{fill.pk}/change/",
        "44-corrected-entry": f"trading/entry/{corrected.pk}/change/",
        "45-balance-origin": f"trading/ledgeraccount/{cash.pk}/origin/",
        "46-trade-origin": f"trading/trade/{trade.pk}/origin/",
    }
    with chromium() as browser:
        for width in (1400, 390):
            page = screens.sign_in(browser, "charlie", width=width)
            for name, address in pages.items():
                page.goto(f"{screens.url}/admin/{address}")
                assert page.evaluate(WIDER) <= 0, f"{name} scrolls sideways at {width}"
                assert page.evaluate(ALIGNED), name
                for theme in ("light", "dark") if width > 400 else ("light",):
                    page.emulate_media(color_scheme=theme)
                    screens.picture(page, f"{name}-{theme}-{width}")


def test_from_the_equity_down_to_the_brokers_words_by_keyboard(
    screens: Screens, showcase: Showcase, chromium: Chromium
) -> None:
    with chromium() as browser:
        page = screens.sign_in(browser, "charlie")
        page.goto(f"{screens.url}/admin/?range=1W&account={showcase.oanda.pk}")
        page.focus("#equity >> text=Where does this come from?")
        page.keyboard.press("Enter")
        expect(page.locator("#verdict")).to_contain_text("Debits equal credits")
        expect(page.locator("nav a[aria-current=page]")).to_have_text("Trial balance")
        page.focus("#id_as_of")
        page.fill("#id_as_of", "2019-12-31T23:59:59")
        page.keyboard.press("Enter")
        expect(page.locator(".books")).to_contain_text("Nothing was booked by then.")
        page.focus("text=Now >> nth=0")
        page.keyboard.press("Enter")
        page.focus(".figures tr:has-text('Cash') td.number a")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Cash USD")
        closing = page.locator(".sums dd").last.inner_text().split()[0]
        assert page.locator(".figures tfoot td.number").inner_text() == closing
        page.focus("text=Where does this come from?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .figure")).to_have_text(closing)
        story = page.locator("details.part[open]").first
        expect(story).to_contain_text("The broker told of it")
        words = story.locator('details:has-text("The broker\'s words")').first
        assert not words.locator("pre").is_visible()
        words.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(words.locator("pre")).to_contain_text("ORDER_FILL")
