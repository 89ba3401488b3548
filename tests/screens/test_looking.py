"""Every main screen of a desk in full life, in both themes, on a desk and on a phone; and what moves by itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from playwright.sync_api import Browser, expect

from tests.screens.conftest import Screens
from tests.screens.showcase import Showcase

Chromium = Callable[[], AbstractContextManager[Browser]]
LISTS = ("order", "fill", "ledgeraccount", "auditevent", "proposal")
GROUND = "getComputedStyle(document.body).backgroundColor"
GROUNDS = {"light": "rgb(244, 246, 249)", "dark": "rgb(12, 17, 24)"}
README_PICTURE = 200_000
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def case_page(key: int) -> str:
    return f"reconciliation/discrepancy/{key}/change/"


def test_every_main_screen_in_both_themes(screens: Screens, showcase: Showcase, chromium: Chromium) -> None:
    pages = {
        "10-home": "?range=1W",
        "11-queue": "reconciliation/discrepancy/",
        "12-open-case": case_page(showcase.open_case.pk),
        "13-proposed-case": case_page(showcase.proposed_case.pk),
        "14-closed-case": case_page(showcase.closed_case.pk),
        "15-mirrored-order": f"trading/order/{showcase.mirrored.pk}/change/",
        "16-decision": f"trading/decision/{showcase.entry.decision_id}/change/",
        "17-account": f"trading/account/{showcase.oanda.pk}/change/",
        "18-account-reconciled": f"reconciliation/run/account/{showcase.oanda.pk}/",
        "19-statistics": "reconciliation/discrepancy/statistics/?days=7",
        "19-alike": "reconciliation/discrepancy/groups/?standing=all",
        **{f"20-{name}": f"trading/{name}/" for name in LISTS},
    }
    with chromium() as browser:
        page = screens.sign_in(browser, "bob")
        for name, address in pages.items():
            page.goto(f"{screens.url}/admin/{address}")
            assert page.evaluate(WIDER) <= 0, f"{name} scrolls sideways as a whole"
            assert page.locator("#mode").inner_text() == "PAPER"
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
                assert page.evaluate(GROUND) == GROUNDS[theme], f"{name} in {theme}"
                screens.picture(page, f"{name}-{theme}")
            if name == "15-mirrored-order":
                expect(page.locator(".way li.done")).to_have_count(7)
                expect(page.locator(".module:has-text('The same leg on every account')").last).to_contain_text("259 ms")


@pytest.mark.skipif(not os.environ.get("BACKOFFICE_PICTURES"), reason="no pictures are wanted (BACKOFFICE_PICTURES)")
def test_the_two_pictures_of_the_readme_are_small(screens: Screens, showcase: Showcase, chromium: Chromium) -> None:
    with chromium() as browser:
        page = screens.sign_in(browser, "bob", width=1400, height=960)
        home = screens.picture(page, "readme-home", whole=False)
        dark = screens.sign_in(browser, "bob", "dark", width=1320, height=1010)
        dark.goto(f"{screens.url}/admin/{case_page(showcase.proposed_case.pk)}")
        case = screens.picture(dark, "readme-case", whole=False)
    assert home is not None and home.stat().st_size < README_PICTURE
    assert case is not None and case.stat().st_size < README_PICTURE


def test_home_brings_itself_up_to_date_but_not_under_the_hands_of_a_person(
    screens: Screens, showcase: Showcase, chromium: Chromium
) -> None:
    with chromium() as browser:
        page = screens.window(browser)
        page.clock.install()
        screens.fill_in(page, "bob")
        page.click("input[type=submit]")
        page.wait_for_selector("#needs")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if request.resource_type == "fetch" else None)
        with page.expect_response(f"{screens.url}/admin/"):
            page.clock.run_for(10_500)
        page.evaluate("getSelection().selectAllChildren(document.querySelector('#needs h2'))")
        page.clock.run_for(31_000)
        assert len(asked) == 1, "nothing is replaced under a selection"
        page.evaluate("getSelection().removeAllRanges()")
        with page.expect_response(f"{screens.url}/admin/"):
            page.clock.run_for(10_500)
        expect(page.locator("#nav-sidebar a[aria-current=page]")).to_have_text("Home")


def test_the_switch_goes_round_the_themes_and_is_remembered(screens: Screens, chromium: Chromium) -> None:
    with chromium() as browser:
        page = screens.sign_in(browser, "charlie")
        grounds = []
        for _ in range(3):
            grounds.append(page.evaluate(GROUND))
            page.click(".theme-toggle")
        assert grounds == [GROUNDS["light"], GROUNDS["dark"], GROUNDS["light"]]
        page.click(".theme-toggle")
        page.reload()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert page.evaluate(GROUND) == GROUNDS["dark"]


def test_a_phone_has_the_menu_behind_a_button_and_no_sideways_scrolling(
    screens: Screens, showcase: Showcase, chromium: Chromium
) -> None:
    with chromium() as browser:
        page = screens.sign_in(browser, "charlie", width=390, height=800)
        for name, address in (
            ("home", ""),
            ("case", case_page(showcase.open_case.pk)),
            ("order", f"trading/order/{showcase.mirrored.pk}/change/"),
            ("account", f"trading/account/{showcase.oanda.pk}/change/"),
            ("queue", "reconciliation/discrepancy/"),
            ("reconciled", f"reconciliation/run/account/{showcase.oanda.pk}/"),
            ("statistics", "reconciliation/discrepancy/statistics/"),
            ("alike", "reconciliation/discrepancy/groups/"),
        ):
            page.goto(f"{screens.url}/admin/{address}")
            screens.picture(page, f"30-phone-{name}")
            assert page.evaluate(WIDER) <= 0, name
        expect(page.locator("#nav-sidebar")).to_be_hidden()
        page.click("#toggle-menu")
        page.click("#nav-sidebar >> text=Discrepancies")
        expect(page.locator("h1")).to_have_text("Discrepancies")
