"""A real browser over the real web, a real database and the simulator. Without a chromium these tests are skipped.

What always holds: a page that logs an error, throws, loses a request or asks any other host fails its test. Whatever
a test wants of the database it asks before the browser starts or after it has ended (Django refuses both at once).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.conftest import CommittedDatabase
from tests.servers import Simulator
from trading.models import Account
from trading.services import people
from trading.services.audit import Actor
from trading.services.setup import ensure_account

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here; skip it where there is no browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.screens)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no chromium on this machine: the screen tests are not run"))


@dataclass
class Screens:
    """The desk under a browser: its address, the demo cast's passwords, one account at the simulator."""

    url: str
    passwords: dict[str, str]
    account: Account
    simulator: Simulator
    pictures: Path

    def sign_in(self, browser: Browser, name: str) -> Page:
        """A fresh window in which somebody has signed in."""
        page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        page.goto(f"{self.url}/admin/")
        page.fill("#id_username", name)
        page.fill("#id_password", self.passwords[name])
        page.click("input[type=submit]")
        page.wait_for_selector("#user-tools")
        return page

    def picture(self, page: Page, name: str) -> None:
        """Keep what the page looks like."""
        page.screenshot(path=self.pictures / f"{name}.png", full_page=True)


@pytest.fixture
def screens(web: str, committed_db: CommittedDatabase, simulator: Simulator, tmp_path: Path) -> Screens:
    """The demo cast and one account at the simulator, reconciled by nobody yet."""
    cast = people.seed_demo_cast(actor=Actor.system("test"))
    account = ensure_account(
        name="oanda-simulator",
        broker=Account.Broker.OANDA,
        environment=Account.Environment.SIMULATOR,
        external_id=simulator.account,
        currency="USD",
        endpoint=simulator.oanda_url,
    )
    pictures = Path(os.environ.get("BACKOFFICE_PICTURES") or tmp_path / "pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    return Screens(web, {member.username: member.password or "" for member in cast}, account, simulator, pictures)


def failure_of(request: Request) -> list[str]:
    """What went wrong with a request; one that ended because its page was left is nothing."""
    why = request.failure or ""
    return [] if "ERR_ABORTED" in why else [f"{request.url}: {why}"]


@pytest.fixture
def chromium(screens: Screens) -> Callable[[], AbstractContextManager[Browser]]:
    """Opens a browser that notices everything that goes wrong on a page."""

    @contextmanager
    def open_browser() -> Iterator[Browser]:
        wrong: list[str] = []

        def watch(page: Page) -> None:
            page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
            page.on("requestfailed", lambda request: wrong.extend(failure_of(request)))
            page.on("console", lambda told: wrong.append(f"{page.url}: {told.text}") if told.type == "error" else None)
            page.on(
                "request",
                lambda request: None if request.url.startswith((screens.url, "data:")) else wrong.append(request.url),
            )

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            make = browser.new_context

            def new_context(**options: object):  # type: ignore[no-untyped-def]
                context = make(**options)  # type: ignore[arg-type]
                context.on("page", watch)
                return context

            browser.new_context = new_context  # type: ignore[method-assign]
            try:
                yield browser
            finally:
                browser.close()
        assert not wrong, "\n".join(wrong)

    return open_browser
